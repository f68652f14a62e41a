//! [`is_sql`] and [`is_script`]: does a value read as SQL or as script when pasted into a statement or a page?
//!
//! libinjection's tokenizers decide; here stands only what spares honest values the way there. They never see a body.

use libinjectionrs::{SqliFlags, SqliState, detect_xss};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The value breaks out of a SQL literal.
pub(super) fn is_sql(text: &[u8]) -> bool {
    // Without a quote, a space, an operator or a comment there is one token, or a word and numbers.
    text.len() > 2
        && text.iter().any(|byte| !is_plain(*byte))
        && guarded(|| SqliState::new(text, SqliFlags::FLAG_NONE).detect())
}

/// The value runs script in a page.
pub(super) fn is_script(text: &[u8]) -> bool {
    // Every way into a page needs a tag or an attribute's value.
    memchr::memchr2(b'<', b'=', text).is_some() && guarded(|| detect_xss(text).is_injection())
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'~')
}

/// Input that breaks a detector is treated as an attack on it.
fn guarded(detect: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(detect)).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    #[test]
    fn statements_are_told_from_text() {
        for attack in [
            "1' or '1'='1",
            "1 or 1=1 --",
            "' union select password from users --",
            "1; drop table users",
            "admin'--",
            "1) or (1=1",
            "\" or \"\"=\"",
            "1 and sleep(5)",
            "-1' union all select 1,2,3#",
        ] {
            assert!(is_sql(attack.as_bytes()), "{attack}");
        }
        for honest in [
            "",
            "2024-10-21",
            "2024-10-01-preview",
            "gpt-4.1-mini",
            "hello world",
            "It's five o'clock",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
            "a@example.com",
            "select one of the options",
        ] {
            assert!(!is_sql(honest.as_bytes()), "{honest}");
        }
    }

    #[test]
    fn script_is_told_from_text() {
        for attack in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "\"><svg onload=alert(1)>",
            "x onmouseover=alert(1)",
            "<a href=\"javascript:alert(1)\">",
        ] {
            assert!(is_script(attack.as_bytes()), "{attack}");
        }
        for honest in ["", "a < b", "x=1", "5 > 4 and 3 < 4", "a=b; c=d", "text/html;q=0.9"] {
            assert!(!is_script(honest.as_bytes()), "{honest}");
        }
    }

    /// What libinjection itself (the C library, by `libinjection-python` 1.1.6) says of these, one for each fingerprint that
    /// came up among 34177 made-up inputs: verdict on SQL, fingerprint, verdict on script, input.
    const VERDICTS: &str = include_str!("injection/verdicts.txt");

    #[test]
    fn verdicts_are_those_of_the_c_library() {
        let mut count = 0;
        for line in VERDICTS.lines() {
            let mut parts = line.splitn(4, '\t');
            let mut next = || parts.next().unwrap_or_default();
            let (sql, fingerprint, script, input) = (next() == "sql", next(), next() == "script", next());
            let mut state = SqliState::new(input.as_bytes(), SqliFlags::FLAG_NONE);
            assert_eq!(state.detect(), sql, "{input}");
            assert!(!sql || state.get_fingerprint().as_str() == fingerprint, "{input}");
            // What is spared the way to the detector is none.
            assert_eq!((is_sql(input.as_bytes()), is_script(input.as_bytes())), (sql, script), "{input}");
            count += 1;
        }
        assert!(count > 200, "{count}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in r#"[ '"`();=<>/*#@\\|&!-za-fA-F0-9{}\[\]$,.\n\t]{0,120}"#,
        ) {
            // Not through `guarded`: a detector that panics is to be seen here.
            for input in [&bytes[..], text.as_bytes()] {
                let _sql = SqliState::new(input, SqliFlags::FLAG_NONE).detect();
                let _script = detect_xss(input);
            }
        }
    }
}

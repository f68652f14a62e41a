//! What must hold of the screen for any bytes: shared by the fuzz targets and by the test that runs the corpora on stable.
//!
//! Each property takes raw input and panics when it is broken. The including file names `screen`.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::LazyLock;

use super::screen::body::{BodyPolicy, UnknownKeys};
use super::screen::builtin::{Builtin, Library};
use super::screen::exclusion::{Exclusion, Place, Selector};
use super::screen::finding::{FINDINGS_MAX, Findings, Mode};
use super::screen::view::{self, View};

#[allow(clippy::unwrap_used, reason = "tests may panic")]
static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::new().unwrap());

/// A request is judged whatever it holds, the same way each time, and findings are short and printable. The first line
/// is the target, the others are headers.
pub(super) fn screen(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let headers: HeaderMap = lines.filter_map(field).collect();
    let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], Vec::new());
    let findings = judged(&builtin, target, &headers);
    assert!(findings.kept().len() <= FINDINGS_MAX);
    for finding in findings.kept() {
        assert!(finding.data.len() <= 128 && !finding.data.chars().any(char::is_control), "{finding:?}");
        assert!(!finding.variable.chars().any(char::is_control), "{finding:?}");
    }
    assert_eq!(findings, judged(&builtin, target, &headers));
}

/// A header's value is judged unless it is excluded or a credential, decoded or not.
pub(super) fn header(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for name in ["authorization", "api-key"] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
        let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], Vec::new());
        assert!(judged(&builtin, b"/", &headers).is_empty());
    }
    let Some(rules) = LIBRARY.named("all") else { return };
    let exclusion = Exclusion { place: Place::Header, selector: Selector::Equals("X-Any".to_owned()), rules };
    let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], vec![exclusion]);
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-any"), value)]);
    assert!(judged(&builtin, b"/", &headers).is_empty());
}

/// The scanner and the JSON parser agree on what is JSON, and what passes has no key twice.
pub(super) fn json(data: &[u8]) {
    let policy = BodyPolicy {
        media_types: vec!["application/json".to_owned()],
        depth_max: 64,
        keys_max: 1000,
        model_length_max: 128,
        messages_max: 16,
        input_max: 16,
        n_max: 8,
        max_tokens_max: 1000,
        unknown_keys: UnknownKeys::Allow,
        known_keys: Vec::new(),
    };
    let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], Vec::new());
    let mut findings = Findings::default();
    let refused = policy.judge(Some(b"application/json"), data, &builtin, &mut findings);
    let found = |id: &str| findings.kept().iter().any(|finding| &*finding.rule == id);
    let object = data.iter().find(|byte| !b" \t\r\n".contains(byte)) == Some(&b'{');
    let valid = object && std::str::from_utf8(data).is_ok() && serde_json::from_slice::<Skipped>(data).is_ok();
    let early = found("TG-2004") || found("TG-2005");
    assert!(early || valid != (found("TG-2002") || found("TG-2003")), "{}", data.escape_ascii());
    if refused.is_none() && valid {
        assert!(!found("TG-2006"));
    }
}

type Skipped = serde::de::IgnoredAny;

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|byte| *byte == b':')?;
    Some((HeaderName::from_bytes(line.get(..at)?).ok()?, HeaderValue::from_bytes(line.get(at + 1..)?).ok()?))
}

fn judged(builtin: &Builtin, target: &[u8], headers: &HeaderMap) -> Findings {
    let view = View {
        method: "POST",
        target,
        host: "h",
        tls: true,
        headers,
        socket: None,
        client: None,
        place: view::Place::default(),
        socket_place: view::Place::default(),
        body: None,
    };
    let mut findings = Findings::default();
    builtin.judge(&view, &mut findings);
    findings
}

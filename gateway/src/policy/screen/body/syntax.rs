//! The lexical rules of JSON: where a string or a number ends, and what a literal is.

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// The byte behind the string that begins at `start`; or where it goes wrong.
pub(super) fn string_end(body: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start + 1;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let length = memchr::memchr2(b'"', b'\\', rest).ok_or(body.len())?;
        let run = rest.get(..length).unwrap_or_default();
        // Vectorised; the place is looked up only for the error.
        if run.iter().fold(false, |bad, byte| bad | (*byte < b' ')) {
            return Err(at + run.iter().position(|byte| *byte < b' ').unwrap_or(0));
        }
        at += length;
        match rest.get(length..).unwrap_or_default() {
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => at += 6,
            _ => return Err(at),
        }
    }
}

/// The byte behind the number that begins at `start`; or where it goes wrong.
pub(super) fn number_end(body: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start;
    let digits = |from: usize| {
        let rest = body.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let peek = |at: usize| body.get(at).copied();
    if peek(at) == Some(b'-') {
        at += 1;
    }
    let whole = digits(at);
    if whole == at || (peek(at) == Some(b'0') && whole > at + 1) {
        return Err(at);
    }
    at = whole;
    if peek(at) == Some(b'.') {
        let fraction = digits(at + 1);
        if fraction == at + 1 {
            return Err(fraction);
        }
        at = fraction;
    }
    if matches!(peek(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(peek(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == at + 1 + sign {
            return Err(exponent);
        }
        at = exponent;
    }
    Ok(at)
}

/// The byte behind the literal that begins at `start`, and its type.
pub(super) fn literal(body: &[u8], start: usize) -> Option<(usize, Kind)> {
    let rest = body.get(start..).unwrap_or_default();
    let known = [(&b"true"[..], Kind::Boolean), (b"false", Kind::Boolean), (b"null", Kind::Null)];
    known.into_iter().find(|(word, _)| rest.starts_with(word)).map(|(word, kind)| (start + word.len(), kind))
}

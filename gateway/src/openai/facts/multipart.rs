//! Form bodies (audio, image edits): finds the small parts `model` and `stream` among large files.
//!
//! Read as RFC 2046 and RFC 7578 write it, strictly: what we find must be what the backend finds. A file is passed
//! over by a substring search, never copied.

use memchr::memmem;
use std::ops::Range;

use super::{Facts, FactsProblem, ModelField, check_model};

/// Longest header block of one part, in bytes.
const PART_HEADER_MAX: usize = 8 * 1024;
/// Most parts.
const PARTS_MAX: usize = 128;
/// Longest boundary (RFC 2046 says 70), in bytes.
const BOUNDARY_LENGTH_MAX: usize = 200;

/// Reads a `multipart/form-data` body. A form without `model` is no problem here; where one is needed,
/// [`FactsProblem::MODEL_MISSING`] is the answer.
///
/// # Errors
/// [`FactsProblem`] when the boundary is missing, the body is malformed or breaks off, or a field that we act on is
/// repeated or malformed.
pub fn from_multipart(content_type: &str, body: &[u8]) -> Result<Facts, FactsProblem> {
    let mut facts = Facts::default();
    let mut stream_seen = false;
    for Part { name, span } in parts(content_type, body)? {
        let value = body.get(span.clone()).unwrap_or_default();
        match name.as_deref() {
            Some("model") => {
                let value = std::str::from_utf8(value)
                    .map_err(|_error| FactsProblem::Field { param: "model", what: "is not UTF-8" })?;
                check_model(value)?;
                let field = ModelField { value: value.to_owned(), span };
                if facts.model.replace(field).is_some() {
                    return Err(FactsProblem::Field { param: "model", what: "is given twice" });
                }
            }
            Some("stream") => {
                if stream_seen {
                    return Err(FactsProblem::Field { param: "stream", what: "is given twice" });
                }
                stream_seen = true;
                facts.stream = value.eq_ignore_ascii_case(b"true") || value == b"1";
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What its `Content-Disposition` calls it.
    pub name: Option<String>,
    /// Where its value stands.
    pub span: Range<usize>,
}

/// The parts of a form.
///
/// # Errors
/// [`FactsProblem`] when the boundary is missing, or the body is malformed, breaks off or has more than 128 parts.
pub fn parts(content_type: &str, body: &[u8]) -> Result<Vec<Part>, FactsProblem> {
    let boundary = boundary(content_type).ok_or(problem("the content type has no usable boundary"))?;
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let mut parts = Vec::new();
    let mut at = first_part(body, &finder, delimiter.as_bytes())?;
    while let Place::Part(start) = at {
        if parts.len() >= PARTS_MAX {
            return Err(problem("the body has more than 128 parts"));
        }
        let rest = body.get(start..).unwrap_or_default();
        let window = rest.get(..PART_HEADER_MAX).unwrap_or(rest);
        let (header_end, value_start) = header_end(window).ok_or(problem("a part's header does not end"))?;
        let value_start = start.saturating_add(value_start);
        let (value_end, next) = delimiter_after(body, value_start, &finder)?;
        let name = part_name(window.get(..header_end).unwrap_or_default())?;
        parts.push(Part { name, span: value_start..value_end });
        at = next;
    }
    Ok(parts)
}

/// Where a part can be put in front of all others, and the bytes to put there: a field of this name and value.
#[must_use]
pub fn front_part(content_type: &str, body: &[u8], name: &str, value: &str) -> Option<(usize, String)> {
    let boundary = boundary(content_type)?;
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let bare = delimiter.as_bytes().get(2..).unwrap_or_default();
    let at = if body.starts_with(bare) && after_delimiter(body, bare.len()).is_some() {
        0
    } else {
        // After a preamble: behind the line end that belongs to the delimiter.
        delimiter_after(body, 0, &finder).ok()?.0.saturating_add(2)
    };
    Some((at, format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")))
}

const fn problem(what: &'static str) -> FactsProblem {
    FactsProblem::Multipart { what }
}

/// What follows a delimiter.
enum Place {
    /// A part, whose header begins here.
    Part(usize),
    /// Nothing: it was the closing one.
    End,
}

/// The first delimiter: at the very start, or after a preamble.
fn first_part(body: &[u8], finder: &memmem::Finder<'_>, delimiter: &[u8]) -> Result<Place, FactsProblem> {
    let bare = delimiter.strip_prefix(b"\r\n").unwrap_or(delimiter);
    if body.starts_with(bare)
        && let Some(place) = after_delimiter(body, bare.len())
    {
        return Ok(place);
    }
    delimiter_after(body, 0, finder).map(|(_, place)| place)
}

/// The next delimiter at or after `from`: where the value before it ends, and what follows it.
fn delimiter_after(body: &[u8], from: usize, finder: &memmem::Finder<'_>) -> Result<(usize, Place), FactsProblem> {
    let mut from = from;
    while let Some(found) = body.get(from..).and_then(|rest| finder.find(rest)) {
        let start = from.saturating_add(found);
        let end = start.saturating_add(finder.needle().len());
        if let Some(place) = after_delimiter(body, end) {
            return Ok((start, place));
        }
        // A longer boundary that begins like ours: not a delimiter.
        from = end;
    }
    Err(problem("the body breaks off before its closing boundary"))
}

/// A delimiter ends with `--`, or with optional blanks and a line end.
fn after_delimiter(body: &[u8], end: usize) -> Option<Place> {
    let rest = body.get(end..)?;
    if rest.starts_with(b"--") {
        return Some(Place::End);
    }
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    rest.get(blanks..)?.starts_with(b"\r\n").then(|| Place::Part(end.saturating_add(blanks).saturating_add(2)))
}

/// End of the header lines and start of the value, within `window`.
fn header_end(window: &[u8]) -> Option<(usize, usize)> {
    if window.starts_with(b"\r\n") {
        return Some((0, 2));
    }
    memmem::find(window, b"\r\n\r\n").map(|end| (end, end.saturating_add(4)))
}

/// The `name` of the part's `Content-Disposition`.
fn part_name(header: &[u8]) -> Result<Option<String>, FactsProblem> {
    let Ok(header) = std::str::from_utf8(header) else {
        return Err(problem("a part's header is not UTF-8"));
    };
    let mut name = None;
    for line in header.split("\r\n") {
        if line.starts_with([' ', '\t']) || line.contains(['\r', '\n']) {
            return Err(problem("a part's header is folded or holds a bare line end"));
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        if key.trim().eq_ignore_ascii_case("content-disposition") {
            for (key, value) in Parameters::of(value) {
                if key.eq_ignore_ascii_case("name") && name.replace(value).is_some() {
                    return Err(problem("a part has two names"));
                }
            }
        }
    }
    Ok(name)
}

fn boundary(content_type: &str) -> Option<String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut found = Parameters::of(content_type).filter(|(key, _)| key.eq_ignore_ascii_case("boundary"));
    let (_, value) = found.next()?;
    let sane = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    (found.next().is_none() && sane && (1..=BOUNDARY_LENGTH_MAX).contains(&value.len())).then_some(value)
}

/// The `; key=value` and `; key="value"` parameters of a header value.
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn of(value: &'a str) -> Self {
        Self(value.split_once(';').map_or("", |(_, parameters)| parameters))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.0.split_once('=')?;
        // Words without a value before this key are passed over.
        let key = key.rsplit(';').next().unwrap_or(key).trim();
        let Some(quoted) = rest.trim_start().strip_prefix('"') else {
            let (value, rest) = rest.split_once(';').unwrap_or((rest, ""));
            self.0 = rest;
            return Some((key, value.trim().to_owned()));
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    let rest = quoted.get(at.saturating_add(1)..).unwrap_or_default();
                    self.0 = rest.split_once(';').map_or("", |(_, rest)| rest);
                    return Some((key, value));
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.0 = "";
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn form(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut out = String::new();
        for (name, value) in parts {
            out += &format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        (out + "--XX--\r\n").into_bytes()
    }

    #[test]
    fn model_and_stream_are_found() {
        let body = form(&[("file", "RIFF\r\n--X\r\n--XXY\r\n"), ("model", "whisper-1"), ("stream", "true")]);
        let facts = from_multipart(TYPE, &body).unwrap();
        let model = facts.model.unwrap();
        assert_eq!((model.value.as_str(), &body[model.span]), ("whisper-1", b"whisper-1".as_slice()));
        assert!(facts.stream);
        assert_eq!(from_multipart(TYPE, &form(&[("file", "x")])).unwrap(), Facts::default());
        assert_eq!(from_multipart(TYPE, b"--XX--").unwrap(), Facts::default());
        let body = b"preamble\r\n--XX \t\r\ncontent-DISPOSITION: form-data; filename=\"a;name=b\"; NAME=model\r\n\
            Content-Type: text/plain\r\n\r\nm\r\n--XX--epilogue";
        assert_eq!(
            from_multipart("Multipart/Form-Data; charset=x; Boundary=\"XX\"", body).unwrap().model.unwrap().value,
            "m"
        );
    }

    #[test]
    fn absurd_forms_are_refused() {
        let two = form(&[("model", "a"), ("model", "b")]);
        let many = form(&vec![("x", "y"); 129]);
        let wide = format!("--XX\r\nA: {}\r\n\r\nv\r\n--XX--", "a".repeat(9000));
        for (content_type, body) in [
            (TYPE, b"".as_slice()),
            (TYPE, b"--XX"),
            (TYPE, b"--XX\r\n"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nabc"),
            (TYPE, b"--XX\nContent-Disposition: form-data; name=\"model\"\n\nabc\n--XX--"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n--XX--"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\x07\r\n--XX--"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\xff\r\n--XX--"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data; name=a; name=model\r\n\r\na\r\n--XX--"),
            (TYPE, b"--XX\r\nContent-Disposition: form-data;\r\n name=model\r\n\r\na\r\n--XX--"),
            (TYPE, &two),
            (TYPE, &many),
            (TYPE, wide.as_bytes()),
            ("multipart/form-data", b"--XX--"),
            ("multipart/form-data; boundary=", b"--XX--"),
            ("multipart/form-data; boundary=\"XX", b"--XX--"),
            ("multipart/form-data; boundary=a; boundary=XX", b"--XX--"),
            ("application/json; boundary=XX", b"--XX--"),
        ] {
            assert!(from_multipart(content_type, body).is_err(), "{content_type} {:?}", String::from_utf8_lossy(body));
        }
        assert!(from_multipart(TYPE, &form(&vec![("x", "y"); 128])).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_form_is_survived(content_type in any::<String>(), body in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(from_multipart(&content_type, &body));
            drop(from_multipart(TYPE, &body));
            let mut framed = b"--XX\r\n".to_vec();
            framed.extend(&body);
            framed.extend(b"\r\n--XX--");
            drop(from_multipart(TYPE, &framed));
        }

        #[test]
        fn files_do_not_hide_the_model(file in "[a-zA-Z \r\n-]{0,200}", model in "[a-zA-Z0-9._-]{1,40}") {
            let file = file.replace("XX", "");
            let facts = from_multipart(TYPE, &form(&[("file", &file), ("model", &model)])).unwrap();
            prop_assert_eq!(facts.model.unwrap().value, model);
        }
    }
}

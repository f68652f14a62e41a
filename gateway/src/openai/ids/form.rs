//! Ids in the fields of a form: where a whole part is one. Files are passed over.

use super::{Edit, Place};
use crate::openai::out::Out;
use bytes::Bytes;
use memchr::memmem;

/// What stands in front of a part's value, and behind it.
const BEFORE: &[u8] = b"\r\n\r\n";
const BEHIND: &[u8] = b"\r\n--";

/// A form with other texts; `None` where nothing changes. `mark` is in every text that may change.
pub fn form(body: &Bytes, mark: &str, edit: &mut dyn Edit) -> Option<Bytes> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut out = Out::new(body);
    let mut at = 0;
    for found in memmem::find_iter(body, mark) {
        if found < at {
            continue;
        }
        let (front, rest) = body.split_at_checked(found)?;
        let begin = found - front.iter().rev().take_while(|byte| plain(byte)).count();
        let end = found + rest.iter().take_while(|byte| plain(byte)).count();
        let whole = body.get(..begin).is_some_and(|front| front.ends_with(BEFORE))
            && body.get(end..).is_some_and(|rest| rest.starts_with(BEHIND));
        let text = body.get(begin..end).and_then(|text| std::str::from_utf8(text).ok()).filter(|_| whole);
        if let Some(told) = text.and_then(|text| edit.text(Place::Own, text)) {
            out.keep(at..begin);
            out.copy(told.as_bytes());
            at = end;
        }
    }
    if !out.is_changed() {
        return None;
    }
    out.keep(at..body.len());
    Some(out.finish())
}

//! Encrypted content (of reasoning and of compaction items): told by its digest, however its text was escaped.

use sha2::{Digest as _, Sha256};

/// The digest of a text without escapes.
#[must_use]
pub fn digest(text: &str) -> [u8; 16] {
    let mut content = Content::default();
    content.hash.update(text.as_bytes());
    content.finish()
}

/// The text of a JSON string, hashed as it passes.
#[derive(Debug, Default)]
pub(super) struct Content {
    hash: Sha256,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    /// Behind a backslash.
    Begun,
    /// So many digits of `\u0000` have come, and are this.
    Digits(u8, u32),
}

impl Content {
    /// The next bytes, as they stand in the document.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            if let Escape::None = self.escape {
                let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
                let (text, after) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                self.hash.update(text);
                if after.is_empty() {
                    return;
                }
                self.escape = Escape::Begun;
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            self.escape = self.escaped(*first);
            rest = others;
        }
    }

    fn escaped(&mut self, byte: u8) -> Escape {
        match (self.escape, byte) {
            (Escape::Begun, b'u') => return Escape::Digits(0, 0),
            (Escape::Begun, _) => {
                let meant = match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    other => other,
                };
                self.hash.update([meant]);
            }
            (Escape::Digits(count, known), _) => {
                let known = known << 4 | char::from(byte).to_digit(16).unwrap_or(0);
                if count < 3 {
                    return Escape::Digits(count + 1, known);
                }
                // What is encrypted is written in ASCII; a half of a pair is nothing that comes back.
                let letter = char::from_u32(known).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.hash.update(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (Escape::None, _) => {}
        }
        Escape::None
    }

    pub(super) fn finish(self) -> [u8; 16] {
        self.hash.finalize().first_chunk().copied().unwrap_or_default()
    }
}

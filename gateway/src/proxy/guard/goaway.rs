//! [`Goaway`]: finds out why the HTTP/2 library ends a connection, from the GOAWAY that it sends. It follows the frames that
//! are written and looks into no other.

use crate::domain::Cutoff;

/// Length, type, flags and stream of a frame (RFC 9113, 4.1).
const HEAD: usize = 9;
/// Last stream and error code, behind the head of a GOAWAY (6.8).
const REASON: usize = 8;
const GOAWAY: u8 = 7;
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Where in the frames we are.
#[derive(Debug, Default)]
pub(super) struct Goaway {
    /// What is collected: a head, and behind that of a GOAWAY its reason.
    begun: [u8; HEAD + REASON],
    length: usize,
    /// Bytes of a frame that do not matter.
    skip: usize,
}

impl Goaway {
    /// Follows what was written. Says why the connection ends, when it ends for something that the client has done.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) -> Option<Cutoff> {
        let mut found = None;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = self.wanted().saturating_sub(self.length).min(bytes.len());
            let (own, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            if let Some(room) = self.begun.get_mut(self.length..self.length + taken) {
                room.copy_from_slice(own);
            }
            self.length += taken;
            bytes = rest;
            if self.length == self.wanted() {
                found = found.or(self.reason());
                self.skip = (self.payload() + HEAD).saturating_sub(self.length);
                self.length = 0;
            }
        }
        found
    }

    /// How much of this frame is looked at.
    const fn wanted(&self) -> usize {
        if self.length >= HEAD && self.begun[3] == GOAWAY { HEAD + REASON } else { HEAD }
    }

    fn payload(&self) -> usize {
        let [a, b, c, ..] = self.begun;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn reason(&self) -> Option<Cutoff> {
        let [.., a, b, c, d] = self.begun;
        match u32::from_be_bytes([a, b, c, d]) {
            _ if self.length < HEAD + REASON => None,
            NO_ERROR => None,
            ENHANCE_YOUR_CALM => Some(Cutoff::Http2Flood),
            _ => Some(Cutoff::Http2Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
    }

    fn goaway(code: u32, words: &[u8]) -> Vec<u8> {
        frame(GOAWAY, &[&[0, 0, 0, 9][..], &code.to_be_bytes(), words].concat())
    }

    #[test]
    fn a_reason_is_found_however_the_frames_are_cut() {
        // A DATA frame that holds what looks like a GOAWAY, empty frames, then the real one.
        let before = [frame(0, &goaway(ENHANCE_YOUR_CALM, b"")), frame(4, b""), frame(0, &[7; 300])].concat();
        for (code, want) in
            [(NO_ERROR, None), (ENHANCE_YOUR_CALM, Some(Cutoff::Http2Flood)), (1, Some(Cutoff::Http2Error))]
        {
            let all = [before.clone(), goaway(code, b"too_many_resets"), frame(0, b"x")].concat();
            for size in [1, 2, 3, 7, 8, 9, 10, 17, 100, 1000] {
                let mut follower = Goaway::default();
                let found: Vec<Cutoff> = all.chunks(size).filter_map(|part| follower.sent(part)).collect();
                assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{code} in parts of {size}");
            }
        }
    }

    #[test]
    fn of_two_endings_the_first_that_has_a_reason_is_told() {
        let mut follower = Goaway::default();
        let both = [goaway(NO_ERROR, b""), goaway(ENHANCE_YOUR_CALM, b""), goaway(1, b"")].concat();
        assert_eq!(follower.sent(&both), Some(Cutoff::Http2Flood));
    }
}

//! [`Frames`]: where one WebSocket frame ends and the next begins, without looking at what is in them; and the close frames
//! of our own. (RFC 6455, section 5.)

/// Longest header of a frame without its mask, bytes.
const HEAD_MAX: usize = 10;
/// Operation code of a close frame.
const CLOSE: u8 = 8;

/// Follows one direction of a WebSocket, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    head: [u8; HEAD_MAX],
    filled: usize,
    /// Bytes of the frame under way that are still to come, its mask included.
    left: u64,
    closed: bool,
}

impl Frames {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let Some((first, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.head.get_mut(self.filled) {
                *place = *first;
            }
            self.filled += 1;
            bytes = rest;
            if let Some(length) = self.length() {
                self.closed |= self.head.first().is_some_and(|byte| byte & 0x0f == CLOSE);
                self.left = length;
                self.filled = 0;
            }
        }
    }

    /// What comes next is the beginning of a frame: one of ours may go before it.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.left == 0 && self.filled == 0
    }

    /// A close frame has begun: nothing may follow it.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.closed
    }

    /// Length of the frame behind a whole header, its mask included; `None` while the header is not whole.
    fn length(&self) -> Option<u64> {
        let second = u64::from(*self.head.get(1).filter(|_| self.filled >= 2)?);
        let size = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let extended = self.head.get(2..2 + size).filter(|_| self.filled >= 2 + size)?;
        let long = extended.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
        let payload = if size == 0 { second & 0x7f } else { long };
        Some(payload.saturating_add(if second & 0x80 == 0 { 0 } else { 4 }))
    }
}

/// A close frame with this code, as a server sends it.
#[must_use]
pub const fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x80 | CLOSE, 2, high, low]
}

/// A close frame with this code, as a client sends it: masked, with a mask of zeros, which hides nothing and needs not to.
#[must_use]
pub const fn masked_close_frame(code: u16) -> [u8; 8] {
    let [high, low] = code.to_be_bytes();
    [0x80 | CLOSE, 0x82, 0, 0, 0, 0, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask: u8 = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match u16::try_from(length) {
            Ok(short @ 0..126) => bytes.push(mask | u8::try_from(short).unwrap_or(0)),
            Ok(medium) => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&medium.to_be_bytes());
            }
            Err(_) => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(0x88, length + if masked { 4 } else { 0 }));
        bytes
    }

    #[test]
    fn our_own_frames_are_close_frames() {
        for bytes in [&close_frame(1001)[..], &masked_close_frame(1014)] {
            let mut frames = Frames::default();
            frames.feed(bytes);
            assert!(frames.at_boundary() && frames.closed(), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_everything_overflows_nothing() {
        let mut frames = Frames::default();
        frames.feed(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]);
        frames.feed(&[0; 1000]);
        assert!(!frames.at_boundary() && !frames.closed());
    }

    proptest! {
        #[test]
        fn any_chunking_finds_the_same_boundaries(
            sizes in proptest::collection::vec((0_u8..=10, prop_oneof![0_usize..130, 60_000_usize..70_000], any::<bool>()), 1..5),
            cuts in proptest::collection::vec(1_usize..5000, 1..40),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (opcode, length, masked) in &sizes {
                bytes.extend(frame(*opcode, *length, *masked));
                ends.push(bytes.len());
            }
            let mut frames = Frames::default();
            let (mut at, mut rest) = (0, bytes.as_slice());
            for cut in cuts.iter().cycle() {
                prop_assert_eq!(frames.at_boundary(), ends.contains(&at));
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.feed(now);
                at += now.len();
                rest = later;
            }
            prop_assert!(frames.at_boundary());
            prop_assert_eq!(frames.closed(), sizes.iter().any(|(opcode, ..)| *opcode == CLOSE));
        }
    }
}

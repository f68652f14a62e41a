//! [`tokens()`]: what an image costs by the documented rule of tiles, and [`size()`]: how large an image in a data URL is.
//!
//! Nothing is decoded but the head that tells width and height. An image behind an address is taken for the largest.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// An image in low detail, and the base of every other (gpt-4o; OpenAI, "Images and vision").
pub(super) const LOW: u64 = 85;
/// Each tile of 512 × 512.
const TILE: u64 = 170;
const TILE_SIDE: u64 = 512;
/// The image is first made to fit a square of this side …
const SQUARE: u64 = 2048;
/// … and then its shortest side is made this long, if it is longer.
const SHORTEST: u64 = 768;
/// Tiles of the most expensive shape, 2048 × 768.
const TILES_MAX: u64 = 8;
/// Characters of base64 that are looked at for width and height; a JPEG may carry a picture of itself before them.
const HEAD_MAX: usize = 128 * 1024;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Tokens of an image in high detail; of the largest where its size is not known.
pub(super) fn tokens(size: Option<(u32, u32)>) -> u64 {
    let Some((width, height)) = size else { return LOW + TILE * TILES_MAX };
    let (mut long, mut short) = (u64::from(width.max(height)), u64::from(width.min(height)));
    if long > SQUARE {
        short = short * SQUARE / long;
        long = SQUARE;
    }
    if short > SHORTEST {
        long = long * SHORTEST / short;
        short = SHORTEST;
    }
    LOW + TILE * (long.div_ceil(TILE_SIDE).max(1) * short.div_ceil(TILE_SIDE).max(1)).min(TILES_MAX)
}

/// Width and height of the image in a data URL, where its head tells them.
pub(super) fn size(url: &str) -> Option<(u32, u32)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    if !kind.ends_with(";base64") {
        return None;
    }
    let end = data.len().min(HEAD_MAX);
    let head = BASE64.decode(data.as_bytes().get(..end - end % 4)?).ok()?;
    let size = png(&head).or_else(|| gif(&head)).or_else(|| jpeg(&head))?;
    (size.0 > 0 && size.1 > 0).then_some(size)
}

fn png(head: &[u8]) -> Option<(u32, u32)> {
    let rest = head.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(8..)?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

fn gif(head: &[u8]) -> Option<(u32, u32)> {
    let rest = head.strip_prefix(b"GIF87a").or_else(|| head.strip_prefix(b"GIF89a"))?;
    let (width, rest) = rest.split_first_chunk::<2>()?;
    let (height, _) = rest.split_first_chunk::<2>()?;
    Some((u16::from_le_bytes(*width).into(), u16::from_le_bytes(*height).into()))
}

/// Goes from segment to segment to the one that begins the frame. Each step goes forward by two bytes or more.
fn jpeg(head: &[u8]) -> Option<(u32, u32)> {
    let mut rest = head.strip_prefix(b"\xff\xd8")?;
    loop {
        let (marker, after) = rest.split_first_chunk::<4>()?;
        let [0xff, kind, high, low] = *marker else { return None };
        if kind == 0xff {
            rest = rest.get(1..)?;
            continue;
        }
        if matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc) {
            let (frame, _) = after.split_first_chunk::<5>()?;
            let [_, h1, h0, w1, w0] = *frame;
            return Some((u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()));
        }
        rest = rest.get(usize::from(u16::from_be_bytes([high, low])).max(2).saturating_add(2)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(kind: &str, bytes: &[u8]) -> String {
        format!("data:image/{kind};base64,{}", BASE64.encode(bytes))
    }

    #[test]
    fn tiles_cost_what_the_documentation_says() {
        // 1024 × 1024 and 2048 × 4096 are the documentation's own examples.
        for (size, want) in [
            (Some((1024, 1024)), 765),
            (Some((2048, 4096)), 1105),
            (Some((1, 1)), 255),
            (Some((512, 512)), 255),
            (Some((u32::MAX, 1)), 85 + 4 * 170),
            (Some((u32::MAX, u32::MAX)), 765),
            (None, 1445),
        ] {
            assert_eq!(tokens(size), want, "{size:?}");
        }
    }

    #[test]
    fn sizes_are_read_from_the_head() {
        let png = [b"\x89PNG\r\n\x1a\n".as_slice(), b"\0\0\0\rIHDR\0\0\x04\0\0\0\x02\0rest"].concat();
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x11\x08\x02\0\x04\0\x03more";
        assert_eq!(size(&url("png", &png)), Some((1024, 512)));
        assert_eq!(size(&url("gif", b"GIF89a\0\x04\0\x02rest")), Some((1024, 512)));
        assert_eq!(size(&url("jpeg", jpeg)), Some((1024, 512)));
        for bad in ["", "data:", "data:image/png;base64,", "data:image/png,abc", "https://x.example/a.png"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        for end in 0..jpeg.len() - 5 {
            assert_eq!(size(&url("jpeg", &jpeg[..end])), None);
        }
        assert_eq!(size(&url("jpeg", b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0\xff\xe0\0\0")), None);
        assert_eq!(size("data:image/png;base64,!!!!"), None);
    }
}

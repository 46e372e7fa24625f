//! Photos: JPEG or WebP, at most 1080p and 20 MB. PNG is refused, under the reason it was seen with.

use crate::post::FailReason;

const MAX_BYTES: u64 = 20 << 20;
/// 1080p: the short side and the long side.
const MAX_SIDES: (u32, u32) = (1080, 1920);
/// Embedded previews and profiles come before the size in a JPEG; past this the size is not looked for.
const HEAD: usize = 512 << 10;

/// Watches a photo go by.
#[derive(Default)]
pub(crate) struct PhotoScan {
    head: Vec<u8>,
    bytes: u64,
}

impl PhotoScan {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.bytes += bytes.len() as u64;
    }

    pub(crate) fn verdict(&self) -> Option<FailReason> {
        let size = match kind(&self.head) {
            Kind::Jpeg => jpeg_size(&self.head),
            Kind::WebP => webp_size(&self.head),
            Kind::Png => return Some(FailReason::PictureSizeCheckFailed),
            Kind::Other => return Some(FailReason::FileFormatCheckFailed),
        };
        let fits = size.is_none_or(|(w, h)| w.min(h) <= MAX_SIDES.0 && w.max(h) <= MAX_SIDES.1);
        (!fits || self.bytes > MAX_BYTES).then_some(FailReason::PictureSizeCheckFailed)
    }
}

enum Kind {
    Jpeg,
    WebP,
    Png,
    Other,
}

fn kind(head: &[u8]) -> Kind {
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Kind::Jpeg
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Kind::WebP
    } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        Kind::Png
    } else {
        Kind::Other
    }
}

/// Follows the segments to the frame header, which holds height and width.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let [0xFF, marker] = *bytes.get(at..at + 2)? else {
            return None;
        };
        match marker {
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            // Frame headers: C0 to CF without the three that mean something else.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                return Some((be16(bytes, at + 7)?, be16(bytes, at + 5)?));
            }
            _ => at += 2 + usize::try_from(be16(bytes, at + 2)?).ok()?,
        }
    }
}

fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let le = |at: usize, count: usize| {
        let part = bytes.get(at..at + count)?;
        Some(part.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    match bytes.get(12..16)? {
        b"VP8X" => Some((le(24, 3)? + 1, le(27, 3)? + 1)),
        b"VP8L" => {
            let bits = le(21, 4)?;
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        b"VP8 " => Some((le(26, 2)? & 0x3FFF, le(28, 2)? & 0x3FFF)),
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*two).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC0, 0, 11, 8];
        file.extend_from_slice(&height.to_be_bytes());
        file.extend_from_slice(&width.to_be_bytes());
        file
    }

    fn verdict(file: &[u8]) -> Option<FailReason> {
        let mut scan = PhotoScan::default();
        scan.feed(file);
        scan.verdict()
    }

    #[test]
    fn jpeg_and_webp_up_to_1080p_pass() {
        assert_eq!(verdict(&jpeg(1080, 1920)), None);
        assert_eq!(verdict(&jpeg(1081, 1920)), Some(FailReason::PictureSizeCheckFailed));
        let webp = |w: u8| {
            [
                b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(),
                &[0x37, w, 0, 0x37, 4, 0],
            ]
            .concat()
        };
        assert_eq!(verdict(&webp(4)), None);
        assert_eq!(verdict(&webp(9)), Some(FailReason::PictureSizeCheckFailed));
    }

    #[test]
    fn png_and_unknown_files_are_refused() {
        assert_eq!(
            verdict(b"\x89PNG\r\n\x1a\n...."),
            Some(FailReason::PictureSizeCheckFailed)
        );
        assert_eq!(verdict(b"hello"), Some(FailReason::FileFormatCheckFailed));
    }
}

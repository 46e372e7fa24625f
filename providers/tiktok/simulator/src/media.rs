//! A first look at received media while it streams by: container, length and picture size.
//!
//! Nothing is decoded. What a header does not tell (codec, frame rate) is accepted; those refusals come from
//! fault switches.

mod mp4;
mod photo;

use crate::post::FailReason;
pub(crate) use photo::PhotoScan;

/// Pixels on each side of a video (media transfer guide).
const VIDEO_SIDES: std::ops::RangeInclusive<u32> = 360..=4096;
const HEAD: usize = 32;

/// Watches a video go by. Cheap to copy, so that a failed chunk leaves no trace.
#[derive(Clone, Default)]
pub(crate) struct VideoScan {
    head: Vec<u8>,
    mp4: mp4::Walk,
}

impl VideoScan {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.mp4.feed(bytes);
    }

    /// Whole seconds, when the header tells.
    pub(crate) fn duration_sec(&self) -> Option<u32> {
        self.mp4.facts().and_then(|facts| facts.duration_sec())
    }

    pub(crate) fn verdict(&self, max_duration_sec: u32) -> Option<FailReason> {
        if !self.is_mp4() && !self.is_webm() {
            return Some(FailReason::FileFormatCheckFailed);
        }
        let facts = self.mp4.facts()?;
        if facts.is_longer_than(max_duration_sec) {
            return Some(FailReason::DurationCheckFailed);
        }
        let (width, height) = facts.picture?;
        let fits = VIDEO_SIDES.contains(&width) && VIDEO_SIDES.contains(&height);
        (!fits).then_some(FailReason::PictureSizeCheckFailed)
    }

    /// MP4 and MOV open with an `ftyp` box of at least a brand and a version.
    fn is_mp4(&self) -> bool {
        let size = self.head.first_chunk::<4>().map_or(0, |size| u32::from_be_bytes(*size));
        self.head.get(4..8) == Some(b"ftyp") && (16..=4096).contains(&size) && self.head.len() >= 16
    }

    fn is_webm(&self) -> bool {
        self.head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(content.len() + 8)
            .expect("a small box")
            .to_be_bytes()
            .to_vec();
        out.extend_from_slice(name);
        out.extend_from_slice(content);
        out
    }

    fn movie(seconds: u32, width: u16, height: u16) -> Vec<u8> {
        let mut mvhd = vec![0; 12];
        mvhd.extend_from_slice(&1000u32.to_be_bytes());
        mvhd.extend_from_slice(&(seconds * 1000).to_be_bytes());
        mvhd.resize(100, 0);
        let mut tkhd = vec![0; 76];
        tkhd.extend_from_slice(&(u32::from(width) << 16).to_be_bytes());
        tkhd.extend_from_slice(&(u32::from(height) << 16).to_be_bytes());
        let moov = [boxed(b"mvhd", &mvhd), boxed(b"trak", &boxed(b"tkhd", &tkhd))].concat();
        [
            boxed(b"ftyp", b"isom\0\0\x02\0isomiso2"),
            boxed(b"mdat", &[7; 5000]),
            boxed(b"moov", &moov),
        ]
        .concat()
    }

    /// Fed in odd pieces, so that box borders fall anywhere.
    fn verdict(file: &[u8], max: u32) -> Option<FailReason> {
        let mut scan = VideoScan::default();
        file.chunks(37).for_each(|piece| scan.feed(piece));
        scan.verdict(max)
    }

    #[test]
    fn good_movies_pass_and_bad_ones_are_named() {
        assert_eq!(verdict(&movie(59, 720, 1280), 60), None);
        assert_eq!(
            verdict(&movie(61, 720, 1280), 60),
            Some(FailReason::DurationCheckFailed)
        );
        assert_eq!(
            verdict(&movie(5, 359, 1280), 60),
            Some(FailReason::PictureSizeCheckFailed)
        );
        assert_eq!(
            verdict(b"GIF89a..........", 60),
            Some(FailReason::FileFormatCheckFailed)
        );
        assert_eq!(verdict(&[0x1A, 0x45, 0xDF, 0xA3, 1, 2], 60), None);
    }

    #[test]
    fn a_file_without_a_header_box_passes_on_its_container_alone() {
        let file = [boxed(b"ftyp", b"isom\0\0\x02\0"), vec![0xFF; 4000]].concat();
        assert_eq!(verdict(&file, 60), None);
        assert_eq!(
            verdict(&boxed(b"ftyp", b"iso"), 60),
            Some(FailReason::FileFormatCheckFailed)
        );
    }
}

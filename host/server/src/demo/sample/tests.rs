use re_mp4::{Mp4, StsdBoxContent, TrackKind};

use super::*;

/// Small, so that the tests stay quick; the width is not a whole number of macroblocks.
const SMALL: SampleSpec = SampleSpec {
    width: 72,
    height: 96,
    fps: 30,
    seconds: 3,
};

fn parse(file: &[u8]) -> Mp4 {
    Mp4::read_bytes(file).expect("an MP4")
}

fn padded(filler: Filler, total: u64) -> Vec<u8> {
    let mut file = Vec::new();
    write_padded(&SMALL, filler, total, &mut file).expect("room for the video");
    file
}

/// Name, first byte and length of each box at the top of the file.
fn boxes(file: &[u8]) -> Vec<(String, usize, u64)> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < file.len() {
        let short = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        let name = String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap();
        found.push((name, at, u64::from(short)));
        at += short as usize;
    }
    assert_eq!(at, file.len(), "boxes cover the file exactly");
    found
}

fn names(file: &[u8]) -> Vec<String> {
    boxes(file).into_iter().map(|(name, ..)| name).collect()
}

#[track_caller]
fn check_track(file: &[u8], spec: &SampleSpec) {
    let mp4 = parse(file);
    assert_eq!(mp4.tracks().len(), 1);
    let track = &mp4.tracks()[&1];
    assert_eq!(track.kind, Some(TrackKind::Video));
    assert_eq!(
        (u32::from(track.width), u32::from(track.height)),
        (spec.width, spec.height)
    );
    assert_eq!(track.duration, track.timescale * u64::from(spec.seconds));
    assert_eq!(track.samples.len() as u32, spec.fps * spec.seconds);
    assert!(matches!(
        track.trak(&mp4).mdia.minf.stbl.stsd.contents,
        StsdBoxContent::Avc1(_)
    ));
    let codec = track.codec_string(&mp4).expect("a known codec");
    assert!(codec.starts_with("avc1.42C0"), "constrained baseline, not {codec}");
    for sample in &track.samples {
        let bytes = &file[sample.byte_range()];
        let nal = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(nal + 4, bytes.len(), "sample {} is one NAL unit", sample.id);
        assert_eq!(bytes[4] & 0x1F, if sample.is_sync { 5 } else { 1 });
    }
}

#[test]
fn is_an_h264_video_of_the_asked_size_and_length() {
    check_track(&mp4(&SMALL), &SMALL);
}

#[test]
fn the_index_comes_before_the_pictures() {
    assert_eq!(names(&mp4(&SMALL)), ["ftyp", "moov", "mdat"]);
}

#[test]
fn starts_with_a_key_frame_and_has_one_every_two_seconds() {
    let mp4 = parse(&mp4(&SMALL));
    let keys: Vec<usize> = mp4.tracks()[&1]
        .samples
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.is_sync)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(keys, [0, 60]);
}

#[test]
fn every_frame_shows_movement() {
    let spec = SampleSpec::default();
    let scene = Scene::new(&spec);
    for frame in 1..spec.frames() {
        let changed = (0..scene.macroblocks()).filter(|mb| scene.macroblock(frame, *mb).1);
        assert!(changed.count() > 0, "frame {frame} repeats the one before");
    }
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    assert!(mp4(&SMALL) == mp4(&SMALL));
    let long = SMALL_SIZE + 200_000;
    assert!(padded(Filler::Seeded(7), long) == padded(Filler::Seeded(7), long));
    assert!(padded(Filler::Seeded(7), long) != padded(Filler::Seeded(8), long));
}

/// Larger than the small video.
const SMALL_SIZE: u64 = 1 << 20;

#[test]
fn padding_reaches_the_exact_size_and_keeps_the_video() {
    let bare = mp4(&SMALL).len() as u64;
    assert!(bare < SMALL_SIZE);
    for pad in [0, 1, 7, 8, 9, 15, 16, 17, 65_543, 65_544, 65_545, 1_000_003] {
        let file = padded(Filler::Seeded(1), bare + pad);
        assert_eq!(file.len() as u64, bare + pad);
        let expected: &[&str] = if pad < 8 {
            &["ftyp", "moov", "mdat"]
        } else {
            &["ftyp", "moov", "mdat", "free"]
        };
        assert_eq!(names(&file), expected, "padded by {pad}");
        check_track(&file, &SMALL);
    }
}

#[test]
fn a_size_the_video_does_not_fit_into_is_refused() {
    let bare = mp4(&SMALL).len() as u64;
    let mut file = Vec::new();
    let refused = write_padded(&SMALL, Filler::Zeros, bare - 1, &mut file).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert!(file.is_empty());
}

#[test]
fn seeded_padding_has_no_two_equal_chunks() {
    let file = padded(Filler::Seeded(42), 4 << 20);
    let mut chunks: Vec<&[u8]> = file.chunks(64 * 1024).collect();
    chunks.sort_unstable();
    assert!(chunks.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn padding_beyond_four_gigabytes_uses_a_long_box_and_little_memory() {
    /// Counts, and keeps only the ten bytes after the video.
    struct Counter {
        from: u64,
        written: u64,
        largest: usize,
        header: Vec<u8>,
    }
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.written == self.from {
                self.header = bytes.to_vec();
            }
            self.written += bytes.len() as u64;
            self.largest = self.largest.max(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bare = mp4(&SMALL).len() as u64;
    let total = (1 << 32) + bare + 100;
    let mut out = Counter {
        from: bare,
        written: 0,
        largest: 0,
        header: Vec::new(),
    };
    write_padded(&SMALL, Filler::Zeros, total, &mut out).unwrap();
    assert_eq!(out.written, total);
    assert_eq!(&out.header[..8], b"\0\0\0\x01free");
    assert_eq!(out.header[8..], (total - bare).to_be_bytes());
    assert!(out.largest as u64 <= bare, "never more at once than the video itself");
}

#[test]
fn values_out_of_range_are_brought_into_it() {
    let odd = SampleSpec {
        width: 65,
        height: 1,
        fps: 0,
        seconds: 0,
    };
    let file = mp4(&odd);
    check_track(
        &file,
        &SampleSpec {
            width: 64,
            height: 64,
            fps: 1,
            seconds: 1,
        },
    );
}

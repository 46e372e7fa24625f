//! What a file is, by its content. Names and declared types are not believed. Blocking: it reads.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use matroska_demuxer::{MatroskaFile, TrackType};
use patchbay_core::{MediaInfo, MediaKind};

/// Largest `moov` box that is read: an honest one of a ten-minute video has well under 10 MiB.
const MAX_MOOV: u64 = 64 * 1024 * 1024;

/// Most boxes beside each other. A movie in fragments has two for each of them, and a fragment is a second or longer.
const MAX_BOXES: usize = 20_000;

/// The size of a picture stands in this much of it. A JPEG may have a preview and a profile of colours before it.
const PICTURE_HEAD: u64 = 1024 * 1024;

/// What is read of a WebM file at most, in its headers and its index: an hour has less than 100 KiB of them.
const MAX_WEBM_READ: u64 = 2 * 1024 * 1024;

/// The facts of a file; `None`: it is no media file that Patchbay knows.
pub fn probe<F: Read + Seek>(file: &mut F, size: u64) -> io::Result<Option<MediaInfo>> {
    let mut head = Vec::with_capacity(64);
    (&mut *file).take(64).read_to_end(&mut head)?;
    let Some((kind, mime)) = sniff(&head) else {
        return Ok(None);
    };
    let mut info = MediaInfo {
        size_bytes: Some(size),
        ..MediaInfo::of(kind, mime)
    };
    if matches!(mime, "video/mp4" | "video/quicktime") {
        if !has_plain_movie(file, size)? {
            return Ok(None);
        }
        read_movie(file, size, &mut info)?;
    }
    if mime == "video/webm" {
        read_webm(file, &mut info)?;
    }
    if kind == MediaKind::Image {
        read_picture(file, &mut info)?;
    }
    Ok(Some(info))
}

/// Fills in how large a picture is, if its beginning says so.
fn read_picture<F: Read + Seek>(file: &mut F, info: &mut MediaInfo) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut beginning = Vec::new();
    file.take(PICTURE_HEAD).read_to_end(&mut beginning)?;
    if let Ok(size) = imagesize::blob_size(&beginning) {
        info.width = u32::try_from(size.width).ok().filter(|width| *width > 0);
        info.height = u32::try_from(size.height).ok().filter(|height| *height > 0);
    }
    Ok(())
}

/// Container by its first bytes (ISO 14496-12, EBML, JFIF, PNG, RIFF, GIF).
fn sniff(head: &[u8]) -> Option<(MediaKind, &'static str)> {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.first_chunk::<4>()? {
            b"qt  " => Some((MediaKind::Video, "video/quicktime")),
            b"avif" | b"avis" | b"heic" | b"heix" | b"mif1" => None,
            _ => Some((MediaKind::Video, "video/mp4")),
        },
        [0x1a, 0x45, 0xdf, 0xa3, rest @ ..] if rest.windows(4).any(|text| text == b"webm") => {
            Some((MediaKind::Video, "video/webm"))
        }
        [0xff, 0xd8, 0xff, ..] => Some((MediaKind::Image, "image/jpeg")),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some((MediaKind::Image, "image/png")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some((MediaKind::Image, "image/webp")),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some((MediaKind::Image, "image/gif")),
        _ => None,
    }
}

/// Walks the top-level boxes: sizes fit the file, and there is a `moov` of sane size.
fn has_plain_movie<F: Read + Seek>(file: &mut F, size: u64) -> io::Result<bool> {
    let mut at = 0_u64;
    let mut movie = false;
    for _ in 0..MAX_BOXES {
        if at >= size {
            return Ok(movie);
        }
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 16];
        let read = read_up_to(file, &mut header)?;
        if read < 8 {
            return Ok(false);
        }
        let short = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
        let (length, least) = match short {
            0 => (size - at, 8),
            1 if read == 16 => (header[8..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)), 16),
            1 => return Ok(false),
            length => (length, 8),
        };
        if length < least || length > size - at {
            return Ok(false);
        }
        if &header[4..8] == b"moov" {
            if length > MAX_MOOV {
                return Ok(false);
            }
            movie = true;
        }
        at += length;
    }
    Ok(false)
}

fn read_up_to<F: Read>(file: &mut F, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(read)
}

/// Fills in what the movie says of its first video track. What cannot be read stays unknown.
fn read_movie<F: Read + Seek>(file: &mut F, size: u64, info: &mut MediaInfo) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let Ok(movie) = re_mp4::Mp4::read(BufReader::new(file), size) else {
        return Ok(());
    };
    let tracks = movie.tracks();
    let Some(track) = tracks
        .values()
        .find(|track| track.kind == Some(re_mp4::TrackKind::Video))
    else {
        return Ok(());
    };
    info.width = Some(u32::from(track.width)).filter(|width| *width > 0);
    info.height = Some(u32::from(track.height)).filter(|height| *height > 0);
    info.codec = track
        .codec_string(&movie)
        .and_then(|codec| codec.split('.').next().map(str::to_owned));
    if track.timescale > 0 && track.duration > 0 {
        info.duration_ms = track.duration.checked_mul(1000).map(|ms| ms / track.timescale);
        let frames = u32::try_from(track.samples.len()).unwrap_or(u32::MAX);
        let seconds = std::time::Duration::from_millis(info.duration_ms.unwrap_or_default()).as_secs_f64();
        if frames > 1 && seconds > 0.0 {
            info.frame_rate = Some(f64::from(frames) / seconds);
        }
    }
    Ok(())
}

/// Fills in what a WebM file says of its first video track. What cannot be read stays unknown; a recording that was not
/// finished by its program does not tell how long it is.
fn read_webm<F: Read + Seek>(file: &mut F, info: &mut MediaInfo) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let bounded = Bounded {
        file,
        left: MAX_WEBM_READ,
    };
    let Ok(movie) = MatroskaFile::open(bounded) else {
        return Ok(());
    };
    // In ticks of the file's own scale, which is in nanoseconds.
    let ticks = movie
        .info()
        .duration()
        .filter(|ticks| ticks.is_finite() && *ticks > 0.0);
    info.duration_ms = ticks.map(|ticks| (ticks * movie.info().timestamp_scale().get() as f64 / 1e6).round() as u64);
    let mut tracks = movie.tracks().iter();
    let Some(track) = tracks.find(|track| track.track_type() == TrackType::Video) else {
        return Ok(());
    };
    if let Some(video) = track.video() {
        info.width = u32::try_from(video.pixel_width().get()).ok();
        info.height = u32::try_from(video.pixel_height().get()).ok();
    }
    info.codec = Some(track.codec_id().to_owned()).filter(|codec| codec.len() <= 32);
    info.frame_rate = track
        .default_duration()
        .map(|nanoseconds| 1e9 / nanoseconds.get() as f64);
    Ok(())
}

/// A file of which no more than so many bytes are read, whatever lengths it tells.
struct Bounded<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read> Read for Bounded<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<F: Seek> Seek for Bounded<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn facts(bytes: &[u8]) -> Option<(String, Option<u32>, Option<u32>)> {
        let info = probe(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()?;
        Some((info.mime, info.width, info.height))
    }

    #[test]
    fn pictures_tell_their_size() {
        let png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x04\x38\x00\x00\x07\x80\x08\x02\x00\x00\x00";
        assert_eq!(facts(png), Some(("image/png".into(), Some(1080), Some(1920))));
        let jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\
            \xff\xc0\x00\x11\x08\x00\x20\x00\x10\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9";
        assert_eq!(facts(jpeg), Some(("image/jpeg".into(), Some(16), Some(32))));
        let webp = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x0f\xc0\x07\x10\x11\x11\x88\x88\xfe\x07\x00\x00";
        assert_eq!(facts(webp), Some(("image/webp".into(), Some(16), Some(32))));
        let gif = b"GIF89a\x10\x00\x20\x00\x00\x00\x00";
        assert_eq!(facts(gif), Some(("image/gif".into(), Some(16), Some(32))));
    }

    /// An element of EBML: its id, its length in one or eight bytes, its content.
    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u64 | 1 << 56).to_be_bytes();
        [id, &length, content].concat()
    }

    /// A WebM file of 640 x 360 pixels, 30 frames a second, and twelve and a half seconds.
    fn webm(codec: &[u8]) -> Vec<u8> {
        let head = [
            element(&[0x42, 0x82], b"webm"),
            element(&[0x42, 0x87], &[4]),
            element(&[0x42, 0x85], &[2]),
        ];
        let scale = element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes());
        let length = element(&[0x44, 0x89], &12_500_f64.to_be_bytes());
        let program = [element(&[0x4d, 0x80], b"test"), element(&[0x57, 0x41], b"test")].concat();
        let video = [
            element(&[0xb0], &640_u16.to_be_bytes()),
            element(&[0xba], &360_u16.to_be_bytes()),
        ];
        let track = [
            element(&[0xd7], &[1]),
            element(&[0x73, 0xc5], &[1]),
            element(&[0x83], &[1]),
            element(&[0x86], codec),
            element(&[0x23, 0xe3, 0x83], &33_333_333_u32.to_be_bytes()),
            element(&[0xe0], &video.concat()),
        ];
        let segment = [
            element(&[0x15, 0x49, 0xa9, 0x66], &[scale, program, length].concat()),
            element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat())),
            element(&[0x1f, 0x43, 0xb6, 0x75], &element(&[0xe7], &[0])),
        ];
        [
            element(&[0x1a, 0x45, 0xdf, 0xa3], &head.concat()),
            element(&[0x18, 0x53, 0x80, 0x67], &segment.concat()),
        ]
        .concat()
    }

    #[test]
    fn a_webm_tells_its_facts() {
        let file = webm(b"V_VP9");
        let info = probe(&mut Cursor::new(&file), file.len() as u64).unwrap().unwrap();
        assert_eq!(info.mime, "video/webm");
        assert_eq!((info.width, info.height), (Some(640), Some(360)));
        assert_eq!((info.duration_ms, info.codec.as_deref()), (Some(12_500), Some("V_VP9")));
        assert_eq!(info.frame_rate.map(f64::round), Some(30.0));
    }

    #[test]
    fn a_webm_that_lies_costs_no_more_than_is_read_of_it() {
        // A name of a codec that is longer than anything that is read.
        let long = webm(&vec![b'V'; 4 * 1024 * 1024]);
        let info = probe(&mut Cursor::new(&long), long.len() as u64).unwrap().unwrap();
        assert_eq!((info.mime.as_str(), info.codec), ("video/webm", None));
        let whole = webm(b"V_VP9");
        for cut in 0..whole.len() {
            probe(&mut Cursor::new(&whole[..cut]), cut as u64).unwrap();
        }
    }

    #[test]
    fn t65_what_runs_in_a_browser_is_no_media_file() {
        let html = b"<!doctype html><script>alert(1)</script>";
        let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
        for page in [&html[..], svg, b"%PDF-1.7", b"PK\x03\x04", b"", b"\x00"] {
            assert_eq!(facts(page), None);
        }
        // Boxes without a movie, and more of them than any movie has.
        let empty = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00";
        assert_eq!(facts(empty), None);
        let many = [&empty[..], &b"\x00\x00\x00\x08free".repeat(MAX_BOXES)].concat();
        assert_eq!(facts(&many), None);
    }

    #[test]
    fn a_size_that_lies_is_unknown() {
        assert_eq!(facts(b"\x89PNG\r\n\x1a\n"), Some(("image/png".into(), None, None)));
        assert_eq!(
            facts(b"\xff\xd8\xff\xe0\xff\xff"),
            Some(("image/jpeg".into(), None, None))
        );
    }
}

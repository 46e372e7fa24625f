//! What a file is, by its content. Names and declared types are not believed. Blocking: reads from disk.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use patchbay_core::{MediaInfo, MediaKind};

/// Largest `moov` box that is read: an honest one of a ten-minute video has well under 10 MiB.
const MAX_MOOV: u64 = 64 * 1024 * 1024;

/// The facts of a file; `None`: it is no media file that Patchbay knows.
pub fn probe(path: &Path, size: u64) -> io::Result<Option<MediaInfo>> {
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(64);
    (&mut file).take(64).read_to_end(&mut head)?;
    let Some((kind, mime)) = sniff(&head) else {
        return Ok(None);
    };
    let mut info = MediaInfo {
        kind,
        mime: mime.to_owned(),
        size_bytes: Some(size),
        duration_ms: None,
        width: None,
        height: None,
        frame_rate: None,
        codec: None,
    };
    if matches!(mime, "video/mp4" | "video/quicktime") {
        if !has_plain_movie(&mut file, size)? {
            return Ok(None);
        }
        read_movie(&mut file, size, &mut info)?;
    }
    Ok(Some(info))
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
fn has_plain_movie(file: &mut File, size: u64) -> io::Result<bool> {
    let mut at = 0_u64;
    let mut movie = false;
    while at < size {
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
    Ok(movie)
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
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
fn read_movie(file: &mut File, size: u64, info: &mut MediaInfo) -> io::Result<()> {
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

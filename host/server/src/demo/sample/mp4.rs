//! The container (ISO/IEC 14496-12 and -15): `ftyp`, `moov`, `mdat`, in this order, so that a player has the index
//! before the first sample. All samples lie in one chunk of one video track.

use std::io::{self, Write};

use super::SampleSpec;
use super::h264::{Frame, Track};

const MOVIE_TIMESCALE: u32 = 1000;
/// Ticks of the track's clock for each frame.
const FRAME_TICKS: u32 = 512;
const BOX_HEADER: u64 = 8;
const LARGE_BOX_HEADER: u64 = 16;

/// A finished video: everything up to the samples, and the samples.
pub(super) struct Movie {
    head: Vec<u8>,
    samples: Vec<u8>,
}

impl Movie {
    pub(super) fn new(spec: &SampleSpec, track: &Track, frames: &[Frame]) -> Self {
        let mut samples = Vec::new();
        let mut sizes = Vec::with_capacity(frames.len());
        for frame in frames {
            // AVC samples carry a length where a byte stream has a start code (14496-15, 5.3.4.2).
            samples.extend_from_slice(&(frame.nal.len() as u32).to_be_bytes());
            samples.extend_from_slice(&frame.nal);
            sizes.push(frame.nal.len() as u32 + 4);
        }
        let mut head = file_type();
        // The index holds the samples' place, and its own length does not depend on the value.
        let index_len = index(spec, track, frames, &sizes, 0).len();
        let first_sample = head.len() + index_len + BOX_HEADER as usize;
        head.extend(index(spec, track, frames, &sizes, first_sample as u32));
        Self { head, samples }
    }

    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + BOX_HEADER + self.samples.len() as u64
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut file = self.head;
        file.extend(box_header(*b"mdat", BOX_HEADER + self.samples.len() as u64));
        file.extend(self.samples);
        file
    }

    /// Writes the file so that `pad` more bytes may follow, and says how many of them are still to be written: the
    /// rest is the header of a `free` box. A pad too small for a box of its own is left inside `mdat`, where bytes
    /// that no sample refers to are allowed.
    pub(super) fn write_with_room_for(&self, pad: u64, out: &mut impl Write) -> io::Result<u64> {
        let in_mdat = if pad < BOX_HEADER { pad } else { 0 };
        out.write_all(&self.head)?;
        out.write_all(&box_header(*b"mdat", BOX_HEADER + self.samples.len() as u64 + in_mdat))?;
        out.write_all(&self.samples)?;
        if in_mdat == pad {
            return Ok(pad);
        }
        let header = box_header(*b"free", pad);
        out.write_all(&header)?;
        Ok(pad - header.len() as u64)
    }
}

/// `total` counts the header too; a box above 4 GiB has its size in 64 bits after the name (4.2).
fn box_header(name: [u8; 4], total: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(LARGE_BOX_HEADER as usize);
    match u32::try_from(total) {
        Ok(total) => {
            header.extend_from_slice(&total.to_be_bytes());
            header.extend_from_slice(&name);
        }
        Err(_) => {
            header.extend_from_slice(&1u32.to_be_bytes());
            header.extend_from_slice(&name);
            header.extend_from_slice(&total.to_be_bytes());
        }
    }
    header
}

fn file_type() -> Vec<u8> {
    boxed(b"ftyp", &[b"isom", &u32s(&[512]), b"isom", b"iso2", b"avc1", b"mp41"])
}

fn index(spec: &SampleSpec, track: &Track, frames: &[Frame], sizes: &[u32], first_sample: u32) -> Vec<u8> {
    let movie_ticks = spec.seconds * MOVIE_TIMESCALE;
    let track_ticks = spec.frames() * FRAME_TICKS;
    let movie_header = full(
        b"mvhd",
        0,
        &[
            &u32s(&[0, 0, MOVIE_TIMESCALE, movie_ticks]),
            &u32s(&[0x0001_0000, 0x0100_0000, 0, 0]), // rate 1.0, volume 1.0, reserved
            &u32s(&UPRIGHT),
            &u32s(&[0; 6]),
            &u32s(&[2]), // next_track_ID
        ],
    );
    let track_header = full(
        b"tkhd",
        3, // enabled, in the movie
        &[
            &u32s(&[0, 0, 1, 0, movie_ticks, 0, 0, 0, 0]),
            &u32s(&UPRIGHT),
            &u32s(&[spec.width << 16, spec.height << 16]),
        ],
    );
    let media_header = full(
        b"mdhd",
        0,
        &[
            &u32s(&[0, 0, spec.fps * FRAME_TICKS, track_ticks]),
            &u16s(&[LANGUAGE_UNDETERMINED, 0]),
        ],
    );
    let handler = full(
        b"hdlr",
        0,
        &[&u32s(&[0]), b"vide", &u32s(&[0; 3]), b"Patchbay sample\0"],
    );
    let data_information = boxed(b"dinf", &[&full(b"dref", 0, &[&u32s(&[1]), &full(b"url ", 1, &[])])]);
    let media_information = boxed(
        b"minf",
        &[
            &full(b"vmhd", 1, &[&u16s(&[0; 4])]),
            &data_information,
            &sample_table(spec, track, frames, sizes, first_sample),
        ],
    );
    let media = boxed(b"mdia", &[&media_header, &handler, &media_information]);
    boxed(b"moov", &[&movie_header, &boxed(b"trak", &[&track_header, &media])])
}

/// Identity matrix, 16.16 and 2.30 fixed point (6.2.2).
const UPRIGHT: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
/// `und`, five bits a letter.
const LANGUAGE_UNDETERMINED: u16 = 0x55C4;

fn sample_table(spec: &SampleSpec, track: &Track, frames: &[Frame], sizes: &[u32], first_sample: u32) -> Vec<u8> {
    let count = frames.len() as u32;
    let keys: Vec<u32> = (1..)
        .zip(frames)
        .filter(|(_, frame)| frame.key)
        .map(|(number, _)| number)
        .collect();
    boxed(
        b"stbl",
        &[
            &full(b"stsd", 0, &[&u32s(&[1]), &sample_entry(spec, track)]),
            &full(b"stts", 0, &[&u32s(&[1, count, FRAME_TICKS])]),
            &full(b"stss", 0, &[&u32s(&[keys.len() as u32]), &u32s(&keys)]),
            &full(b"stsc", 0, &[&u32s(&[1, 1, count, 1])]),
            &full(b"stsz", 0, &[&u32s(&[0, count]), &u32s(sizes)]),
            &full(b"stco", 0, &[&u32s(&[1, first_sample])]),
        ],
    )
}

/// `avc1` with its `avcC` (14496-15, 5.3.3 and 5.4.2).
fn sample_entry(spec: &SampleSpec, track: &Track) -> Vec<u8> {
    let configuration = boxed(
        b"avcC",
        &[
            &[1, track.sps[1], track.sps[2], track.sps[3]], // version, profile, compatibility, level
            &[0b1111_1111],                                 // four-byte lengths
            &[0b1110_0001],                                 // one SPS
            &u16s(&[track.sps.len() as u16]),
            &track.sps,
            &[1],
            &u16s(&[track.pps.len() as u16]),
            &track.pps,
        ],
    );
    boxed(
        b"avc1",
        &[
            &u16s(&[0, 0, 0, 1]), // reserved, data_reference_index
            &u32s(&[0; 4]),
            &u16s(&[spec.width as u16, spec.height as u16]),
            &u32s(&[0x0048_0000, 0x0048_0000, 0]), // 72 dpi
            &u16s(&[1]),                           // frames in a sample
            &[0; 32],                              // compressor name
            &u16s(&[24, 0xFFFF]),                  // depth, pre_defined
            &configuration,
        ],
    )
}

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = box_header(*name, BOX_HEADER + body as u64);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A box with version 0 and flags.
fn full(name: &[u8; 4], flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut body = flags.to_be_bytes().to_vec();
    for part in parts {
        body.extend_from_slice(part);
    }
    boxed(name, &[&body])
}

fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

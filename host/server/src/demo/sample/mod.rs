//! A small, real, playable video of our own making: H.264 in MP4, written from scratch.
//!
//! The demo, the bench and the examples need something to publish, and a repository is a poor place for other
//! people's footage. The same [`SampleSpec`] always gives the same bytes. `picture` draws, `h264` codes, `mp4`
//! wraps; [`write_padded`] makes a valid file of any exact size, for uploads in many chunks.

mod h264;
mod mp4;
mod picture;

use std::io::{self, Write};

use picture::Scene;

/// What the video looks like. Values outside the ranges are brought into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSpec {
    /// Pixels across: 64 to 1920, even.
    pub width: u32,
    /// Pixels down: 64 to 1920, even.
    pub height: u32,
    /// Frames a second: 1 to 60.
    pub fps: u32,
    /// Length: 1 to 30 s.
    pub seconds: u32,
}

impl Default for SampleSpec {
    /// The smallest upright picture and an ordinary frame rate that video platforms take (360 px a side, 23 to 60 fps).
    fn default() -> Self {
        Self {
            width: 360,
            height: 640,
            fps: 30,
            seconds: 5,
        }
    }
}

/// What the padding of [`write_padded`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filler {
    Zeros,
    /// Pseudo-random bytes from this seed, so that no two chunks of an upload are alike.
    Seeded(u64),
}

/// The whole video, index first, so that it plays while it loads.
pub fn mp4(spec: &SampleSpec) -> Vec<u8> {
    build(spec).into_bytes()
}

/// Writes the video padded to exactly `total_bytes`. Memory stays flat whatever the size.
///
/// Fails with `InvalidInput` when the video alone is larger than `total_bytes`.
pub fn write_padded(spec: &SampleSpec, filler: Filler, total_bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let movie = build(spec);
    let Some(pad) = total_bytes.checked_sub(movie.len()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the sample is {} bytes and cannot fit into {total_bytes}", movie.len()),
        ));
    };
    let body = movie.write_with_room_for(pad, out)?;
    fill(filler, body, out)?;
    out.flush()
}

fn build(spec: &SampleSpec) -> mp4::Movie {
    let spec = spec.in_range();
    let scene = Scene::new(&spec);
    let (track, frames) = h264::encode(&spec, &scene);
    mp4::Movie::new(&spec, &track, &frames)
}

fn fill(filler: Filler, mut left: u64, out: &mut impl Write) -> io::Result<()> {
    const BLOCK: usize = 64 * 1024;
    let mut block = vec![0u8; BLOCK];
    let mut state = match filler {
        Filler::Zeros => None,
        // The register must not start at zero: it would stay there.
        Filler::Seeded(0) => Some(1),
        Filler::Seeded(seed) => Some(seed),
    };
    while left > 0 {
        if let Some(state) = &mut state {
            for word in block.chunks_exact_mut(8) {
                *state = xorshift(*state);
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
        let now = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        out.write_all(&block[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Marsaglia's xorshift64 (13, 7, 17): good enough to make chunks differ, nothing more.
fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

impl SampleSpec {
    fn in_range(&self) -> Self {
        Self {
            width: self.width.clamp(64, 1920) & !1,
            height: self.height.clamp(64, 1920) & !1,
            fps: self.fps.clamp(1, 60),
            seconds: self.seconds.clamp(1, 30),
        }
    }

    fn frames(&self) -> u32 {
        self.fps * self.seconds
    }
}

#[cfg(test)]
mod tests;

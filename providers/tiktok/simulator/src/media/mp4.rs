//! Walks the top-level boxes of an MP4 as they stream by and reads `moov` when it passes.
//!
//! Memory stays flat: `mdat` is skipped, and a `moov` larger than a sane one is skipped too.

/// A `moov` of a ten-minute video is well under a megabyte.
const MAX_MOOV: u64 = 8 << 20;

/// What the movie header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    timescale: u32,
    duration: u64,
    pub(super) picture: Option<(u32, u32)>,
}

impl Facts {
    pub(super) fn is_longer_than(&self, seconds: u32) -> bool {
        self.duration > u64::from(seconds) * u64::from(self.timescale)
    }

    pub(super) fn duration_sec(&self) -> Option<u32> {
        u32::try_from(self.duration / u64::from(self.timescale)).ok()
    }
}

#[derive(Clone)]
pub(super) enum Walk {
    Header(Vec<u8>),
    Skip(u64),
    Moov { left: u64, content: Vec<u8> },
    Done(Option<Facts>),
}

impl Default for Walk {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Walk {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match self {
                Self::Done(_) => return,
                Self::Skip(left) => {
                    let used = shorter(*left, bytes.len());
                    *left -= used as u64;
                    used
                }
                Self::Moov { left, content } => {
                    let used = shorter(*left, bytes.len());
                    content.extend_from_slice(&bytes[..used]);
                    *left -= used as u64;
                    used
                }
                Self::Header(header) => {
                    header.push(bytes[0]);
                    1
                }
            };
            bytes = &bytes[used..];
            self.turn();
        }
    }

    pub(super) fn facts(&self) -> Option<Facts> {
        match self {
            Self::Done(facts) => *facts,
            Self::Header(_) | Self::Skip(_) | Self::Moov { .. } => None,
        }
    }

    /// Goes on to the next part when the present one is whole.
    fn turn(&mut self) {
        let next = match self {
            Self::Skip(0) => Self::default(),
            Self::Moov { left: 0, content } => Self::Done(read_moov(content)),
            Self::Header(header) => match box_header(header) {
                BoxHeader::Incomplete => return,
                BoxHeader::Broken => Self::Done(None),
                BoxHeader::Whole { name, left } if &name == b"moov" && left <= MAX_MOOV => Self::Moov {
                    left,
                    content: Vec::new(),
                },
                BoxHeader::Whole { left: 0, .. } => Self::default(),
                BoxHeader::Whole { left, .. } => Self::Skip(left),
            },
            Self::Skip(_) | Self::Moov { .. } | Self::Done(_) => return,
        };
        *self = next;
    }
}

enum BoxHeader {
    Incomplete,
    Broken,
    Whole { name: [u8; 4], left: u64 },
}

fn box_header(bytes: &[u8]) -> BoxHeader {
    let (Some(size), Some(name)) = (read_u32(bytes, 0), bytes.get(4..8)) else {
        return BoxHeader::Incomplete;
    };
    let name = [name[0], name[1], name[2], name[3]];
    let whole = |size: u64, header: u64| match size.checked_sub(header) {
        Some(left) => BoxHeader::Whole { name, left },
        None => BoxHeader::Broken,
    };
    match size {
        // To the end of the file.
        0 => BoxHeader::Whole { name, left: u64::MAX },
        1 => match read_u64(bytes, 8) {
            Some(size) => whole(size, 16),
            None => BoxHeader::Incomplete,
        },
        size => whole(size.into(), 8),
    }
}

fn read_moov(content: &[u8]) -> Option<Facts> {
    let mvhd = child(content, b"mvhd")?;
    let (timescale, duration) = match mvhd.first()? {
        1 => (read_u32(mvhd, 20)?, read_u64(mvhd, 24)?),
        _ => (read_u32(mvhd, 12)?, read_u32(mvhd, 16)?.into()),
    };
    let picture = children(content)
        .filter(|(name, _)| name == b"trak")
        .filter_map(|(_, trak)| picture_of(child(trak, b"tkhd")?))
        .find(|(width, height)| *width > 0 && *height > 0);
    (timescale > 0).then_some(Facts {
        timescale,
        duration,
        picture,
    })
}

/// Width and height close the box, as 16.16 fixed point in both versions.
fn picture_of(tkhd: &[u8]) -> Option<(u32, u32)> {
    let at = tkhd.len().checked_sub(8)?;
    Some((read_u32(tkhd, at)? >> 16, read_u32(tkhd, at + 4)? >> 16))
}

fn child<'a>(content: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    children(content)
        .find(|(name, _)| name == wanted)
        .map(|(_, inner)| inner)
}

fn children(mut content: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let BoxHeader::Whole { name, left } = box_header(content) else {
            return None;
        };
        let header = if content.starts_with(&[0, 0, 0, 1]) { 16 } else { 8 };
        let end = usize::try_from(left).ok()?.checked_add(header)?;
        let inner = content.get(header..end)?;
        content = &content[end..];
        Some((name, inner))
    })
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*eight))
}

fn shorter(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

//! A strict reader of HTTP/1 message framing (RFC 9112), so that where one request ends is never a matter of taste.
//!
//! hyper repairs what it can: it drops `Content-Length` beside `Transfer-Encoding`, folds equal lengths together and
//! takes a bare LF for a line end. A proxy in front may repair differently, and the difference is a smuggled request
//! (T69). Whatever is ambiguous is refused here; hyper only ever sees what this reader has understood.

use http::StatusCode;

use super::Limits;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes at the front are in order and may go on.
    Pass(usize),
    /// The head of a request is whole and in order: so many bytes.
    PassHead(usize),
    /// Undecided until more bytes come.
    More,
    /// A head that must not be obeyed.
    Refuse(StatusCode),
    /// A body whose framing is broken. Its request is already on its way.
    Broken,
}

/// Fed with the bytes that have not been passed yet; looks at each only once.
#[derive(Debug)]
pub(super) struct Framing {
    caps: Caps,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
struct Caps {
    uri: usize,
    header_bytes: usize,
    header_count: usize,
}

#[derive(Debug)]
enum Place {
    Head(Head),
    /// So many bytes of a body are still to come.
    Body(u64),
    Chunk(Chunk),
    /// Not HTTP/1: everything passes.
    Open,
}

#[derive(Debug)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers { bytes: usize },
}

#[derive(Debug, Default)]
struct Head {
    /// Where the line being read starts, and how far it has been looked at.
    line: usize,
    seen: usize,
    /// Where the header lines start, once the request line is over.
    headers: Option<usize>,
    count: usize,
    old: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

/// No method in use is nearly as long; ` HTTP/1.1` and spaces are in the slack too.
const METHOD_BYTES: usize = 32;
const REQUEST_LINE_SLACK: usize = METHOD_BYTES + 12;
/// A chunk size has 16 digits at most; extensions are legal and useless.
const CHUNK_LINE_BYTES: usize = 256;
const TRAILER_BYTES: usize = 8 * 1024;

impl Framing {
    pub(super) fn http1(limits: &Limits) -> Self {
        Self {
            caps: Caps {
                uri: limits.uri_bytes,
                header_bytes: limits.header_bytes,
                header_count: limits.header_count,
            },
            place: Place::Head(Head::default()),
        }
    }

    pub(super) fn open() -> Self {
        Self {
            caps: Caps {
                uri: 0,
                header_bytes: 0,
                header_count: 0,
            },
            place: Place::Open,
        }
    }

    /// Before or inside the head of a request, not in a body.
    pub(super) fn at_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    pub(super) fn step(&mut self, raw: &[u8]) -> Step {
        if raw.is_empty() {
            return Step::More;
        }
        match &mut self.place {
            Place::Open => Step::Pass(raw.len()),
            Place::Head(head) => match head.read(raw, self.caps) {
                Ok(None) => Step::More,
                Err(status) => Step::Refuse(status),
                Ok(Some(len)) => {
                    self.place = match (head.chunked, head.length) {
                        (true, _) => Place::Chunk(Chunk::Size),
                        (false, Some(left @ 1..)) => Place::Body(left),
                        (false, _) => Place::Head(Head::default()),
                    };
                    Step::PassHead(len)
                }
            },
            Place::Body(left) => {
                let now = take(left, raw);
                if *left == 0 {
                    self.place = Place::Head(Head::default());
                }
                Step::Pass(now)
            }
            Place::Chunk(chunk) => match chunk.read(raw) {
                Some(ChunkStep::Pass(now)) => Step::Pass(now),
                Some(ChunkStep::Last(now)) => {
                    self.place = Place::Head(Head::default());
                    Step::Pass(now)
                }
                Some(ChunkStep::More) => Step::More,
                None => Step::Broken,
            },
        }
    }
}

/// How much of `raw` belongs to the `left` bytes, which it lessens.
fn take(left: &mut u64, raw: &[u8]) -> usize {
    let now = usize::try_from(*left).map_or(raw.len(), |left| left.min(raw.len()));
    *left -= now as u64;
    now
}

impl Head {
    /// The length of the head when it is whole.
    fn read(&mut self, raw: &[u8], caps: Caps) -> Result<Option<usize>, StatusCode> {
        while let Some(found) = raw[self.seen..].iter().position(|byte| *byte == b'\n') {
            let end = self.seen + found;
            let Some(line) = raw[self.line..end].strip_suffix(b"\r") else {
                return Err(StatusCode::BAD_REQUEST);
            };
            let first = self.line == 0;
            (self.line, self.seen) = (end + 1, end + 1);
            match self.headers {
                // One empty line before a request is forgiven (RFC 9112, 2.2).
                None if line.is_empty() && first => {}
                None => {
                    self.request_line(line, caps)?;
                    self.headers = Some(self.line);
                }
                Some(start) if line.is_empty() => {
                    self.within(start, self.line, caps)?;
                    self.complete()?;
                    return Ok(Some(self.line));
                }
                Some(start) => {
                    self.within(start, self.line, caps)?;
                    self.header_line(line, caps)?;
                }
            }
        }
        self.seen = raw.len();
        match self.headers {
            None if raw.len() - self.line > caps.uri + REQUEST_LINE_SLACK => Err(StatusCode::URI_TOO_LONG),
            None => Ok(None),
            Some(start) => self.within(start, raw.len(), caps).map(|()| None),
        }
    }

    fn request_line(&mut self, line: &[u8], caps: Caps) -> Result<(), StatusCode> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(StatusCode::BAD_REQUEST);
        };
        if method.len() > METHOD_BYTES || !is_token(method) {
            return Err(StatusCode::BAD_REQUEST);
        }
        if method == b"CONNECT" {
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        if target.len() > caps.uri {
            return Err(StatusCode::URI_TOO_LONG);
        }
        if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(StatusCode::BAD_REQUEST);
        }
        self.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        Ok(())
    }

    fn header_line(&mut self, line: &[u8], caps: Caps) -> Result<(), StatusCode> {
        self.count += 1;
        if self.count > caps.header_count {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let (name, value) = field(line).ok_or(StatusCode::BAD_REQUEST)?;
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(StatusCode::BAD_REQUEST);
            }
            self.length = Some(digits(value, 10).ok_or(StatusCode::BAD_REQUEST)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(StatusCode::BAD_REQUEST);
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn within(&self, start: usize, end: usize, caps: Caps) -> Result<(), StatusCode> {
        if end - start > caps.header_bytes {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        Ok(())
    }

    fn complete(&self) -> Result<(), StatusCode> {
        let two_lengths = self.chunked && self.length.is_some();
        let chunked_too_early = self.chunked && self.old;
        let wrong_hosts = self.hosts > 1 || (self.hosts == 0 && !self.old);
        if two_lengths || chunked_too_early || wrong_hosts {
            return Err(StatusCode::BAD_REQUEST);
        }
        Ok(())
    }
}

enum ChunkStep {
    Pass(usize),
    /// The same, and the body is over.
    Last(usize),
    More,
}

impl Chunk {
    /// `None` when the framing is broken.
    fn read(&mut self, raw: &[u8]) -> Option<ChunkStep> {
        match self {
            Self::Size => {
                let Some(line) = crlf_line(raw, CHUNK_LINE_BYTES)? else {
                    return Some(ChunkStep::More);
                };
                *self = match chunk_size(line)? {
                    0 => Self::Trailers { bytes: 0 },
                    size => Self::Data(size),
                };
                Some(ChunkStep::Pass(line.len() + 2))
            }
            Self::Data(left) => {
                let now = take(left, raw);
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                Some(ChunkStep::Pass(now))
            }
            Self::DataEnd => match raw {
                [b'\r'] => Some(ChunkStep::More),
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Some(ChunkStep::Pass(2))
                }
                _ => None,
            },
            Self::Trailers { bytes } => {
                let Some(line) = crlf_line(raw, TRAILER_BYTES - *bytes)? else {
                    return Some(ChunkStep::More);
                };
                if line.is_empty() {
                    return Some(ChunkStep::Last(2));
                }
                field(line)?;
                *bytes += line.len() + 2;
                Some(ChunkStep::Pass(line.len() + 2))
            }
        }
    }
}

/// The first line without its end: `Some(None)` when it is not whole yet, `None` when it is too long or ends badly.
fn crlf_line(raw: &[u8], cap: usize) -> Option<Option<&[u8]>> {
    match raw.iter().take(cap).position(|byte| *byte == b'\n') {
        Some(end) => raw[..end].strip_suffix(b"\r").map(Some),
        None if raw.len() < cap => Some(None),
        None => None,
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = match line.iter().position(|byte| *byte == b';') {
        Some(at) => {
            is_text(&line[at..]).then_some(())?;
            &line[..at]
        }
        None => line,
    };
    digits(size, 16)
}

/// Name and trimmed value. A line that begins with a space (the old way to continue a value), or has one before the
/// colon, has no valid name.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    (is_token(name) && is_text(value)).then_some((name, value))
}

/// Digits and nothing else, no sign and no list. The bound keeps sums of lengths clear of overflow.
fn digits(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() || text.len() > 16 || !text.iter().all(|byte| char::from(*byte).is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()?;
    (value <= i64::MAX as u64).then_some(value)
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// RFC 9110, 5.5: visible characters, spaces and tabs, and bytes above ASCII.
fn is_text(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F))
}

#[cfg(test)]
mod tests;

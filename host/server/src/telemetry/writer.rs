//! The writer under the formatters. It sees each line whole, masks credentials, and escapes what the formatters let
//! through.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{escape::is_unsafe, redact::redact};

/// Wraps a maker of writers.
pub(super) struct LastLook<W> {
    inner: W,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Text,
    /// Text with colours, so ESC is ours. In values it has been escaped before.
    Colours,
}

impl<W> LastLook<W> {
    pub(super) fn json(inner: W) -> Self {
        Self {
            inner,
            form: Form::Json,
        }
    }

    pub(super) fn text(inner: W) -> Self {
        Self {
            inner,
            form: Form::Text,
        }
    }

    pub(super) fn colours(inner: W) -> Self {
        Self {
            inner,
            form: Form::Colours,
        }
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for LastLook<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line {
            inner: self.inner.make_writer(),
            form: self.form,
        }
    }

    fn make_writer_for(&'w self, meta: &Metadata<'_>) -> Self::Writer {
        Line {
            inner: self.inner.make_writer_for(meta),
            form: self.form,
        }
    }
}

/// Writes one line.
pub(super) struct Line<W> {
    inner: W,
    form: Form,
}

impl<W: Write> Write for Line<W> {
    /// Takes all of `line`, which the formatting layer hands over in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.inner.write_all(escape(&redact(&text), self.form).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escape(line: &str, form: Form) -> String {
    let body = line.strip_suffix('\n').unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    for c in body.chars() {
        let _ = match (c, form) {
            ('\u{1b}', Form::Colours) => out.write_char(c),
            // All that are unsafe have four digits at most. In JSON they only occur inside of strings.
            (c, Form::Json) if is_unsafe(c) => write!(out, "\\u{:04x}", u32::from(c)),
            (c, _) if is_unsafe(c) => write!(out, "{}", c.escape_default()),
            (c, _) => out.write_char(c),
        };
    }
    out.push_str(&line[body.len()..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_formatter_lets_through_is_escaped() {
        let line = "a\nb\u{1b}[2Jc\u{9b}\n";
        assert_eq!(escape(line, Form::Text), "a\\nb\\u{1b}[2Jc\\u{9b}\n");
        assert_eq!(escape(line, Form::Json), "a\\u000ab\\u001b[2Jc\\u009b\n");
        assert_eq!(escape(line, Form::Colours), "a\\nb\u{1b}[2Jc\\u{9b}\n");
    }
}

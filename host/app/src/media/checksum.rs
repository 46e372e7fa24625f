//! What a client says its bytes add up to.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::problem::{Problem, ProblemKind};

/// How a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1: against accidents alone.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// Its name in `Upload-Checksum`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// A checksum of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Checksum {
    /// Reads a header: the algorithm's name, a space, and the checksum in base64.
    ///
    /// # Errors
    /// It is nothing of the sort.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        let algorithm = Algorithm::ALL.into_iter().find(|one| one.as_str() == name);
        let value = STANDARD.decode(value.trim()).ok();
        match (algorithm, value) {
            (Some(algorithm), Some(value)) => Ok(Self { algorithm, value }),
            _ => Err(Problem::new(
                ProblemKind::BadRequest,
                "`Upload-Checksum` is `sha1` or `sha256`, a space, and the checksum in base64.",
            )),
        }
    }

    pub(super) fn begin(self) -> Summing {
        let sum = match self.algorithm {
            Algorithm::Sha1 => Sum::Sha1(Sha1::new()),
            Algorithm::Sha256 => Sum::Sha256(Sha256::new()),
        };
        Summing {
            sum,
            wanted: self.value,
        }
    }
}

/// A checksum that is being made.
pub(super) struct Summing {
    sum: Sum,
    wanted: Vec<u8>,
}

enum Sum {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Summing {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.sum {
            Sum::Sha1(sum) => sum.update(bytes),
            Sum::Sha256(sum) => sum.update(bytes),
        }
    }

    /// Whether it is the one that was told.
    pub(super) fn holds(self) -> bool {
        match self.sum {
            Sum::Sha1(sum) => sum.finalize()[..] == self.wanted,
            Sum::Sha256(sum) => sum.finalize()[..] == self.wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_and_compared() {
        let right = |text: &str| {
            let mut sum = Checksum::parse(text).unwrap().begin();
            sum.update(b"hel");
            sum.update(b"lo");
            sum.holds()
        };
        assert!(right("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="));
        assert!(right("sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="));
        assert!(!right("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ08="));
        assert!(!right("sha256 "));
        for bad in [
            "",
            "md5 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
            "sha1 ***",
            // Base64 with bits that belong to nothing.
            "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ01=",
            "SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        ] {
            assert!(Checksum::parse(bad).is_err(), "{bad}");
        }
    }
}

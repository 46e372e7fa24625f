//! How much a scenario does.

use std::sync::OnceLock;

/// The size of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Every scenario, small: with every change.
    Fast,
    /// The figures that the product promises.
    Full,
}

impl Scale {
    /// As `PATCHBAY_FAULTS` says: `full`, or nothing.
    pub fn of_run() -> Self {
        static SCALE: OnceLock<Scale> = OnceLock::new();
        *SCALE.get_or_init(|| match std::env::var("PATCHBAY_FAULTS").as_deref() {
            Ok("full") => Self::Full,
            Ok("fast" | "") | Err(_) => Self::Fast,
            Ok(other) => panic!("PATCHBAY_FAULTS is `full` or `fast`, not `{other}`"),
        })
    }

    /// One number or the other.
    pub fn pick<T>(self, fast: T, full: T) -> T {
        match self {
            Self::Fast => fast,
            Self::Full => full,
        }
    }
}

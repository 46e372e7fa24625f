//! What a law is, and what a trial of it can find.

use std::{fmt, future::Future, pin::Pin};

use crate::Case;

/// A law of the kit.
#[derive(Clone, Copy)]
pub struct Law {
    /// `group::name`.
    pub name: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to change where it is broken: the file and the method of the trait.
    pub change: &'static str,
    /// Tries it.
    pub check: Check,
}

/// A trial. It runs in a runtime of its own.
pub type Check = for<'a> fn(&'a Case) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>>;

/// What a trial found: it holds, with what was tried; or not.
pub type Found = Result<Held, Breach>;

/// A law that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It was tried this many times.
    Tried(usize),
    /// The provider has nothing that it speaks of.
    NotApplicable(&'static str),
}

/// A law that is broken: what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach(pub String);

impl Breach {
    /// A breach with what was seen.
    pub fn new(seen: impl Into<String>) -> Self {
        Self(seen.into())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Law {
    /// The group, such as `publish`.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.name.split("::").next().unwrap_or(self.name)
    }

    /// The whole complaint.
    #[must_use]
    pub fn complain(&self, breach: &Breach) -> String {
        format!(
            "law {}\n  seen:    {}\n  matters: {}\n  change:  {}",
            self.name, breach, self.why, self.change
        )
    }
}

/// Fails with what was seen unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err($crate::law::Breach(format!($($seen)+)));
        }
    };
}
pub(crate) use hold;

/// One row of the table of laws.
macro_rules! law {
    ($name:literal, $check:path, why: $why:literal, change: $change:literal) => {
        $crate::law::Law {
            name: $name,
            why: $why,
            change: $change,
            check: |case| Box::pin($check(case)),
        }
    };
}
pub(crate) use law;

//! What was found, for people and for programs.

use std::fmt;

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Fine.
    Ok,
    /// Works, but not as a deployment should.
    Warning,
    /// Does not work.
    Error,
    /// Not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, area first: `database.schema`, `providers.<id>.credentials`.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// What to do. Warnings and errors have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Fine.
    pub(super) fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.add(check, Verdict::Ok, found.into(), None);
    }

    /// Works, but not as it should.
    pub(super) fn warn(&mut self, check: &str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(check, Verdict::Warning, found.into(), Some(advice.into()));
    }

    /// Does not work.
    pub(super) fn error(&mut self, check: &str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(check, Verdict::Error, found.into(), Some(advice.into()));
    }

    /// Not looked at, and why.
    pub(super) fn skip(&mut self, check: &str, why: impl Into<String>) {
        self.add(check, Verdict::Skipped, why.into(), None);
    }

    fn add(&mut self, check: &str, verdict: Verdict, found: String, advice: Option<String>) {
        self.findings.push(Finding {
            check: check.to_owned(),
            verdict,
            found,
            advice,
        });
    }

    /// How many findings are so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Error => "ERROR",
                Verdict::Skipped => "skipped",
            };
            writeln!(f, "{mark:<8} {}: {}", finding.check, finding.found)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "         -> {advice}")?;
            }
        }
        write!(
            f,
            "\n{} ok, {} warnings, {} errors, {} skipped",
            self.count(Verdict::Ok),
            self.count(Verdict::Warning),
            self.count(Verdict::Error),
            self.count(Verdict::Skipped)
        )
    }
}

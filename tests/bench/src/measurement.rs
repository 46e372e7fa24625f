//! What one measurement found: ours beside a reference, in pairs of runs that follow each other.
//!
//! Runs alternate, so that whatever else the machine does meets both sides alike. The ratio is taken within each pair,
//! and the median of the pairs counts.

use std::{fmt, future::Future};

use serde_json::{Value, json};

use crate::table::Table;

/// What must hold of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// Ours is at least so many times the reference.
    AtLeast(f64),
    /// Ours is at most so many times the reference.
    AtMost(f64),
    /// It is told, and nothing is wanted of it.
    Anything,
}

impl Wanted {
    /// Whether a ratio is as wanted.
    pub fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
            Self::Anything => true,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::Anything => f.write_str("anything"),
        }
    }
}

/// Figures of one measurement. Each list has one figure a pair.
#[derive(Debug)]
pub struct Measurement {
    /// Its name on the command line.
    pub name: &'static str,
    /// What must hold.
    pub wanted: Wanted,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Patchbay's.
    pub ours: Vec<f64>,
    /// What it is held against.
    pub reference: Vec<f64>,
    /// What else a reader should know, as name and figure.
    pub notes: Vec<(&'static str, String)>,
}

impl Measurement {
    /// Without any run yet.
    pub fn none(name: &'static str, wanted: Wanted, unit: &'static str) -> Self {
        Self {
            name,
            wanted,
            unit,
            ours: Vec::new(),
            reference: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Runs both sides in turn, so many times each.
    ///
    /// # Errors
    /// A run failed.
    pub async fn of_pairs<A, B>(
        name: &'static str,
        wanted: Wanted,
        unit: &'static str,
        pairs: usize,
        mut reference: impl FnMut() -> A,
        mut ours: impl FnMut() -> B,
    ) -> anyhow::Result<Self>
    where
        A: Future<Output = anyhow::Result<f64>>,
        B: Future<Output = anyhow::Result<f64>>,
    {
        let mut found = Self::none(name, wanted, unit);
        for _ in 0..pairs {
            found.reference.push(reference().await?);
            found.ours.push(ours().await?);
        }
        Ok(found)
    }

    /// Adds what else was seen.
    #[must_use]
    pub fn note(mut self, name: &'static str, figure: impl fmt::Display) -> Self {
        self.notes.push((name, figure.to_string()));
        self
    }

    /// Of each pair.
    pub fn ratios(&self) -> Vec<f64> {
        let pairs = self.ours.iter().zip(&self.reference);
        pairs.map(|(ours, reference)| ours / reference).collect()
    }

    /// The figure that counts.
    pub fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    /// Whether it is as wanted.
    pub fn holds(&self) -> bool {
        self.wanted.holds(self.ratio())
    }

    /// For programs: one line.
    pub fn json(&self) -> Value {
        let ratios: Vec<_> = self.ratios().into_iter().map(rounded).collect();
        let side = |runs: &[f64]| json!({ "median": rounded(median(runs)), "runs": runs.iter().copied().map(rounded).collect::<Vec<_>>() });
        let notes: serde_json::Map<_, _> = self
            .notes
            .iter()
            .map(|(name, figure)| ((*name).to_owned(), json!(figure)))
            .collect();
        json!({
            "name": self.name,
            "ratio": rounded(self.ratio()),
            "wanted": self.wanted.to_string(),
            "holds": self.holds(),
            "ratios": ratios,
            "unit": self.unit,
            "ours": side(&self.ours),
            "reference": side(&self.reference),
            "notes": notes,
        })
    }

    /// For people.
    pub fn table(&self) -> Table {
        let listed = |runs: &[f64]| runs.iter().map(|run| shown(*run)).collect::<Vec<_>>().join(" ");
        let verdict = if self.holds() { "holds" } else { "DOES NOT HOLD" };
        let mut table = Table::default();
        table.row(self.name, format!("{:.2}", self.ratio()));
        table.row("  wanted", format!("{}, {verdict}", self.wanted));
        table.row("  ratio of each pair", listed(&self.ratios()));
        table.row(&format!("  ours, {}", self.unit), listed(&self.ours));
        table.row(&format!("  reference, {}", self.unit), listed(&self.reference));
        for (name, figure) in &self.notes {
            table.row(&format!("  {name}"), figure);
        }
        table
    }
}

/// The middle one; of an even number, the lower of the two.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// To three digits that mean something.
fn rounded(figure: f64) -> f64 {
    shown(figure).parse().unwrap_or(figure)
}

fn shown(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Measurement {
        Measurement {
            name: "x",
            wanted: Wanted::AtLeast(2.0),
            unit: "rows/s",
            ours: vec![300.0, 10.0, 500.0],
            reference: vec![100.0, 10.0, 250.0],
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_median_of_the_pairs_counts() {
        assert_eq!(found().ratios(), [3.0, 1.0, 2.0]);
        assert!((found().ratio() - 2.0).abs() < f64::EPSILON);
        assert!(found().holds());
        assert!(!Wanted::AtMost(1.2).holds(2.0) && Wanted::AtMost(1.2).holds(1.2));
    }

    #[test]
    fn one_line_says_all_of_it() {
        let line = found().note("refused", 0).json();
        assert_eq!(line["name"], "x");
        assert_eq!(line["ratio"], 2.0);
        assert_eq!(line["wanted"], ">= 2");
        assert_eq!(line["holds"], true);
        assert_eq!(line["ours"]["runs"][0], 300.0);
        assert_eq!(line["notes"]["refused"], "0");
    }

    #[tokio::test]
    async fn runs_alternate() {
        let order = std::cell::RefCell::new(String::new());
        let run = |side: char| {
            order.borrow_mut().push(side);
            std::future::ready(Ok(1.0))
        };
        let found = Measurement::of_pairs("x", Wanted::AtMost(1.0), "s", 2, || run('A'), || run('B')).await;
        assert_eq!(found.unwrap().ours.len(), 2);
        assert_eq!(order.into_inner(), "ABAB");
    }
}

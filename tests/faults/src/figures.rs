//! What a scenario counted, beside what was wanted. One table in the end.

use std::{fmt::Display, fs::OpenOptions, io::Write, time::Duration};

use crate::Scale;

/// The figures of one scenario. They are judged together, at [`Figures::finish`], so that one run shows everything.
#[must_use = "figures are judged when they are finished"]
pub struct Figures {
    scenario: String,
    seed: u64,
    lines: Vec<Figure>,
}

struct Figure {
    name: String,
    wanted: String,
    got: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    /// Told, not judged.
    Told,
}

impl Figures {
    /// `scenario` is the row and what it runs on: `R01 postgres`.
    pub fn new(scenario: &str, seed: u64) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed,
            lines: Vec::new(),
        }
    }

    /// Exactly this.
    pub fn is<T: Copy + PartialEq + Display>(&mut self, name: &str, wanted: T, got: T) {
        self.add(name, wanted.to_string(), &got, got == wanted);
    }

    pub fn at_least<T: Copy + PartialOrd + Display>(&mut self, name: &str, wanted: T, got: T) {
        self.add(name, format!("≥ {wanted}"), &got, got >= wanted);
    }

    pub fn at_most<T: Copy + PartialOrd + Display>(&mut self, name: &str, wanted: T, got: T) {
        self.add(name, format!("≤ {wanted}"), &got, got <= wanted);
    }

    /// A time, beside what is promised. Only a run that has the machine for itself is judged by it.
    pub fn time(&mut self, name: &str, promised: Duration, got: Duration) {
        let wanted = format!("≤ {:.1} s", promised.as_secs_f64());
        let shown = format!("{:.2} s", got.as_secs_f64());
        match Scale::of_run() {
            Scale::Full => self.add(name, wanted, &shown, got <= promised),
            Scale::Fast => self.push(name, wanted, &shown, Verdict::Told),
        }
    }

    /// What is shown and fails nothing, such as how much was done.
    pub fn told(&mut self, name: &str, promised: &str, got: impl Display) {
        self.push(name, promised.to_owned(), &got, Verdict::Told);
    }

    fn add(&mut self, name: &str, wanted: String, got: &dyn Display, holds: bool) {
        self.push(name, wanted, got, if holds { Verdict::Pass } else { Verdict::Fail });
    }

    fn push(&mut self, name: &str, wanted: String, got: &dyn Display, verdict: Verdict) {
        self.lines.push(Figure {
            name: name.to_owned(),
            wanted,
            got: got.to_string(),
            verdict,
        });
    }

    /// Prints the figures, adds them to the file that `PATCHBAY_FAULTS_FIGURES` names, and fails if one is not as wanted.
    #[track_caller]
    pub fn finish(self) {
        let table = self.table();
        println!("{table}");
        if let Some(path) = std::env::var_os("PATCHBAY_FAULTS_FIGURES") {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            // At once: other scenarios write to the same file.
            file.write_all(table.as_bytes()).unwrap();
        }
        let failed: Vec<_> = self.lines.iter().filter(|line| line.verdict == Verdict::Fail).collect();
        assert!(failed.is_empty(), "{} is not as wanted:\n{table}", self.scenario);
    }

    fn table(&self) -> String {
        let mut table = String::new();
        for line in &self.lines {
            let verdict = match line.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::Told => "-",
            };
            table.push_str(&format!(
                "{:<20} {:<50} {:>14} {:>14}  {verdict:<4}  seed {}\n",
                self.scenario, line.name, line.wanted, line.got, self.seed
            ));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_pass_when_all_are_as_wanted() {
        let mut figures = Figures::new("R00", 7);
        figures.is("lost", 0, 0);
        figures.at_least("kills", 3, 4);
        figures.at_most("claims", 3, 3);
        figures.told("webhooks", "", 31);
        assert_eq!(figures.table().lines().count(), 4);
        figures.finish();
    }

    #[test]
    #[should_panic(expected = "R00 is not as wanted")]
    fn one_figure_that_is_not_as_wanted_fails_the_scenario() {
        let mut figures = Figures::new("R00", 7);
        figures.is("lost", 0, 1);
        figures.is("doubled", 0, 0);
        figures.finish();
    }
}

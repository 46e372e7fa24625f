//! Figures as a table.

use std::fmt;

/// Rows of a name and a figure, in columns.
#[derive(Default)]
pub struct Table(Vec<(String, String)>);

impl Table {
    /// Adds a row.
    pub fn row(&mut self, name: &str, figure: impl fmt::Display) {
        self.0.push((name.to_owned(), figure.to_string()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let figure = self
            .0
            .iter()
            .map(|(_, figure)| figure.chars().count())
            .max()
            .unwrap_or(0);
        self.0
            .iter()
            .try_for_each(|(left, right)| writeln!(f, "{left:<name$}  {right:>figure$}"))
    }
}

/// Bytes in MiB, to one digit.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.row("a", "10.5 MiB");
        table.row("a longer name", 1);
        assert_eq!(table.to_string(), "a              10.5 MiB\na longer name         1\n");
        assert_eq!(mib(1_572_864), "1.5 MiB");
    }
}

//! Laws that a provider may break for now. The file may only shrink: see `tests/waivers.rs`.

/// The golden file: a law, a provider and a reason a line, with tabs between them.
pub const WAIVERS: &str = include_str!("../waivers.txt");

/// One waiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// Name of the law.
    pub law: String,
    /// Id of the provider.
    pub provider: String,
    /// Why.
    pub reason: String,
}

/// Reads waivers. Lines that begin with `#` are comments.
///
/// # Errors
/// A line without its three parts.
pub fn waivers(text: &str) -> Result<Vec<Waiver>, String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [law, provider, reason] if !reason.trim().is_empty() => Ok(Waiver {
                law: law.to_owned(),
                provider: provider.to_owned(),
                reason: reason.to_owned(),
            }),
            _ => Err(format!(
                "{line:?} is not a law, a provider and a reason, with tabs between them"
            )),
        })
        .collect()
}

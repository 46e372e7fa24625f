//! `[egress]`: what outgoing connections may reach beyond the public internet.

use patchbay_egress::Cidr;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// Outgoing connections.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Private ranges that may be reached.
    pub open_cidrs: Vec<Cidr>,
}

pub(super) const SECTION: Section = Section {
    name: "egress",
    about: "What outgoing connections may reach beyond the public internet.",
    keys: &[Key::new(
        "egress.open_cidrs",
        Kind::Texts,
        "Private ranges that media links and webhook receivers may lie in, such as `10.1.0.0/16`. Loopback and \
         link-local addresses cannot be opened.",
    )],
};

impl EgressConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        let mut open_cidrs = Vec::new();
        for text in r.texts("egress.open_cidrs") {
            match text.parse() {
                Ok(range) => open_cidrs.push(range),
                Err(_) => {
                    let message =
                        format!("{text:?} is not a range: write it like 10.1.0.0/16, with zeros after the prefix");
                    r.problem("egress.open_cidrs", message);
                }
            }
        }
        Self { open_cidrs }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        // egress decides at start which ranges may be opened; this catches the usual slip early and by its key.
        if let Some(range) = self.open_cidrs.iter().find(|range| is_everything(range)) {
            r.problem(
                "egress.open_cidrs",
                format!("{range} is not a private range: name the part that is needed"),
            );
        }
    }
}

fn is_everything(range: &Cidr) -> bool {
    range.to_string().ends_with("/0")
}

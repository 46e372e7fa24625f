//! `[egress]`: what outgoing connections may reach beyond the public internet.

use std::{collections::HashMap, net::SocketAddr};

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
    /// Hosts of webhook endpoints and imported files, with the loopback address that is dialled in their place.
    pub simulated_receivers: HashMap<String, SocketAddr>,
}

pub(super) const SECTION: Section = Section {
    name: "egress",
    about: "What outgoing connections may reach beyond the public internet.",
    keys: &[
        Key::new(
            "egress.open_cidrs",
            Kind::Texts,
            "Private ranges that media links, imported files and webhook receivers may lie in, such as `10.1.0.0/16`. Loopback and \
             link-local addresses cannot be opened.",
        ),
        Key::new(
            "egress.simulated_receivers",
            Kind::Addresses,
            "For tests and demos: hosts of webhook endpoints and imported files, each with the address on loopback that is \
             called by plain http in its place.",
        ),
    ],
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
        Self {
            open_cidrs,
            simulated_receivers: r.addresses("egress.simulated_receivers"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        // egress decides at start which ranges may be opened; this catches the usual slip early and by its key.
        if let Some(range) = self.open_cidrs.iter().find(|range| is_everything(range)) {
            r.problem(
                "egress.open_cidrs",
                format!("{range} is not a private range: name the part that is needed"),
            );
        }
        if let Some((host, at)) = self.simulated_receivers.iter().find(|(_, at)| !at.ip().is_loopback()) {
            let message = format!("{host} is at {at}, but must be on loopback, since it is called by plain http");
            r.problem("egress.simulated_receivers", message);
        }
    }
}

fn is_everything(range: &Cidr) -> bool {
    range.to_string().ends_with("/0")
}

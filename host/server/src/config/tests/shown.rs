//! What is shown of a configuration, and what is written about it.

use std::collections::BTreeSet;

use super::*;
use crate::config::{key, reference};

#[test]
fn effective_values_have_their_sources() {
    let setup = Setup::file("[server]\nlisten = '127.0.0.1:9'").var("DATABASE_URL", "sqlite:x.db");
    let shown = setup.load().unwrap().effective();
    let file = setup.source();
    for line in [
        &*format!("[server]\nlisten = \"127.0.0.1:9\"  # {file}\n"),
        "public_url = \"http://127.0.0.1:9/\"  # from server.listen\n",
        "tls_cert = [not set]\ntls_key = [not set]\n",
        "max_sockets = 2000  # default\n",
        "[database]\nurl = \"sqlite:x.db\"  # DATABASE_URL\n",
        "key_file = \"data/master.key\"  # from storage.dir\n",
        "[providers.my-place]\nenabled = true  # default\nenvironment = \"simulator\"  # from providers.my-place.client_id\n",
        "environment = \"simulator\"  # from providers.acme.client_id\n",
        "[providers.commons]\nenabled = false  # default\nenvironment = \"live\"  # from providers.commons.simulator_hosts\n",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    let sections: Vec<_> = shown.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(sections[0], "[server]");
    assert_eq!(
        sections[sections.len() - 3..],
        ["[providers.acme]", "[providers.commons]", "[providers.my-place]"]
    );
}

/// `find` proves that what is read stands in a table; this proves that what stands in a table is read.
#[test]
fn every_key_of_the_tables_is_read_and_shown() {
    let config = Config::defaults(&known());
    let read: BTreeSet<_> = config
        .entries
        .iter()
        .map(|entry| {
            entry
                .path
                .replace(".acme.", ".*.")
                .replace(".my-place.", ".*.")
                .replace(".commons.", ".*.")
        })
        .collect();
    let listed: BTreeSet<_> = key::all().map(|key| key.path.to_owned()).collect();
    assert_eq!(read, listed);
    assert_eq!(listed.len(), key::all().count(), "no key stands in the tables twice");
}

/// A variable that names nothing is reported without a key, and one that does is shown as a source.
#[test]
fn every_key_is_set_by_its_variable() {
    for key in key::all() {
        let mut name = key.env_name().replace("<ID>", "ACME");
        if matches!(key.kind, key::Kind::Table) {
            name.push_str("__X");
        }
        match Setup::file("").var(&name, "value").load() {
            Ok(config) => assert!(config.effective().contains(&name), "{name}"),
            Err(problems) => assert!(
                problems.0.iter().all(|problem| problem.key.is_some()),
                "{name}: {problems}"
            ),
        }
    }
}

#[test]
fn the_reference_has_every_key_with_its_names() {
    let text = reference();
    for key in key::all() {
        let short = key.path.rsplit('.').next().unwrap();
        let name = key.env_name();
        let row = |line: &&str| line.starts_with(&format!("| `{short}` |")) && line.contains(&name);
        let line = text
            .lines()
            .find(row)
            .unwrap_or_else(|| panic!("{} is missing", key.path));
        assert_eq!(line.matches(" | ").count(), 4, "{line}");
        assert!(
            key.plain.is_none_or(|plain| line.contains(&format!("`{plain}`"))),
            "{line}"
        );
    }
    assert!(
        text.lines()
            .filter(|line| !line.starts_with('|'))
            .all(|line| line.chars().count() <= 240)
    );
}

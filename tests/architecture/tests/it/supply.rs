//! The essentials of deny.toml, checked where cargo-deny is not at hand.

use figment::{
    Figment,
    providers::{Format, Toml},
};
use serde_json::Value;

use super::workspace::{Workspace, root, text_of, texts};

#[test]
fn every_dependency_has_an_allowed_licence() {
    let rules = rules();
    let allowed: Vec<_> = texts(&rules["licenses"]["allow"]).collect();
    let mut wrong = Vec::new();
    for package in Workspace::read().packages() {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &allowed) {
            wrong.push(format!("{} {}: {licence:?}", package["name"], package["version"]));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_banned_crate_is_locked() {
    let rules = rules();
    let lock = text_of("Cargo.lock");
    let banned: Vec<_> = rules["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ban| ban["crate"].as_str())
        .collect();
    assert!(banned.contains(&"aws-lc-sys") && banned.contains(&"openssl-sys"));
    for name in banned {
        let line = format!("name = \"{name}\"");
        assert!(
            !lock.lines().any(|found| found == line),
            "{name}: `cargo tree --target all -i {name}` shows by which way"
        );
    }
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let rules = rules();
    let allowed: Vec<_> = texts(&rules["sources"]["allow-registry"])
        .map(|url| format!("registry+{url}"))
        .collect();
    for line in text_of("Cargo.lock").lines() {
        if let Some(source) = line.strip_prefix("source = ") {
            assert!(
                allowed.iter().any(|allowed| *allowed == source.trim_matches('"')),
                "{source}"
            );
        }
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let check = |text: &str, expected: bool| assert_eq!(is_allowed(text, &["MIT", "ISC"]), expected, "{text}");
    check("MIT", true);
    check("MIT/GPL-3.0", true);
    check("GPL-3.0 OR ISC", true);
    check("MIT AND ISC", true);
    check("MIT AND GPL-3.0", false);
    check("(MIT OR GPL-3.0) AND ISC", true);
    check("(MIT OR ISC) AND GPL-3.0", false);
    check("GPL-3.0 OR MIT AND ISC", true);
    check("MIT WITH some-exception", false);
    check("", false);
}

fn rules() -> Value {
    Figment::from(Toml::file_exact(root().join("deny.toml")))
        .extract()
        .unwrap()
}

/// Reads an expression: `OR` binds less than `AND`, and `/` is an old way to write `OR`.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<_> = spaced.split_whitespace().collect();
    any_of(&mut tokens.iter().copied().peekable(), allowed)
}

type Tokens<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, &'a str>>>;

fn any_of(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    let mut found = all_of(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        found |= all_of(tokens, allowed);
    }
    found
}

fn all_of(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    let mut found = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        found &= one(tokens, allowed);
    }
    found
}

fn one(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let found = any_of(tokens, allowed);
        return tokens.next_if_eq(&")").is_some() && found;
    }
    let mut name = tokens.next().unwrap_or_default().to_owned();
    if tokens.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", tokens.next().unwrap_or_default());
    }
    allowed.contains(&name.as_str())
}

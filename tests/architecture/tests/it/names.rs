//! Platforms are named in their own folder, and nowhere else. Providers reach for nothing but the core.

use super::workspace::{files_below, names_in, text_of};

/// The list of providers, and what it needs.
const THE_LIST: &[&str] = &["host/server/src/providers.rs", "host/server/Cargo.toml"];

/// Names of platforms that are not built yet, but could slip in.
const PLANNED: &[&str] = &["instagram", "bluesky"];

/// Lines that name a platform as an example for readers. May only shrink: then change the number here.
const EXAMPLES: &[(&str, usize)] = &[];

/// Roads out of a provider that do not lead through its context.
const WAYS_OUT: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "::now(",
    "static mut",
    "println!",
    "thread_local!",
];

#[test]
fn no_shared_code_names_a_platform() {
    let mut names = names_in("providers");
    names.retain(|name| name != "sdk");
    names.extend(PLANNED.iter().map(|name| (*name).to_owned()));
    let mut files = files_below("core");
    files.extend(files_below("host"));
    files.extend(files_below("migrations"));
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(|file| !THE_LIST.contains(&file.as_str()) && !is_of_tests(file))
    {
        let text = text_of(file);
        let code = code_of(&text).to_ascii_lowercase();
        let lines: Vec<_> = code
            .lines()
            .enumerate()
            .filter(|(_, line)| names.iter().any(|name| line.contains(name)))
            .collect();
        let expected = EXAMPLES
            .iter()
            .find(|(known, _)| known == file)
            .map_or(0, |(_, count)| *count);
        if lines.len() > expected {
            wrong.extend(
                lines
                    .iter()
                    .map(|(number, line)| format!("{file}:{}: {}", number + 1, line.trim())),
            );
        } else if lines.len() < expected {
            wrong.push(format!(
                "{file} names platforms in {} lines now: write this number into EXAMPLES",
                lines.len()
            ));
        }
    }
    for (file, _) in EXAMPLES
        .iter()
        .filter(|(file, _)| !files.iter().any(|known| known == file))
    {
        wrong.push(format!("{file} is gone: take it out of EXAMPLES"));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_provider_reaches_for_nothing_but_its_context() {
    let mut wrong = Vec::new();
    let mut folders: Vec<_> = names_in("providers")
        .iter()
        .map(|name| format!("providers/{name}"))
        .collect();
    // What new ones are written from.
    folders.push("examples/provider".to_owned());
    for folder in folders {
        for file in files_below(&format!("{folder}/src")) {
            let text = text_of(&file);
            let code = code_of(&text);
            for (number, line) in code
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                if let Some(way) = WAYS_OUT.iter().find(|way| line.contains(**way)) {
                    wrong.push(format!("{file}:{}: {way}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn is_of_tests(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// A file without its tests, which come last and need some name; a `Cargo.toml` without what its tests need.
fn code_of(text: &str) -> &str {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.split("\n[dev-dependencies]\n").next().unwrap_or_default()
}

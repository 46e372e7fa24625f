//! `examples/provider` under another name. It is a member of the workspace and keeps every law there, so that what is
//! written from it cannot rot.

use std::path::PathBuf;

use anyhow::Context;

/// A file of the template, by its path in the new folder.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../examples/provider/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "Cargo.toml",
    "README.md",
    "src/lib.rs",
    "src/manifest.rs",
    "src/api.rs",
    "src/error.rs",
    "src/oauth.rs",
    "src/publish.rs",
    "src/webhook.rs",
    "tests/conformance.rs",
    "simulator/Cargo.toml",
    "simulator/src/lib.rs",
    "simulator/src/world.rs",
    "simulator/src/run.rs",
    "simulator/src/oauth.rs",
    "simulator/src/posts.rs",
    "simulator/src/hooks.rs",
];

/// Makes a component of it.
const COMPONENT: &[(&str, &str)] = files!["component/Cargo.toml", "component/src/lib.rs"];

/// What a workspace of its own takes over.
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");
const RUSTFMT: &str = include_str!("../../../../../rustfmt.toml");
const TAKEN_OVER: &[&str] = &[
    "[workspace.package]",
    "[workspace.lints.rust]",
    "[workspace.lints.clippy]",
    "[profile.dev]",
    "[profile.dev.package.\"*\"]",
];

/// What a provider is called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// In URLs, configuration and names of crates.
    pub(super) id: String,
    /// In Rust.
    pub(super) ident: String,
    /// For people.
    pub(super) title: String,
}

/// Where Patchbay is, for a crate outside of it.
pub(super) enum Source {
    Folder(PathBuf),
    Git(String),
}

impl Names {
    pub(super) fn new(id: &str, title: Option<&str>) -> Self {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        };
        let by_id = || id.split('-').map(capital).collect::<Vec<_>>().join(" ");
        Self {
            id: id.to_owned(),
            ident: id.replace('-', "_"),
            title: title.map_or_else(by_id, str::to_owned),
        }
    }

    /// A text of the template under these names.
    fn put_into(&self, text: &str) -> String {
        text.replace("_quill", &format!("_{}", self.ident))
            .replace("quill", &self.id)
            .replace("Quill", &self.title)
    }
}

/// Paths of all files.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The files of a member of Patchbay's workspace.
pub(super) fn member(names: &Names, wasm: bool) -> Vec<(String, String)> {
    let put = |(path, text): &(&str, &str)| ((*path).to_owned(), names.put_into(text));
    let component = COMPONENT.iter().filter(|_| wasm);
    FILES.iter().chain(component).map(put).collect()
}

/// The files of a workspace of its own: the same, with a workspace around them.
pub(super) fn alone(names: &Names, source: &Source, wasm: bool) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = member(names, wasm);
    let manifests = files.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let mut wanted: Vec<&str> = manifests
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_suffix(".workspace = true"))
        .filter(|name| !["version", "edition", "rust-version", "license", "publish"].contains(name))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let component = if wasm { ", \"component\"" } else { "" };
    let mut workspace =
        format!("\n[workspace]\nresolver = \"3\"\nmembers = [\"simulator\"{component}]\n\n[workspace.dependencies]\n");
    for name in wanted {
        workspace.push_str(&format!("{}\n", dependency(name, names, source)?));
    }
    for heading in TAKEN_OVER {
        workspace.push_str(&format!("\n{}\n", section(heading)?));
    }
    files[0].1.push_str(&workspace);
    files.push(("rustfmt.toml".to_owned(), RUSTFMT.to_owned()));
    files.push((".gitignore".to_owned(), "/target\n".to_owned()));
    Ok(files)
}

fn dependency(name: &str, names: &Names, source: &Source) -> anyhow::Result<String> {
    for (kind, path) in [("provider", "."), ("simulator", "simulator")] {
        if name == format!("patchbay-{kind}-{}", names.id) {
            return Ok(format!("{name} = {{ path = \"{path}\" }}"));
        }
    }
    let line = WORKSPACE
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" = ")));
    let line = line.with_context(|| format!("the workspace has no dependency {name}"))?;
    Ok(match (line.split_once("{ path = \""), source) {
        (Some((start, path)), Source::Folder(root)) => {
            let path = root.join(path.trim_end_matches("\" }"));
            format!("{start}{{ path = {:?} }}", path.display().to_string())
        }
        (Some((start, _)), Source::Git(url)) => format!("{start}{{ git = {url:?} }}"),
        (None, _) => line.to_owned(),
    })
}

/// A section of the workspace's manifest, with its heading.
fn section(heading: &str) -> anyhow::Result<String> {
    let mut lines = WORKSPACE.lines().skip_while(|line| *line != heading);
    let first = lines
        .next()
        .with_context(|| format!("the workspace has no {heading}"))?;
    let body = lines.take_while(|line| !line.starts_with('[') && !line.starts_with('#'));
    let whole: Vec<&str> = std::iter::once(first).chain(body).collect();
    Ok(whole.join("\n").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn the_list_of_files_is_all_of_the_template() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/provider");
        let mut open = vec![root.clone()];
        let mut found = BTreeSet::new();
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let listed = names().chain(COMPONENT.iter().map(|(name, _)| *name));
        assert_eq!(found, listed.map(str::to_owned).collect());
    }

    #[test]
    fn nothing_of_the_templates_own_name_is_left() {
        for (path, text) in member(&Names::new("pixel-gram", Some("PixelGram 2")), true) {
            assert!(!text.to_lowercase().contains("quill"), "{path}");
            assert!(
                !text.contains("provider_pixel-gram") && !text.contains("simulator_pixel-gram"),
                "{path}"
            );
        }
    }

    #[test]
    fn a_workspace_of_its_own_names_every_dependency() {
        let source = Source::Git("https://git.example/p".to_owned());
        let files = alone(&Names::new("x2", None), &source, true).unwrap();
        let manifest = &files[0].1;
        for line in [
            "patchbay-core = { git = \"https://git.example/p\" }",
            "members = [\"simulator\", \"component\"]",
            "patchbay-provider-sdk = { git = \"https://git.example/p\" }",
            "patchbay-provider-x2 = { path = \".\" }",
            "patchbay-simulator-x2 = { path = \"simulator\" }",
            "async-trait = \"0.1\"",
            "license = \"MIT OR Apache-2.0\"",
        ] {
            assert!(
                manifest.lines().any(|found| found == line),
                "{line} is missing in\n{manifest}"
            );
        }
    }
}

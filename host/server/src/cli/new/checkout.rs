//! A checkout of Patchbay, and the lines that a provider needs in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::template::Names;

/// The folder of a checkout.
pub(super) struct Checkout {
    pub(super) root: PathBuf,
}

/// A line among others of its kind, which are in order.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    /// Path from the root.
    pub(super) file: &'static str,
    /// Where in it, in words.
    pub(super) place: &'static str,
    /// How lines of its kind begin.
    like: &'static str,
    /// How this one begins, and no other may.
    key: String,
    /// The line.
    pub(super) line: String,
}

impl Checkout {
    /// The checkout that a folder is in, if it is in one. The folder need not be there.
    pub(super) fn around(folder: &Path) -> Option<Self> {
        folder.ancestors().find_map(Self::at)
    }

    /// The checkout with this root, if it is one.
    pub(super) fn at(root: &Path) -> Option<Self> {
        let core = fs::read_to_string(root.join("core/Cargo.toml")).ok()?;
        let is_ours = core.contains("name = \"patchbay-core\"") && root.join("Cargo.toml").is_file();
        is_ours.then(|| Self {
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
        })
    }

    /// A folder as a member of the workspace: its path from the root.
    pub(super) fn member(&self, folder: &Path) -> anyhow::Result<String> {
        // The folder is not there yet, but what it will be in is.
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
        let whole = there.canonicalize()?.join(folder.strip_prefix(there)?);
        let path = whole
            .strip_prefix(&self.root)?
            .to_str()
            .context("a path that is no text")?;
        Ok(path.trim_end_matches('/').replace('\\', "/"))
    }

    /// A file with a line more.
    pub(super) fn read(&self, edit: &Edit) -> anyhow::Result<String> {
        let path = self.root.join(edit.file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if text.lines().any(|line| line.starts_with(&edit.key)) {
            bail!(
                "{} has a line {:?} already: a provider of this name was here. Take it out, or give another name",
                edit.file,
                edit.key.trim()
            );
        }
        with_line(&text, edit.like, &edit.line).with_context(|| {
            format!(
                "{} has no line that begins with {:?}, so nobody can tell where a new one goes",
                edit.file, edit.like
            )
        })
    }

    pub(super) fn apply(&self, edits: &[Edit]) -> anyhow::Result<()> {
        for edit in edits {
            let path = self.root.join(edit.file);
            fs::write(&path, self.read(edit)?).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// What makes a crate and its simulator members of the workspace.
pub(super) fn membership(names: &Names, member: &str, wasm: bool) -> Vec<Edit> {
    let folder = |path: &str| Edit {
        file: "Cargo.toml",
        place: "members",
        like: "    \"providers/",
        key: format!("    \"{path}\""),
        line: format!("    \"{path}\","),
    };
    let dependency = |like: &'static str, path: &str| {
        let key = format!("{like}{} = ", names.id);
        Edit {
            file: "Cargo.toml",
            place: "[workspace.dependencies]",
            like,
            line: format!("{key}{{ path = \"{path}\" }}"),
            key,
        }
    };
    let simulator = format!("{member}/simulator");
    let mut edits = vec![
        folder(member),
        folder(&simulator),
        dependency("patchbay-provider-", member),
        dependency("patchbay-simulator-", &simulator),
    ];
    if wasm {
        edits.push(folder(&format!("{member}/component")));
    }
    edits
}

/// What builds it into the host.
pub(super) fn registration(names: &Names) -> Vec<Edit> {
    let Names { id, ident, .. } = names;
    let dependency = |like: &'static str| {
        let key = format!("{like}{id}.workspace");
        Edit {
            file: "host/server/Cargo.toml",
            place: "[dependencies]",
            like,
            line: format!("{key} = true"),
            key,
        }
    };
    let key = format!("    Entry {{ id: patchbay_provider_{ident}::");
    vec![
        dependency("patchbay-provider-"),
        dependency("patchbay-simulator-"),
        Edit {
            file: "host/server/src/providers.rs",
            place: "BUILT_IN",
            like: "    Entry { id: patchbay_provider_",
            line: format!(
                "{key}ID, build: patchbay_provider_{ident}::build, has_app: true, simulator: \
                 Some(patchbay_simulator_{ident}::stand) }},"
            ),
            key,
        },
    ]
}

/// The text with a line more, in order among the lines that begin in the same way. `None`: there are none.
fn with_line(text: &str, like: &str, line: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let alike = || lines.iter().enumerate().filter(|(_, other)| other.starts_with(like));
    let after = alike().rfind(|(_, other)| **other < line).map(|(place, _)| place + 1);
    let place = after.or(alike().next().map(|(place, _)| place))?;
    lines.insert(place, line);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_among_its_kind_in_order() {
        let check = |line: &str, expected: &str| {
            assert_eq!(with_line("x\nb: 2\nb: 4\ny\n", "b: ", line).as_deref(), Some(expected));
        };
        check("b: 1", "x\nb: 1\nb: 2\nb: 4\ny\n");
        check("b: 3", "x\nb: 2\nb: 3\nb: 4\ny\n");
        check("b: 5", "x\nb: 2\nb: 4\nb: 5\ny\n");
        assert_eq!(with_line("x\n", "b: ", "b: 1"), None);
    }
}

//! The workspace as cargo and the file system see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What a dependency is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It ends up in, or builds, the crate.
    Normal,
    /// Only its tests have it.
    Dev,
}

/// The root folder.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Cargo's view of this machine's build.
pub struct Workspace {
    metadata: Value,
    /// Id of each member by its folder, such as `host/app`.
    pub members: BTreeMap<String, String>,
}

impl Workspace {
    /// Asks cargo. Nothing is fetched: the packages of this very build are all there.
    pub fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--offline",
                "--filter-platform",
                &target(),
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ids: BTreeSet<_> = texts(&metadata["workspace_members"]).collect();
        let mut members = BTreeMap::new();
        for package in metadata["packages"].as_array().unwrap() {
            let id = package["id"].as_str().unwrap();
            if ids.contains(id) {
                let manifest = Path::new(package["manifest_path"].as_str().unwrap());
                let folder = manifest
                    .parent()
                    .unwrap()
                    .strip_prefix(metadata["workspace_root"].as_str().unwrap());
                members.insert(folder.unwrap().to_str().unwrap().to_owned(), id.to_owned());
            }
        }
        Self { metadata, members }
    }

    /// All packages.
    pub fn packages(&self) -> &[Value] {
        self.metadata["packages"].as_array().unwrap()
    }

    /// Names of the features that a member has, on or off.
    pub fn features(&self, folder: &str) -> Vec<&str> {
        let mut packages = self.packages().iter();
        let package = packages.find(|package| package["id"] == self.members[folder]).unwrap();
        let features = package["features"].as_object().unwrap();
        features.keys().map(String::as_str).collect()
    }

    /// Members that a member depends on directly, by folder.
    pub fn members_below(&self, id: &str, wanted: Use) -> Vec<String> {
        let below: BTreeSet<_> = self.below(id, wanted).collect();
        self.members
            .iter()
            .filter(|(_, id)| below.contains(id.as_str()))
            .map(|(folder, _)| folder.clone())
            .collect()
    }

    /// Names of all packages that a member needs, however far below.
    pub fn names_far_below(&self, id: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            for next in self.below(&id, Use::Normal) {
                if found.insert(next.to_owned()) {
                    open.push(next.to_owned());
                }
            }
        }
        let packages = self
            .packages()
            .iter()
            .filter(|package| found.contains(package["id"].as_str().unwrap()));
        packages
            .map(|package| package["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn below<'a>(&'a self, id: &str, wanted: Use) -> impl Iterator<Item = &'a str> {
        let nodes = self.metadata["resolve"]["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        let is_wanted = move |dep: &&Value| {
            let mut kinds = dep["dep_kinds"].as_array().unwrap().iter();
            kinds.any(|kind| (kind["kind"] == "dev") == (wanted == Use::Dev))
        };
        node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_wanted)
            .map(|dep| dep["pkg"].as_str().unwrap())
    }
}

/// Whether a folder is one that the pattern means. `*` stands for one name.
pub fn is_like(folder: &str, pattern: &str) -> bool {
    let (folder, pattern): (Vec<_>, Vec<_>) = (folder.split('/').collect(), pattern.split('/').collect());
    folder.len() == pattern.len()
        && pattern
            .iter()
            .zip(folder)
            .all(|(pattern, name)| *pattern == "*" || *pattern == name)
}

/// Every file below a folder, as a path from the root.
pub fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Names of the folders and files in a folder.
pub fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A text file by its path from the root.
pub fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn target() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

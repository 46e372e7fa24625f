mod layers;
mod problems;
mod rules;
mod secrets;
mod shown;

use std::{fs, path::PathBuf};

use patchbay_core::ProviderId;
use tempfile::TempDir;

use super::{Config, ConfigProblems, Known, Problem, ProviderConfig};

/// A configuration file and the variables around it.
struct Setup {
    dir: TempDir,
    file: PathBuf,
    env: Vec<(String, String)>,
}

impl Setup {
    fn file(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("patchbay.toml");
        fs::write(&file, text).unwrap();
        Self {
            dir,
            file,
            env: Vec::new(),
        }
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another file next to it; its path.
    fn beside(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn load(&self) -> Result<Config, ConfigProblems> {
        Config::load(Some(&self.file), self.env.clone(), &known())
    }

    fn source(&self) -> String {
        self.file.display().to_string()
    }

    #[track_caller]
    fn problems(&self) -> Vec<Problem> {
        self.load().expect_err("this configuration is wrong").0
    }

    /// The one problem, which must be of this key.
    #[track_caller]
    fn refused(&self, key: &str) -> Problem {
        let mut problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = problems.remove(0);
        assert_eq!(problem.key.as_deref(), Some(key), "{problem}");
        problem
    }
}

/// Two with apps and simulators, and one with neither.
fn known() -> Vec<Known> {
    [("acme", true), ("my-place", true), ("commons", false)]
        .map(|(id, has_both)| Known {
            id: ProviderId::parse(id).unwrap(),
            has_app: has_both,
            has_simulator: has_both,
            on: has_both,
        })
        .to_vec()
}

fn acme(config: &Config) -> &ProviderConfig {
    &config.providers[&known()[0].id]
}

//! `patchbay new`: writes what somebody fills in who adds a platform.
//!
//! The provider that it writes is `examples/provider` under another name ([`template`]), in a checkout of Patchbay
//! ([`checkout`]) or in a folder of its own.

mod checkout;
mod template;

use std::{
    fs,
    path::{Path, PathBuf, absolute},
    process::{Command as Program, ExitCode, Stdio},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use patchbay_core::ProviderId;

use self::{
    checkout::{Checkout, Edit},
    template::{Names, Source},
};
use crate::providers::BUILT_IN;

/// How a comment begins that marks a place to change.
const MARKS: [&str; 2] = ["// CHANGE: ", "<!-- CHANGE: "];

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write a provider for a platform: a crate that compiles, its simulator, and its conformance test, which is green.
    ///
    /// It plays a made-up platform with OAuth, posts of text and signed webhooks. Each place that your platform changes is
    /// marked with CHANGE, and `patchbay conformance DIR` names the law that is broken meanwhile. In a checkout of
    /// Patchbay the crate becomes a member of its workspace; anywhere else it is a workspace of its own.
    ///
    /// The guide is docs/adding-a-provider.md.
    Provider(Options),
}

#[derive(Args)]
pub(super) struct Options {
    /// Name of the platform in URLs, configuration and crate names: small letters, digits and `-`, such as `pixelgram`.
    name: String,
    /// Name of the platform for people. Default: the name with a capital.
    #[arg(long)]
    title: Option<String>,
    /// Folder of the new crate: one that is not there yet, or is empty. Default: `providers/NAME` of the checkout that this
    /// folder is in.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// For a crate outside of a checkout: where Patchbay's source is, as a folder or as a URL of git.
    #[arg(long, value_name = "DIR|URL")]
    patchbay: Option<String>,
    /// In a checkout: build the provider into the host as well. Otherwise the lines that do it are shown.
    #[arg(long)]
    register: bool,
    /// Also write the crate that makes a WebAssembly component of it, which hosts load without being built anew.
    #[arg(long)]
    wasm: bool,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Provider(options) = command;
    let here = std::env::current_dir().context("finding the current folder")?;
    let written = write(options, &here)?;
    print!("{}", written.report());
    Ok(ExitCode::SUCCESS)
}

/// What was written.
struct Written {
    names: Names,
    /// As a person would type it.
    folder: PathBuf,
    files: usize,
    /// What builds its component, if it has one.
    component: Option<String>,
    /// Places to change: file, line and what.
    places: Vec<(String, usize, String)>,
    /// What is left to do in the host's files.
    to_do: Vec<Edit>,
    registered: bool,
}

fn write(options: &Options, here: &Path) -> anyhow::Result<Written> {
    let names = names(options)?;
    let around = options.path.as_deref().unwrap_or(here);
    let checkout = Checkout::around(&absolute(here.join(around))?);
    let folder = match (&options.path, &checkout) {
        (Some(path), _) => absolute(here.join(path))?,
        (None, Some(checkout)) => checkout.root.join("providers").join(&names.id),
        (None, None) => bail!(
            "this folder is in no checkout of Patchbay. Go into one, or say where the crate goes and where Patchbay is: \
             --path DIR --patchbay DIR|URL"
        ),
    };
    is_free(&folder)?;
    let written = match checkout {
        Some(checkout) => in_checkout(options, &names, &checkout, &folder)?,
        None => outside(options, here, &names, &folder)?,
    };
    Ok(Written {
        places: places(&folder)?,
        folder: folder.strip_prefix(here).unwrap_or(&folder).to_owned(),
        ..written
    })
}

fn names(options: &Options) -> anyhow::Result<Names> {
    let name = &options.name;
    let is_label = !name.ends_with('-') && !name.contains("--");
    ensure!(
        ProviderId::parse(name).is_ok() && is_label,
        "{name:?} cannot be the name of a provider. Give 1 to 32 small letters, digits and single `-` between them, \
         beginning with a letter, such as `pixelgram`"
    );
    let taken = BUILT_IN.iter().any(|entry| entry.id == name) || *name == ProviderId::patchbay().as_str();
    ensure!(
        !taken,
        "{name} is taken: this Patchbay has a provider of that name. Give another one"
    );
    let names = Names::new(name, options.title.as_deref());
    let is_plain = |c: char| c.is_alphanumeric() || " .-+".contains(c);
    ensure!(
        !names.title.trim().is_empty() && names.title.chars().all(is_plain),
        "{:?} cannot be the title. Give letters, digits, spaces and .-+ alone; any other name can be written into the \
         files afterwards",
        names.title
    );
    Ok(names)
}

/// Nothing is ever written over.
fn is_free(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => ensure!(
            entries.next().is_none(),
            "{} is not empty. Give another folder (--path), or empty this one",
            folder.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => bail!("{} cannot be the new folder: {error}", folder.display()),
    }
    Ok(())
}

fn in_checkout(options: &Options, names: &Names, checkout: &Checkout, folder: &Path) -> anyhow::Result<Written> {
    ensure!(
        options.patchbay.is_none(),
        "{} is in a checkout of Patchbay, and the crate uses that one: leave --patchbay out",
        folder.display()
    );
    let member = checkout.member(folder)?;
    let edits = checkout::membership(names, &member, options.wasm);
    let registration = checkout::registration(names);
    // First everything that can be refused.
    for edit in edits.iter().chain(&registration) {
        checkout.read(edit)?;
    }
    let files = put_all(folder, &template::member(names, options.wasm))?;
    checkout.apply(&edits)?;
    if options.register {
        checkout.apply(&registration)?;
    }
    Ok(Written {
        names: names.clone(),
        folder: folder.to_owned(),
        files,
        component: options.wasm.then(|| "providers/sdk/build".to_owned()),
        places: Vec::new(),
        to_do: if options.register { Vec::new() } else { registration },
        registered: options.register,
    })
}

fn outside(options: &Options, here: &Path, names: &Names, folder: &Path) -> anyhow::Result<Written> {
    ensure!(
        !options.register,
        "--register is for a crate in a checkout of Patchbay, and {} is in none",
        folder.display()
    );
    let Some(given) = &options.patchbay else {
        bail!(
            "{} is in no checkout of Patchbay: say where its source is, with --patchbay DIR or --patchbay URL (of git)",
            folder.display()
        );
    };
    let source = if given.contains("://") || given.starts_with("git@") {
        Source::Git(given.clone())
    } else {
        let root = here.join(given);
        let Some(checkout) = Checkout::at(&root) else {
            bail!(
                "{given} is no checkout of Patchbay: there is no crate patchbay-core in {}",
                root.join("core").display()
            );
        };
        Source::Folder(checkout.root)
    };
    let mut files = template::alone(names, &source, options.wasm)?;
    // The versions that this Patchbay is tested with.
    if let Source::Folder(root) = &source
        && let Ok(lock) = fs::read_to_string(root.join("Cargo.lock"))
    {
        files.push(("Cargo.lock".to_owned(), lock));
    }
    Ok(Written {
        names: names.clone(),
        folder: folder.to_owned(),
        files: put_all(folder, &files)?,
        component: options.wasm.then(|| match &source {
            Source::Folder(root) => root.join("providers/sdk/build").display().to_string(),
            Source::Git(url) => format!("providers/sdk/build of a checkout of {url}:"),
        }),
        places: Vec::new(),
        to_do: Vec::new(),
        registered: false,
    })
}

fn put_all(folder: &Path, files: &[(String, String)]) -> anyhow::Result<usize> {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    // A longer name breaks lines elsewhere. Without rustfmt they stay as they are.
    let sources = files.iter().map(|(name, _)| name).filter(|name| name.ends_with(".rs"));
    let mut program = Program::new("rustfmt");
    program
        .args(["--edition", "2024", "--config", "max_width=120"])
        .args(sources)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    program.status().ok();
    Ok(files.len())
}

/// Everything that is marked, in the order of the files.
fn places(folder: &Path) -> anyhow::Result<Vec<(String, usize, String)>> {
    let mut found = Vec::new();
    for name in template::names() {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for (number, line) in text.lines().enumerate() {
            if let Some(what) = MARKS.iter().find_map(|mark| line.trim_start().strip_prefix(mark)) {
                let what = what.trim_end_matches("-->").trim();
                found.push((name.to_owned(), number + 1, what.to_owned()));
            }
        }
    }
    Ok(found)
}

impl Written {
    fn report(&self) -> String {
        let (title, folder) = (&self.names.title, self.folder.display());
        let mut text = format!(
            "{folder}: a provider for {title}, its simulator and its conformance test, {} files. It compiles, and keeps every \
             law that applies to it.\n\nTry it:\n  patchbay conformance {folder}\n\nIt plays a made-up platform. Places to \
             change:\n",
            self.files
        );
        for (file, line, what) in &self.places {
            text.push_str(&format!("  {:<32} {what}\n", format!("{file}:{line}")));
        }
        if let Some(build) = &self.component {
            let id = &self.names.id;
            text.push_str(&format!(
                "\nAs a component, for the folder [wasm] dir of a host:\n  {build} {folder}/component {id}.wasm\n  \
                 patchbay conformance {id}.wasm --case {folder}\n"
            ));
        }
        if self.registered {
            text.push_str(
                "\nIt is built into the host of this checkout: `patchbay serve` and `patchbay demo` have it.\n",
            );
        }
        if !self.to_do.is_empty() {
            text.push_str("\nTo build it into the host (or run this with --register the next time):\n");
            for edit in &self.to_do {
                text.push_str(&format!(
                    "  {}, {}\n      {}\n",
                    edit.file,
                    edit.place,
                    edit.line.trim()
                ));
            }
        }
        text.push_str("\nThe guide, step by step: docs/adding-a-provider.md\n");
        text
    }
}

#[cfg(test)]
mod tests;

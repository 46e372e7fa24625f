//! Programs that measurements need, from Debian's packages.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context, ensure};

/// A program that is not there and could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("please install {packages:?}: {why}")]
pub struct Missing {
    packages: Vec<String>,
    why: String,
}

impl Missing {
    /// Says what is missing, and why that is so.
    pub fn new(packages: &[&str], why: impl Into<String>) -> Self {
        Self {
            packages: packages.iter().map(|package| (*package).to_owned()).collect(),
            why: why.into(),
        }
    }
}

/// One installation at a time in this process; [`among_processes`] keeps others out.
static INSTALLING: Mutex<()> = Mutex::new(());
/// For how many seconds the package manager waits for others that hold its lock.
const PATIENCE: &str = "DPkg::Lock::Timeout=300";

/// Where a program is. Installs the packages if it is missing.
///
/// # Errors
/// It is missing and cannot be installed.
pub fn program(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    found_or_installed(packages, || on_path(name)).with_context(|| format!("{name} is needed"))
}

/// A program of PostgreSQL's server. Debian keeps these off the PATH, one folder for each version; the newest counts.
///
/// # Errors
/// As [`program`].
pub fn postgres_program(name: &str) -> anyhow::Result<PathBuf> {
    found_or_installed(&["postgresql"], || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions.map(|version| version.path()).collect();
        versions.sort_by_key(|path| {
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
            std::cmp::Reverse(number)
        });
        let programs = versions.into_iter().map(|version| version.join("bin").join(name));
        programs.chain(on_path(name)).find(|program| program.is_file())
    })
    .with_context(|| format!("PostgreSQL's {name} is needed"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn found_or_installed(packages: &[&str], find: impl Fn() -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let _alone = patchbay_simkit::lock(&INSTALLING);
    if let Some(program) = find() {
        return Ok(program);
    }
    let _alone = among_processes()?;
    // Another one may have brought it meanwhile.
    if let Some(program) = find() {
        return Ok(program);
    }
    install(packages)?;
    find().with_context(|| format!("it is not in the packages {packages:?}"))
}

/// Held for as long as this process installs: tests are processes, and run side by side.
fn among_processes() -> anyhow::Result<File> {
    let path = cache()?.join("installing");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    file.lock().with_context(|| format!("waiting for {}", path.display()))?;
    Ok(file)
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing = |why: &str| Missing::new(packages, why);
    if on_path("apt-get").is_none() {
        return Err(missing("this is not a Debian system, so it is not done for you").into());
    }
    if !is_root() {
        return Err(missing("only root may do it").into());
    }
    eprintln!("Installing {packages:?} from Debian's packages");
    let steps: [(&[&str], &[&str]); 2] = [
        (&["update", "-qq"], &[]),
        (&["install", "-y", "-qq", "--no-install-recommends"], packages),
    ];
    for (step, packages) in steps {
        let output = Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", PATIENCE, "-o", "Acquire::Retries=3"])
            .args(step)
            .args(packages)
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), missing(&told));
    }
    Ok(())
}

/// Whether this process may do everything. PostgreSQL's server then must run as somebody else.
pub fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

/// A folder for what is installed otherwise, kept from run to run.
///
/// # Errors
/// It cannot be made.
pub fn cache() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = named.or(home).unwrap_or_else(std::env::temp_dir).join("patchbay-bench");
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    Ok(cache)
}

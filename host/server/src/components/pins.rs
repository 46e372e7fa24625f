//! `components.toml` in the folder of components: which file is which provider, with its digest and the hosts that the
//! operator lets it reach. `patchbay providers` writes it, and running hosts read it again when it changes.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use patchbay_core::ProviderId;
use serde::{Deserialize, Serialize};

/// Its name.
pub const FILE: &str = "components.toml";
/// Far above what it needs.
const MAX_BYTES: u64 = 1 << 20;

/// A component that may be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its file, in the same folder.
    pub file: PathBuf,
    /// SHA-256 of the file, as 64 hexadecimal digits.
    pub sha256: String,
    /// Hosts that it may reach, as its manifest writes them.
    pub hosts: Vec<String>,
    /// Whether it takes the place of the provider of its id that is built in.
    #[serde(default)]
    pub replaces_built_in: bool,
    /// Whether its platform works only with apps that are registered there.
    #[serde(default = "yes")]
    pub has_app: bool,
}

fn yes() -> bool {
    true
}

/// All of them, by provider.
pub type Pins = BTreeMap<ProviderId, Pin>;

/// Reads the file. None is as good as an empty one.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn read(dir: &Path) -> anyhow::Result<Pins> {
    let path = dir.join(FILE);
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pins::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let pins: Pins = toml::from_str(&text).with_context(|| format!("{} is not as it must be", path.display()))?;
    for (id, pin) in &pins {
        let plain = pin.file.components().count() == 1 && pin.file.file_name().is_some();
        anyhow::ensure!(
            plain,
            "{}: {id}: file must be a name in the same folder",
            path.display()
        );
    }
    Ok(pins)
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = io::Read::read_to_string(
        &mut io::Read::take(std::fs::File::open(path)?, MAX_BYTES + 1),
        &mut text,
    )?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {MAX_BYTES} bytes"),
        ));
    }
    Ok(text)
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write(dir: &Path, pins: &Pins) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    let text = format!(
        "# Written by `patchbay providers`. Running hosts read it again when it changes.\n\n{}",
        toml::to_string(pins)?
    );
    replace(&path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// Puts a file in the place of another in one step.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut file = std::fs::File::create(&partial)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

//! Compiled code, so that a start need not compile. An entry is native code that will be run as it stands, so it is
//! authentic or it is nothing: a MAC under a key of the host covers the code, the component that it is of, and every
//! setting that it was compiled for. Nothing from outside ever comes here.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::warn;
use wasmtime::{Engine, component::Component};

use crate::Digest;

const MAC_BYTES: usize = 32;

/// A folder of compiled code.
pub struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Keeps code in `dir`, under a key that no one else has.
    #[must_use]
    pub fn new(dir: PathBuf, key: [u8; 32]) -> Self {
        Self { dir, key }
    }

    /// The code of a component, if it is here and genuine.
    pub(crate) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let settings = settings(engine);
        let file = self.file(digest, settings);
        let bytes = std::fs::read(&file).ok()?;
        let (mac, code) = bytes.split_at_checked(MAC_BYTES)?;
        if self.mac(digest, settings, code).verify_slice(mac).is_err() {
            warn!(file = %file.display(), "Compiled code is not what this host wrote; it is compiled again");
            return None;
        }
        deserialize(engine, code)
    }

    /// Keeps the code of a component.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn store(&self, engine: &Engine, digest: Digest, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let settings = settings(engine);
        let mac = self.mac(digest, settings, &code).finalize().into_bytes();
        let file = self.file(digest, settings);
        write_whole(&file, &[mac.as_slice(), &code].concat())
    }

    fn file(&self, digest: Digest, settings: u64) -> PathBuf {
        self.dir.join(format!("{digest}-{settings:016x}.code"))
    }

    fn mac(&self, digest: Digest, settings: u64, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(b"patchbay/component-code/v1");
        mac.update(&digest.0);
        mac.update(&settings.to_be_bytes());
        mac.update(code);
        mac
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// It cannot be written.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, file)
}

/// Version and settings of the compiler, which the engine checks once more.
fn settings(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: the MAC has shown that `Cache::store` of a host with this key has written exactly these bytes, and they are
    // what `Component::serialize` gave it.
    unsafe { Component::deserialize(engine, code) }.ok()
}

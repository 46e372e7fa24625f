//! `[encryption]`: the master key, under which the keys of tenants are wrapped.

use std::path::PathBuf;

use patchbay_app::secret::Secret;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
    storage::StorageConfig,
};

/// Hexadecimal characters of a 256-bit key.
const KEY_CHARS: usize = 64;

/// The master key: exactly one of the two is set.
#[derive(Clone)]
pub struct EncryptionConfig {
    /// The file that holds it.
    pub key_file: Option<PathBuf>,
    /// The key itself, 64 hexadecimal characters.
    pub key: Option<Secret<String>>,
}

pub(super) const SECTION: Section = Section {
    name: "encryption",
    about: "The master key. Everything secret in the database is encrypted under it: without it, all connected \
            accounts are lost. Back it up apart from the database.",
    keys: &[
        Key::new(
            "encryption.key_file",
            Kind::Path,
            "The file that holds the master key, readable by this program alone. A key is made there if the file \
             does not exist and the database is empty.",
        )
        .or_from("`storage.dir` and `/master.key`, unless `key` is set"),
        Key::new(
            "encryption.key",
            Kind::Secret,
            "The master key itself, 64 hexadecimal characters, in place of a file. For development: others on a \
             machine may be able to read a process's environment.",
        )
        .plain("TOKEN_ENCRYPTION_KEY"),
    ],
};

impl EncryptionConfig {
    pub(super) fn read(r: &mut Reader, storage: &StorageConfig) -> Self {
        let key = r.secret("encryption.key");
        let mut key_file = r.optional("encryption.key_file");
        if key.is_none() && key_file.is_none() {
            let file = storage.dir.join("master.key");
            r.derived("encryption.key_file", format!("{file:?}"), "storage.dir");
            key_file = Some(file);
        }
        Self { key_file, key }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        let Some(key) = &self.key else { return };
        if self.key_file.is_some() {
            let file = r.source("encryption.key_file");
            r.problem(
                "encryption.key",
                format!("encryption.key_file is set too, in {file}: remove one of the two"),
            );
        }
        let text = key.expose().trim();
        if text.len() != KEY_CHARS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = "must be 64 hexadecimal characters (32 bytes); `openssl rand -hex 32` makes such a key";
            r.problem("encryption.key", message);
        }
    }
}

//! The installation's key, which wraps the tenants' data keys.

use hkdf::Hkdf;
use patchbay_core::TenantId;
use sha2::Sha256;

use super::{
    VaultError,
    envelope::{self, SealError},
};
use crate::{env::Env, secret::Secret};

/// What a data key is bound to while wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyContext {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub data_key: u32,
}

/// Wraps data keys. A key file or environment variable here; a key service elsewhere.
pub trait KeyProvider: Send + Sync + 'static {
    /// Wraps a data key.
    ///
    /// # Errors
    /// The provider cannot.
    fn wrap(&self, context: KeyContext, key: &[u8; 32], env: &Env) -> Result<Vec<u8>, VaultError>;

    /// Unwraps a data key.
    ///
    /// # Errors
    /// It was wrapped by another key or for another context.
    fn unwrap(&self, context: KeyContext, wrapped: &[u8]) -> Result<Secret<[u8; 32]>, VaultError>;

    /// A key of its own for another purpose.
    fn derive(&self, purpose: &str) -> Secret<[u8; 32]>;
}

/// A 256-bit key held in memory.
pub struct MasterKey(Secret<[u8; 32]>);

const LABEL: &str = "patchbay/wrapped-key/v1";

impl MasterKey {
    /// From its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// From 64 hexadecimal characters; white space around them is ignored.
    ///
    /// # Errors
    /// It is something else. The text is not repeated.
    pub fn from_hex(text: &str) -> Result<Self, &'static str> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut())
            .map_err(|_| "the encryption key must be 64 hexadecimal characters (32 bytes)")?;
        Ok(Self(Secret::new(*bytes)))
    }
}

impl KeyProvider for MasterKey {
    fn wrap(&self, context: KeyContext, key: &[u8; 32], env: &Env) -> Result<Vec<u8>, VaultError> {
        // Key id 0 is the installation's key; data keys count from 1.
        Ok(envelope::seal(
            self.0.expose(),
            0,
            &aad(context),
            key,
            env.random(),
            env.random(),
        )?)
    }

    fn unwrap(&self, context: KeyContext, wrapped: &[u8]) -> Result<Secret<[u8; 32]>, VaultError> {
        let key = envelope::open(self.0.expose(), &aad(context), wrapped)?;
        let bytes: [u8; 32] = key.expose().as_slice().try_into().map_err(|_| SealError::DoesNotOpen)?;
        Ok(Secret::new(bytes))
    }

    fn derive(&self, purpose: &str) -> Secret<[u8; 32]> {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, self.0.expose())
            .expand(purpose.as_bytes(), &mut bytes)
            .expect("32 bytes are within what HKDF-SHA-256 gives");
        Secret::new(bytes)
    }
}

fn aad(context: KeyContext) -> Vec<u8> {
    envelope::associated_data(
        LABEL,
        context.tenant,
        "data_keys",
        &context.data_key.to_be_bytes(),
        "wrapped",
        0,
    )
}

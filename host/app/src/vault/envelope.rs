//! Envelope v1: AES-256-GCM under a one-use key, with a key commitment.
//!
//! ```text
//! 1 version 0x01 | 1 suite 0x01 | 4 data key id | 32 salt | 12 nonce | 32 commitment | n + 16 ciphertext and tag
//! ```
//!
//! HKDF-SHA-256(data key, salt, label ‖ header ‖ associated data) gives 64 bytes: 32 to encrypt, 32 as commitment,
//! which is compared before anything is decrypted. A fresh 256-bit salt per message lifts the limit on the number of
//! random nonces under one key.

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use patchbay_core::TenantId;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Greatest length of a sealed value.
pub const MAX_PLAINTEXT: usize = 16 * 1024;
/// How much longer an envelope is than its value.
pub const OVERHEAD: usize = HEADER + SALT + NONCE + COMMITMENT + TAG;

const VERSION: u8 = 1;
const SUITE: u8 = 1;
const HEADER: usize = 6;
const SALT: usize = 32;
const NONCE: usize = 12;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const LABEL: &[u8] = b"patchbay/envelope/v1";

/// Why a value cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// One kind for every cause.
    #[error("does not open")]
    DoesNotOpen,
    /// Longer than [`MAX_PLAINTEXT`].
    #[error("too long")]
    TooLong,
}

/// Associated data: every part with its length in front, so that no two places read alike.
pub(super) fn associated_data(
    label: &str,
    tenant: TenantId,
    table: &str,
    row: &[u8],
    column: &str,
    version: i64,
) -> Vec<u8> {
    let mut aad = Vec::with_capacity(96);
    let tenant = tenant.as_uuid();
    let parts: [&[u8]; 6] = [
        label.as_bytes(),
        tenant.as_bytes(),
        table.as_bytes(),
        row,
        column.as_bytes(),
        &version.to_be_bytes(),
    ];
    for part in parts {
        // Parts are names and ids of this program: far below 4 GiB.
        aad.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

/// Seals `plaintext`. `salt` and `nonce` must be fresh randomness.
pub(super) fn seal(
    key: &[u8; 32],
    key_id: u32,
    aad: &[u8],
    plaintext: &[u8],
    salt: [u8; SALT],
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(SealError::TooLong);
    }
    let mut sealed = Vec::with_capacity(OVERHEAD + plaintext.len());
    sealed.extend_from_slice(&[VERSION, SUITE]);
    sealed.extend_from_slice(&key_id.to_be_bytes());
    let derived = derive(key, &salt, &sealed, aad)?;
    let (encryption, commitment) = derived.split_at(32);
    let bound = bound_data(&sealed, aad);
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(commitment);
    let cipher = Aes256Gcm::new_from_slice(encryption).map_err(|_| SealError::DoesNotOpen)?;
    let ciphertext = cipher
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plaintext,
                aad: &bound,
            },
        )
        .map_err(|_| SealError::DoesNotOpen)?;
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// The data key that an envelope names.
pub(super) fn key_id(sealed: &[u8]) -> Result<u32, SealError> {
    let header = sealed.first_chunk::<HEADER>().ok_or(SealError::DoesNotOpen)?;
    let [VERSION, SUITE, id @ ..] = header else {
        return Err(SealError::DoesNotOpen);
    };
    Ok(u32::from_be_bytes(*id))
}

/// Opens an envelope.
pub(super) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
    key_id(sealed)?;
    if sealed.len() < OVERHEAD || sealed.len() > OVERHEAD + MAX_PLAINTEXT {
        return Err(SealError::DoesNotOpen);
    }
    let (header, rest) = sealed.split_at(HEADER);
    let (salt, rest) = rest.split_at(SALT);
    let (nonce, rest) = rest.split_at(NONCE);
    let (commitment, ciphertext) = rest.split_at(COMMITMENT);
    let derived = derive(key, salt, header, aad)?;
    let (encryption, expected) = derived.split_at(32);
    if !bool::from(expected.ct_eq(commitment)) {
        return Err(SealError::DoesNotOpen);
    }
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::DoesNotOpen)?;
    let cipher = Aes256Gcm::new_from_slice(encryption).map_err(|_| SealError::DoesNotOpen)?;
    cipher
        .decrypt(
            &Nonce::from(nonce),
            Payload {
                msg: ciphertext,
                aad: &bound_data(header, aad),
            },
        )
        .map(Secret::new)
        .map_err(|_| SealError::DoesNotOpen)
}

/// Opens arbitrary bytes with a fixed key: the door for fuzzing the decoder.
pub fn fuzz_open(sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
    open(&[7; 32], b"fuzz", sealed)
}

fn bound_data(header: &[u8], aad: &[u8]) -> Vec<u8> {
    [header, aad].concat()
}

fn derive(key: &[u8; 32], salt: &[u8], header: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 64]>, SealError> {
    let mut derived = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand_multi_info(&[LABEL, header, aad], derived.as_mut())
        .map_err(|_| SealError::DoesNotOpen)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn place(version: i64) -> Vec<u8> {
        associated_data("l", TenantId::DEFAULT, "accounts", b"row", "tokens", version)
    }

    fn sealed() -> Vec<u8> {
        seal(&KEY, 3, &place(1), b"a token", [1; 32], [2; 12]).unwrap()
    }

    #[test]
    fn an_envelope_opens_in_its_own_place_and_has_the_documented_layout() {
        let sealed = sealed();
        assert_eq!(open(&KEY, &place(1), &sealed).unwrap().expose(), b"a token");
        assert_eq!(sealed.len(), 98 + 7);
        assert_eq!(sealed[..6], [1, 1, 0, 0, 0, 3]);
        assert_eq!(sealed[6..38], [1; 32]);
        assert_eq!(sealed[38..50], [2; 12]);
    }

    #[test]
    fn an_older_version_another_key_or_another_place_does_not_open() {
        let sealed = sealed();
        assert!(open(&KEY, &place(2), &sealed).is_err());
        assert!(open(&[8; 32], &place(1), &sealed).is_err());
        let other = associated_data("l", TenantId::DEFAULT, "accounts", b"ro", "wtokens", 1);
        assert!(open(&KEY, &other, &sealed).is_err());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused_in_the_same_way() {
        let sealed = sealed();
        for length in 0..sealed.len() {
            assert_eq!(
                open(&KEY, &place(1), &sealed[..length]).err(),
                Some(SealError::DoesNotOpen)
            );
        }
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(&KEY, &place(1), &bent).err(),
                Some(SealError::DoesNotOpen),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_long_value_is_refused() {
        let long = vec![0; MAX_PLAINTEXT + 1];
        assert_eq!(seal(&KEY, 1, b"", &long, [0; 32], [0; 12]), Err(SealError::TooLong));
        assert!(seal(&KEY, 1, b"", &long[1..], [0; 32], [0; 12]).is_ok());
    }
}

//! TikTok's PKCE: the challenge is the lower-case hex of SHA-256, not base64url as RFC 7636 has it
//! (developers.tiktok.com/doc/login-kit-desktop).

use sha2::{Digest, Sha256};

pub(crate) fn challenge(verifier: &str) -> String {
    hex::encode(Sha256::digest(verifier.as_bytes()))
}

/// 43 to 128 characters of the unreserved set.
pub(crate) fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFG";

    #[test]
    fn the_challenge_is_hex() {
        assert_eq!(
            challenge(VERIFIER),
            "4c3a770bec0fa3768a0cad4183eba43fbf2767d622a940f64e8443f7a1e86875"
        );
    }

    #[test]
    fn verifiers_have_a_length_and_an_alphabet() {
        assert!(is_verifier(VERIFIER));
        assert!(!is_verifier(&VERIFIER[..42]));
        assert!(!is_verifier(&"a".repeat(129)));
        assert!(!is_verifier(&VERIFIER.replace('~', "+")));
    }
}

//! Looks for secrets in what must not hold them: as they are, and encoded.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// A piece of this length is enough to count as a find.
const PIECE: usize = 16;

/// A secret by name. It is never printed.
#[derive(Clone)]
pub struct Canary {
    pub name: String,
    needles: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    pub fn new(name: &str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        assert!(secret.len() >= 8, "{name} is too short to be looked for");
        let mut needles = Vec::new();
        for piece in pieces(secret) {
            needles.push(("raw", piece.to_vec()));
            needles.push(("hex", hex::encode(piece).into_bytes()));
            needles.push(("hex", hex::encode_upper(piece).into_bytes()));
            // Inside a larger text, base64 of the same bytes looks different at each of three places.
            for shift in 0..3 {
                needles.push(("base64", base64_at(piece, shift, &STANDARD_NO_PAD)));
                needles.push(("base64url", base64_at(piece, shift, &URL_SAFE_NO_PAD)));
            }
        }
        // All bytes as %XX, and only those that have to be.
        let all: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
        needles.push(("percent", all.to_ascii_lowercase().into_bytes()));
        needles.push(("percent", all.into_bytes()));
        let encoded = url::form_urlencoded::byte_serialize(secret).collect::<String>();
        needles.push(("percent", encoded.to_ascii_lowercase().into_bytes()));
        needles.push(("percent", encoded.into_bytes()));
        needles.sort();
        needles.dedup();
        Self {
            name: name.to_owned(),
            needles,
        }
    }

    /// In which forms it stands in some bytes.
    pub fn found_in(&self, hay: &[u8]) -> Vec<&'static str> {
        let found = found_in(hay, std::slice::from_ref(self));
        found.into_iter().flat_map(|(_, forms)| forms).collect()
    }
}

/// Secrets that stand in some bytes, each with its forms. One pass, however many are looked for.
pub fn found_in<'a>(hay: &[u8], canaries: &'a [Canary]) -> Vec<(&'a Canary, Vec<&'static str>)> {
    let needles = canaries.iter().flat_map(|canary| &canary.needles);
    let search = AhoCorasick::new(needles.map(|(_, needle)| needle)).unwrap();
    let found: BTreeSet<_> = search
        .find_overlapping_iter(hay)
        .map(|found| found.pattern().as_usize())
        .collect();
    let mut first = 0;
    let mut secrets = Vec::new();
    for canary in canaries {
        let forms = canary.needles.iter().map(|(form, _)| *form).enumerate();
        let forms: BTreeSet<_> = forms
            .filter(|(place, _)| found.contains(&(first + place)))
            .map(|(_, form)| form)
            .collect();
        if !forms.is_empty() {
            secrets.push((canary, forms.into_iter().collect()));
        }
        first += canary.needles.len();
    }
    secrets
}

/// Pieces that cover the secret; a secret that is hardly longer than one is one piece.
fn pieces(secret: &[u8]) -> Vec<&[u8]> {
    if secret.len() < 2 * PIECE {
        return vec![secret];
    }
    secret
        .chunks_exact(PIECE)
        .chain([&secret[secret.len() - PIECE..]])
        .collect()
}

/// The characters that only depend on the piece, if it starts `shift` bytes into a group of three.
fn base64_at(piece: &[u8], shift: usize, engine: &impl Engine) -> Vec<u8> {
    let padded = [&[0; 3][..shift], piece].concat();
    let whole = padded.len() / 3 * 3;
    let text = engine.encode(&padded[..whole]);
    let first = if shift == 0 { 0 } else { shift + 1 };
    text.as_bytes()[first..].to_vec()
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    let secret = "act.q8Zk3LmN0pXy*!4711.va/+?tail-of-it";
    let canary = Canary::new("planted", secret);
    for shift in ["", "x", "yz"] {
        let text = format!("{shift}{secret} and more");
        for (form, hay) in [
            ("raw", text.clone()),
            ("raw", format!("…{}…", &secret[16..32])),
            ("hex", hex::encode(&text)),
            ("hex", hex::encode_upper(&text)),
            ("base64", base64::engine::general_purpose::STANDARD.encode(&text)),
            ("base64url", base64::engine::general_purpose::URL_SAFE.encode(&text)),
            (
                "percent",
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            ),
            ("percent", text.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        ] {
            assert!(
                canary.found_in(hay.as_bytes()).contains(&form),
                "{form} of {text:?} in {hay:?}"
            );
        }
    }
    assert!(canary.found_in(b"act.q8Zk3 is too little to be sure").is_empty());
}

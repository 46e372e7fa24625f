//! A simulated Quill, written from the platform's documentation and never from the provider: a misreading on one side
//! shows against the other. It keeps state and is strict: it refuses what the platform refuses.
//!
//! `world` is what the platform knows, `oauth` and `posts` are its API, `hooks` its webhooks; `run` starts it.

mod hooks;
mod oauth;
mod posts;
mod run;
mod world;

pub use patchbay_simkit as simkit;
pub use run::{Running, consent, stand, start};

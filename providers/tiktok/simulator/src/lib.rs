#![doc = include_str!("../README.md")]

mod account;
mod act;
mod answer;
mod chunk;
mod config;
mod control;
mod display;
mod hooks;
mod limits;
mod media;
mod oauth;
mod oracle;
mod picture;
mod post;
mod posting;
mod process;
mod pull;
mod run;
mod stand;
mod switches;
mod upload;
mod world;

pub use account::{Account, Privacy};
pub use act::ActError;
pub use config::{ConfigError, Listen, SCOPES, SimulatorConfig};
pub use hooks::RemovalReason;
pub use oauth::grants::{RefreshUse, Tokens};
pub use oauth::redirect::{RedirectError, Redirects};
pub use oracle::{Effects, Oracle, PostRecord, UploadRecord};
pub use patchbay_simkit as simkit;
pub use post::{FailReason, Flow, Published, Source, Wishes};
pub use run::{Running, Simulator, StartError, serve};
pub use stand::{consent, for_product, stand};
pub use switches::{
    ChunkBand, FailureData, MissingFieldScope, ParamSpelling, Pkce, Switches, TokenErrorStatus, TokenProfile,
    UploadContentRange, WebhookStyle,
};
pub use upload::Chunk;
pub use world::OPS;

//! Providers as WebAssembly components: a file becomes an `impl Provider`, and the rest of the host cannot tell the
//! difference.
//!
//! [`Engine::load`] compiles a component (or takes its code from the [`Cache`]), asks it for its manifest with no way out,
//! and refuses it with a reason and a fix when anything is wrong. [`Component::build`] makes a provider of it with the
//! operator's settings. Every call runs in an instance of its own, which ends with the call: nothing passes from one
//! call, account or tenant to the next. A guest's only imports are `http`, which is the transport of the call that it
//! works for, and `log`. What it uses is bounded by [`Limits`]; a trap or a limit is a `ProviderError` whose code begins
//! with `component_`.
//!
//! One line of the WIT package has one adapter, `v0_1`.

mod background;
mod bindings;
mod cache;
#[path = "../../../core/wit/cross.rs"]
mod cross;
mod engine;
mod limits;
mod load;
mod log_rate;
mod observe;
mod state;
mod v0_1;

pub use self::{
    cache::Cache,
    engine::{Engine, EngineError},
    limits::Limits,
    load::{Component, Digest, Refused},
    observe::Observer,
    v0_1::Guest,
};
pub(crate) use bindings::patchbay::provider::types as wit;

//! Compiles a provider to a WebAssembly component, which a running host loads from its folder `[wasm] dir`.
//!
//! A provider is written against `patchbay-core` alone: the three traits, and a function `build` that makes it from its
//! settings. That source knows nothing of where it runs. A crate of its own, of the type `cdylib`, makes a component
//! of it:
//!
//! ```
//! # mod my_provider {
//! #     use std::sync::Arc;
//! #     use patchbay_core::{Provider, Settings, SettingsError};
//! #     pub fn build(_: &Settings) -> Result<Arc<dyn Provider>, SettingsError> { Err(SettingsError(String::new())) }
//! # }
//! patchbay_provider_sdk::component!(my_provider::build);
//! # fn main() {}
//! ```
//!
//! What a guest must know:
//! - Every call has an instance of its own: nothing is remembered between calls, and `build` runs before each.
//! - There is no clock, no randomness, no file, no environment and no socket. What asks for them anyway panics.
//! - A panic ends the call; its message is in the host's log.
//! - The traits are async, but nothing may wait for anything other than [`patchbay_core::Ctx::send`].

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

/// Exports a provider. Takes its function `fn(&Settings) -> Result<Arc<dyn Provider>, SettingsError>`. Does nothing where
/// the target is not WebAssembly.
#[macro_export]
macro_rules! component {
    ($build:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::guest::Build for Component {
                fn build(
                    settings: &$crate::guest::Settings,
                ) -> ::std::result::Result<::std::sync::Arc<dyn $crate::guest::Provider>, $crate::guest::SettingsError>
                {
                    $build(settings)
                }
            }

    $crate::guest::export!(Component with_types_in $crate::guest::bindings);
        };
    };
}

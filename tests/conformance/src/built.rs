//! How a case makes its provider: from its source, or of a component in its place.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use patchbay_core::{Manifest, OAuthProvider, Provider, Publisher, Settings, SettingsError, WebhookSource};
use patchbay_wasm::{Cache, Digest, Engine, Guest, Limits};

/// Names a component that is tried in the place of the provider that the case was compiled with.
pub const COMPONENT_VARIABLE: &str = "PATCHBAY_CONFORMANCE_COMPONENT";

/// A provider's function `build`.
pub type Build = fn(&Settings) -> Result<Arc<dyn Provider>, SettingsError>;

static TRIED: OnceLock<Digest> = OnceLock::new();

/// Makes the provider by its `build`; or, if [`COMPONENT_VARIABLE`] names a component, of that, with the same settings.
///
/// # Panics
/// It takes other settings, or the component cannot be used, or is another provider's.
#[must_use]
pub fn built(build: Build, settings: Settings) -> Arc<dyn Fn() -> Arc<dyn Provider> + Send + Sync> {
    let native =
        move |settings: &Settings| build(settings).unwrap_or_else(|error| panic!("the settings of the case: {error}"));
    match std::env::var_os(COMPONENT_VARIABLE) {
        None => Arc::new(move || native(&settings)),
        Some(file) => {
            let guest = Arc::new(load(Path::new(&file), &settings));
            let case = native(&settings);
            let (case, says) = (&case.manifest().id, &guest.manifest().id);
            assert!(
                case == says,
                "this is the case of {case}, and the component calls itself {says}"
            );
            // Every call has an instance of its own: nothing is left of the last host.
            Arc::new(move || Arc::new(Component(guest.clone())))
        }
    }
}

/// The component that is tried, if one is.
pub(crate) fn component() -> Option<Digest> {
    TRIED.get().copied()
}

fn load(file: &Path, settings: &Settings) -> Guest {
    let unusable = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", file.display()) };
    let bytes = std::fs::read(file).unwrap_or_else(|error| unusable(&error));
    // Compiled by a program that is not optimised.
    let limits = Limits {
        compile: std::time::Duration::from_mins(10),
        ..Limits::default()
    };
    // Laws may run in processes of their own. Whoever can write beside the component can as well write that.
    let cache = Cache::new(file.with_extension("code"), [0; 32]);
    let load = async {
        let engine = Engine::new(limits, Some(cache)).unwrap_or_else(|error| unusable(&error));
        let component = engine.load(bytes).await.unwrap_or_else(|error| unusable(&error));
        let _ = TRIED.set(component.digest());
        component.build(settings).await.unwrap_or_else(|error| unusable(&error))
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(load),
        Err(error) => unusable(&error),
    }
}

/// A component, as often as it is wanted.
struct Component(Arc<Guest>);

impl Provider for Component {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        self.0.oauth()
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        self.0.publisher()
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        self.0.webhooks()
    }
}

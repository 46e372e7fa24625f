//! `patchbay doctor`: looks at everything that a first deployment gets wrong, and says what to do about each. It changes
//! nothing: no key is made, no table migrated, no lease touched, and the calls that it sends have no effect. (One write goes
//! to the row that `/readyz` writes as well.)
//!
//! Each area is a file here that appends its findings to the [`Report`]. What one cannot look at, because something
//! before it is wrong, it says to have skipped.

mod components;
mod database;
mod encryption;
mod platforms;
mod probe;
mod report;
mod site;
mod storage;
mod workers;

use patchbay_app::env::Env;

use self::probe::Probe;
pub use self::report::{Finding, Report, Verdict};
use crate::config::{Config, Environment};

/// Where to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// Call nobody: look only at this machine and the database.
    pub offline: bool,
}

/// Looks at all of it.
pub async fn examine(config: &Config, scope: Scope) -> Report {
    let env = Env::system();
    let mut report = Report::default();
    let store = database::examine(config, &env, &mut report).await;
    encryption::examine(config, store.as_ref(), &env, &mut report).await;
    storage::examine(config, &mut report);
    components::examine(config, &env, &mut report).await;
    workers::examine(config, store.as_ref(), &mut report).await;
    let probe = if scope.offline {
        None
    } else {
        Probe::new(config, &mut report)
    };
    site::examine(config, probe.as_ref(), &mut report).await;
    platforms::examine(config, probe.as_ref(), &env, &mut report).await;
    report
}

/// Whether any provider works with the real platform.
fn is_live(config: &Config) -> bool {
    let mut providers = config.providers.values();
    providers.any(|provider| provider.enabled && provider.environment == Environment::Live)
}

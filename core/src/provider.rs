//! The bundle that a platform's crate hands to the host.

use crate::{Manifest, OAuthProvider, Publisher, WebhookSource};

/// One platform. A capability *is* the presence of an implementation: no flag can disagree with it.
pub trait Provider: Send + Sync + 'static {
    /// The provider as data. Must be the same at every call.
    fn manifest(&self) -> &Manifest;

    /// Connecting accounts.
    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        None
    }

    /// Publishing.
    fn publisher(&self) -> Option<&dyn Publisher> {
        None
    }

    /// Receiving webhooks.
    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        None
    }
}

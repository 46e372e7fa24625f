//! The bundle: one value that holds the manifest and the implementations. The platform has no webhooks.

use patchbay_core::{Manifest, OAuthProvider, Provider, Publisher};

use crate::{login::AppPassword, manifest::manifest, publish::Records};

pub(crate) struct Bluesky {
    manifest: Manifest,
}

impl Bluesky {
    pub(crate) fn new() -> Self {
        Self { manifest: manifest() }
    }
}

impl Provider for Bluesky {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(&AppPassword)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        Some(&Records)
    }
}

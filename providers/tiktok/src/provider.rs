//! The bundle: one value that holds the manifest and the three implementations.

use patchbay_core::{Manifest, OAuthProvider, Provider, Publisher, WebhookSource};

use crate::{config::Config, manifest::manifest, oauth::LoginKit, publish::ContentPosting, webhook::Webhooks};

pub(crate) struct TikTok {
    manifest: Manifest,
    login: LoginKit,
    posting: ContentPosting,
    webhooks: Webhooks,
}

impl TikTok {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            manifest: manifest(config),
            login: LoginKit,
            posting: ContentPosting::new(config),
            webhooks: Webhooks::new(config.accept_simplified_webhooks),
        }
    }
}

impl Provider for TikTok {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(&self.login)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        Some(&self.posting)
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        Some(&self.webhooks)
    }
}

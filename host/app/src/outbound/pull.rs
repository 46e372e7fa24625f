//! URLs under which the platform of a call fetches stored files. Each attempt has its own, so that an attempt whose answer
//! was lost can be told from one that never began: a URL that is closed before anything was fetched ends it for good.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use patchbay_core::{Effect, MediaOrigin, MediaUrl, Op, SecretRef, TransportError};
use sha2::{Digest, Sha256};

use super::Outbound;
use crate::{model::NewPullUrl, secret::Secret, store::StoreError};

/// How long a platform may take. The slowest that is known ends its download after an hour.
const LIFE: Duration = Duration::from_hours(24);

impl Outbound<'_> {
    /// Opens a URL for each place of a call, in order.
    pub(super) async fn open_pull_urls(
        &self,
        op: &Op,
        places: &[MediaUrl],
    ) -> Result<Vec<Secret<String>>, TransportError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let blocked = |what: String| Err(TransportError::Blocked(what));
        if op.effect != Effect::Commit {
            return blocked(format!(
                "{} is no commit, and only a commit may name files to fetch",
                op.name
            ));
        }
        let scope = self.commit_scope(op)?;
        let Some(base) = &self.app.pull_base else {
            return blocked("this host has no https address under which a platform could fetch files".to_owned());
        };
        let mut urls = Vec::with_capacity(places.len());
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            let is_hosted =
                |file: &patchbay_core::PostMedia| file.id == place.media && file.origin == MediaOrigin::Hosted;
            if !scope.post.media.iter().any(is_hosted) {
                return blocked(format!(
                    "{} is no file of this post that the platform is to fetch",
                    place.media
                ));
            }
            let token = URL_SAFE_NO_PAD.encode(self.app.env.random::<32>());
            rows.push(NewPullUrl {
                token_hash: token_hash(&token),
                media: place.media,
            });
            let mut url = base.clone();
            url.path_segments_mut()
                .map_err(|()| TransportError::Blocked("the base of pull URLs is no base".to_owned()))?
                .pop_if_empty()
                .push(&token);
            // Known to this call, so that an answer that repeats it is masked.
            let handle = SecretRef::call(&format!("pull_token/{}", rows.len()));
            self.lock().secrets.insert(handle, Secret::new(token));
            urls.push(Secret::new(url.into()));
        }
        let (tenant, post) = (self.tenant(), scope.post.id);
        let stored = self
            .app
            .store
            .add_pull_urls(scope.lease, tenant, post, scope.step, &rows, LIFE);
        stored.await.map_err(|error| match error {
            StoreError::Stale => TransportError::NotSent("another worker has taken this job over".to_owned()),
            error => TransportError::NotSent(format!("URLs for the media could not be stored: {error}")),
        })?;
        Ok(urls)
    }
}

/// What is stored of a token.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

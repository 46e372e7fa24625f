//! What people do in the TikTok app or the portal, so that tests and the control page can do it.

use crate::account::Privacy;
use crate::hooks::{PostEvent, RemovalReason};
use crate::oauth::grants::Tokens;
use crate::post::{FailReason, Flow, Phase};
use crate::world::World;

/// Why an action is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    #[error("no such account")]
    NoAccount,
    #[error("no such post")]
    NoPost,
    #[error("not a draft in the inbox")]
    NotADraft,
    #[error("not on the profile")]
    NotPublished,
    #[error("already ended")]
    Ended,
}

impl World {
    /// The user posts a draft; doing it again makes a second post. Returns the post id.
    pub(crate) fn user_posts_draft(&self, publish_id: &str, privacy: Option<Privacy>) -> Result<u64, ActError> {
        self.tick();
        let now = self.clock.now();
        let mut state = self.state();
        let widest = state
            .post(publish_id)
            .and_then(|post| state.account(&post.open_id))
            .map(|account| account.privacy_options()[0])
            .ok_or(ActError::NoPost)?;
        let post = state.post_mut(publish_id).ok_or(ActError::NoPost)?;
        if post.flow != Flow::Inbox || !matches!(post.phase, Phase::InInbox | Phase::Complete) || post.discarded {
            return Err(ActError::NotADraft);
        }
        let id = self.publish(post, privacy.unwrap_or(widest), now);
        drop(state);
        self.happened();
        Ok(id)
    }

    /// The user throws a draft away: it no longer counts as pending. What its status says then is not
    /// documented; it stays as it was.
    pub(crate) fn user_discards_draft(&self, publish_id: &str) -> Result<(), ActError> {
        self.tick();
        let mut state = self.state();
        let post = state.post_mut(publish_id).ok_or(ActError::NoPost)?;
        if post.flow != Flow::Inbox || post.phase != Phase::InInbox {
            return Err(ActError::NotADraft);
        }
        post.discarded = true;
        drop(state);
        self.happened();
        Ok(())
    }

    /// The user deletes what was published, or moderation takes it down later.
    pub(crate) fn user_deletes_post(&self, publish_id: &str) -> Result<(), ActError> {
        self.tick();
        let now = self.clock.now();
        let mut state = self.state();
        let post = state.post_mut(publish_id).ok_or(ActError::NoPost)?;
        let mut was_public = Vec::new();
        let mut any = false;
        for published in post.published.iter_mut().filter(|published| !published.deleted) {
            any = true;
            published.deleted = true;
            if published.announced {
                was_public.push(published.post_id);
            }
        }
        for post_id in was_public {
            self.announce(post, &PostEvent::NoLongerPublicly { post_id }, now);
        }
        drop(state);
        self.happened();
        if any { Ok(()) } else { Err(ActError::NotPublished) }
    }

    /// Ends an unfinished post with any reason.
    pub(crate) fn platform_fails_post(&self, publish_id: &str, reason: FailReason) -> Result<(), ActError> {
        self.tick();
        let mut state = self.state();
        let post = state.post_mut(publish_id).ok_or(ActError::NoPost)?;
        if !post.is_unfinished() {
            return Err(ActError::Ended);
        }
        self.fail_post(post, reason, self.clock.now());
        drop(state);
        self.happened();
        Ok(())
    }

    /// The user disconnects the app, is banned, deletes the account.
    pub(crate) fn user_leaves(&self, account: &str, reason: RemovalReason) -> Result<(), ActError> {
        let account = self.account(account).ok_or(ActError::NoAccount)?;
        self.remove_authorization(&account.open_id, reason);
        Ok(())
    }

    /// An authorization without the consent page.
    pub(crate) fn grant(&self, account: &str, scopes: &[&str]) -> Result<Tokens, ActError> {
        let account = self.account(account).ok_or(ActError::NoAccount)?;
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let now = self.clock.now();
        let switches = self.switches();
        Ok(self
            .state()
            .grants
            .open(&self.random, &switches, (&account.open_id, &scopes), now))
    }

    fn happened(&self) {
        self.wake.notify_one();
        self.progressed();
    }
}

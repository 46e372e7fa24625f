//! Connecting accounts.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Ctx, ErrorKind, ProviderError, SecretRef};

/// SHA-256 of the PKCE verifier (RFC 7636). The host keeps the verifier; the provider encodes the digest in the
/// platform's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PkceChallenge {
    /// The digest.
    pub digest: [u8; 32],
}

/// What the host knows when a connect starts.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    /// Where the platform sends the browser back to.
    pub redirect_uri: Url,
    /// To be returned unchanged.
    pub state: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// PKCE digest of this flow.
    pub pkce: PkceChallenge,
    /// Ask the platform to show its page even to someone who is signed in and has agreed before.
    pub force_consent: bool,
}

/// One field of a connect form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormField {
    /// Key in the callback's parameters; a secret one arrives as [`SecretRef::call`]`(name)` instead.
    pub name: Cow<'static, str>,
    /// Label.
    pub title: Cow<'static, str>,
    /// Whether its value is a secret.
    pub secret: bool,
    /// Whether it must be filled in. An empty one is not among the callback's parameters.
    pub required: bool,
}

/// How a connect goes on.
#[derive(Debug, Clone)]
pub enum Authorize {
    /// Send the browser to the platform.
    Redirect {
        /// The platform's real authorize URL.
        url: Url,
        /// Opaque data that the host seals into the flow and gives back with the callback.
        pending: serde_json::Value,
    },
    /// Ask for these fields ourselves (app password, server name).
    Form {
        /// The fields.
        fields: Vec<FormField>,
        /// As above.
        pending: serde_json::Value,
    },
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Callback {
    /// The whole query, decoded, without `code` and `state`.
    pub params: BTreeMap<String, String>,
    /// The authorization code, decoded.
    pub code: SecretRef,
    /// The PKCE verifier.
    pub pkce_verifier: SecretRef,
    /// The redirect URI of the authorize request.
    pub redirect_uri: Url,
    /// From [`Authorize`].
    pub pending: serde_json::Value,
}

/// Named handles of everything needed to act for an account. By convention `access_token` is what
/// [`crate::Auth::AccountBearer`] sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Name to handle.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Origin of the server that holds the account, where a platform has many: `https://server.example`. Rows of
    /// [`crate::Op::at_account_server`] go there and nowhere else. It is kept in one envelope with the secrets, so
    /// nobody can make the host send them elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Url>,
    /// How long they live, counted from the answer that brought them.
    pub lifetimes: CredentialLifetimes,
}

/// Lifetimes as the platform told them. Never assumed. Where a platform tells them in the tokens alone, leave them
/// out: of an `access_token` or `refresh_token` that is a JWT (RFC 7519) the host reads `exp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialLifetimes {
    /// Until the access credential dies.
    pub access: Option<Duration>,
    /// Until it can no longer be renewed.
    pub refresh: Option<Duration>,
    /// Before this age a renewal is refused.
    pub refresh_not_before: Option<Duration>,
}

impl Credentials {
    /// The handle of one credential.
    ///
    /// # Errors
    /// `ReauthRequired`: the grant never held it.
    pub fn get(&self, name: &str) -> Result<SecretRef, ProviderError> {
        self.secrets.get(name).cloned().ok_or_else(|| {
            ProviderError::new(
                ErrorKind::ReauthRequired,
                "missing_credential",
                format!("no credential {name}"),
            )
        })
    }

    /// What one of several identities of a grant gets of it. A credential named `name@remote_id` is that identity's own:
    /// it stands as `name` in its account, before one that all share, and in no other account.
    #[must_use]
    pub fn of_identity(&self, remote_id: &str) -> Self {
        let (own, shared): (Vec<_>, Vec<_>) = self.secrets.iter().partition(|(name, _)| name.contains('@'));
        let mut secrets: BTreeMap<_, _> = shared
            .into_iter()
            .map(|(name, handle)| (name.clone(), handle.clone()))
            .collect();
        secrets.extend(own.into_iter().filter_map(|(name, handle)| {
            let (name, of) = name.split_once('@')?;
            (of == remote_id).then(|| (name.to_owned(), handle.clone()))
        }));
        Self {
            secrets,
            ..self.clone()
        }
    }
}

/// Who an account is at the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The platform's stable id.
    pub remote_id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Unique handle, without `@`.
    pub username: Option<String>,
    /// Picture. Platforms sign and expire these.
    pub avatar_url: Option<Url>,
    /// Profile page.
    pub profile_url: Option<Url>,
}

/// What a successful connect gives.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The credentials. Of several identities, each has the shared ones, and its own by
    /// [`Credentials::of_identity`].
    pub credentials: Credentials,
    /// One account, or several of which the person chooses (pages, channels); the host asks which, and each that is chosen
    /// becomes an account. Each renews its credentials by itself: where a renewal ends those before it, several may not
    /// share them. The grant is ended at the platform with the last of the accounts that were chosen together.
    pub identities: Vec<Identity>,
    /// Scopes that were really granted. May be fewer than asked.
    pub scopes: Vec<String>,
}

/// Whether the platform takes the app's own credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppCheck {
    /// It does.
    Accepted,
    /// It has no call to find out with.
    NotOffered,
}

/// Connects accounts of one platform.
#[async_trait]
pub trait OAuthProvider: Send + Sync {
    /// What the platform's rules hold against a redirect URI, each in words for the operator. Pure. It cannot tell
    /// whether the URI is registered.
    fn redirect_issues(&self, redirect_uri: &Url) -> Vec<String> {
        let _ = redirect_uri;
        Vec::new()
    }

    /// Asks the platform whether it takes the app's credentials, by a call that changes nothing and needs no account.
    async fn check_app(&self, ctx: &Ctx<'_>) -> Result<AppCheck, ProviderError> {
        let _ = ctx;
        Ok(AppCheck::NotOffered)
    }

    /// Starts a connect. Mostly pure; may call the platform (pushed requests, app registration).
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError>;

    /// Ends a connect: tokens, identity and granted scopes at once. The host has already handled a callback that
    /// carries `error`.
    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError>;

    /// Renews the credentials of `ctx.account()`. May rotate them; the host stores what comes back before anyone uses
    /// it, and calls this at most once per stored version. Only a code that the platform documents as final may give
    /// `ReauthRequired`.
    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError>;

    /// Reads the account's current identity.
    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError>;

    /// Ends the grant at the platform. Must succeed when it is already gone.
    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        let _ = ctx;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_what_all_share_and_what_is_its_own() {
        let handle = SecretRef::call;
        let given = [
            ("access_token", "shared"),
            ("access_token@page@2", "of-2"),
            ("refresh_token", "refresh"),
            ("page_token@1", "of-1"),
        ];
        let credentials = Credentials {
            secrets: given.map(|(name, to)| (name.to_owned(), handle(to))).into(),
            ..Credentials::default()
        };
        let of = |id: &str| {
            let secrets = credentials.of_identity(id).secrets;
            secrets.into_iter().collect::<Vec<_>>()
        };
        let named = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs
                .iter()
                .map(|(name, to)| ((*name).to_owned(), handle(to)))
                .collect()
        };
        let shared = ("refresh_token", "refresh");
        assert_eq!(
            of("1"),
            named(&[("access_token", "shared"), ("page_token", "of-1"), shared])
        );
        assert_eq!(of("page@2"), named(&[("access_token", "of-2"), shared]));
        assert_eq!(of("2"), named(&[("access_token", "shared"), shared]));
    }
}

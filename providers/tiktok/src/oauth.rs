//! Connecting accounts through Login Kit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use patchbay_core::{
    AppCheck, Authorize, AuthorizeRequest, Callback, Credentials, Ctx, ErrorKind, Grant, Identity, OAuthProvider,
    ProviderError, SecretRef, WhoActs,
};
use url::Url;

use crate::{
    api::{self, oauth::Tokens},
    manifest::{USER_INFO_BASIC, op},
};

const ACCESS: &str = "access_token";
const REFRESH: &str = "refresh_token";
/// Redirect addresses are shorter.
const MAX_REDIRECT: usize = 512;

pub(crate) struct LoginKit;

#[async_trait]
impl OAuthProvider for LoginKit {
    /// The rules of both redirect lists, Login Kit for Web and for Desktop. TikTok's own page only says `redirect_uri`.
    fn redirect_issues(&self, redirect_uri: &Url) -> Vec<String> {
        let mut issues = Vec::new();
        let mut issue = |wrong: bool, words: &str| {
            if wrong {
                issues.push(words.to_owned());
            }
        };
        let host = redirect_uri.host_str().unwrap_or_default();
        if matches!(host, "localhost" | "127.0.0.1") {
            issue(
                redirect_uri.port().is_none(),
                "TikTok takes addresses on this machine (the list of Login Kit for Desktop) only with a port",
            );
        } else {
            issue(
                redirect_uri.scheme() != "https",
                "TikTok takes only https addresses, except on localhost and 127.0.0.1",
            );
            issue(
                redirect_uri.domain().is_none(),
                "TikTok takes only addresses with a domain name, except 127.0.0.1",
            );
        }
        issue(
            redirect_uri.query().is_some() || redirect_uri.fragment().is_some(),
            "TikTok takes only redirect addresses without query and fragment",
        );
        issue(
            redirect_uri.as_str().len() >= MAX_REDIRECT,
            "TikTok takes only redirect addresses below 512 characters",
        );
        issues
    }

    async fn check_app(&self, ctx: &Ctx<'_>) -> Result<AppCheck, ProviderError> {
        api::oauth::parse_app_token(&ctx.send(api::oauth::app_token(ctx.app)).await?)?;
        Ok(AppCheck::Accepted)
    }

    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        if let [issue, ..] = &self.redirect_issues(&request.redirect_uri)[..] {
            let error = ProviderError::new(ErrorKind::Permanent, "redirect_uri", issue);
            return Err(error.for_who(WhoActs::Operator));
        }
        Ok(Authorize::Redirect {
            url: api::oauth::authorize_url(ctx.app, request),
            pending: serde_json::Value::Null,
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let response = ctx.send(api::oauth::exchange(ctx.app, callback)).await?;
        let tokens = api::oauth::parse_tokens(op::TOKEN_EXCHANGE, &response)?;
        let identity = if tokens.scopes.iter().any(|scope| scope == USER_INFO_BASIC) {
            let request = api::user::of_token(tokens.access_token.clone(), &tokens.scopes);
            let identity = api::user::parse(op::USER_INFO_CONNECT, &ctx.send(request).await?)?;
            same_person(&identity.remote_id, &tokens.open_id)?;
            identity
        } else {
            // The person kept the name to themselves; the token answer still says which account this is.
            nameless(&tokens.open_id)
        };
        Ok(Grant {
            identities: vec![identity],
            scopes: tokens.scopes.clone(),
            credentials: credentials(tokens, None),
        })
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        let account = ctx.account()?;
        let current = account.credentials.get(REFRESH)?;
        let response = ctx.send(api::oauth::refresh(ctx.app, current.clone())).await?;
        let tokens = api::oauth::parse_tokens(op::TOKEN_REFRESH, &response)?;
        same_person(&tokens.open_id, &account.remote_id)?;
        Ok(credentials(tokens, Some(current)))
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        let account = ctx.account()?;
        let response = ctx.send(api::user::of_account(&account.scopes)).await?;
        let identity = api::user::parse(op::USER_INFO, &response)?;
        same_person(&identity.remote_id, &account.remote_id)?;
        Ok(identity)
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        let token = ctx.account()?.credentials.get(ACCESS)?;
        api::oauth::parse_revoke(&ctx.send(api::oauth::revoke(ctx.app, token)).await?)
    }
}

/// A token of somebody else must never end up in an account.
fn same_person(found: &str, expected: &str) -> Result<(), ProviderError> {
    if found == expected {
        Ok(())
    } else {
        Err(ProviderError::new(
            ErrorKind::Permanent,
            "open_id_mismatch",
            "TikTok answered for another account than the one that was asked for",
        ))
    }
}

/// What came back is what is kept: TikTok may rotate the refresh token, and then the old one is dead.
fn credentials(tokens: Tokens, current_refresh: Option<SecretRef>) -> Credentials {
    let mut secrets = BTreeMap::from([(ACCESS.to_owned(), tokens.access_token)]);
    if let Some(refresh) = tokens.refresh_token.or(current_refresh) {
        secrets.insert(REFRESH.to_owned(), refresh);
    }
    Credentials {
        secrets,
        server: None,
        lifetimes: tokens.lifetimes,
    }
}

fn nameless(open_id: &str) -> Identity {
    Identity {
        remote_id: open_id.to_owned(),
        display_name: None,
        username: None,
        avatar_url: None,
        profile_url: None,
    }
}

//! Connecting accounts through Login Kit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use patchbay_core::{
    Authorize, AuthorizeRequest, Callback, Credentials, Ctx, ErrorKind, Grant, Identity, OAuthProvider, ProviderError,
    SecretRef, WhoActs,
};

use crate::{
    api::{self, oauth::Tokens},
    manifest::{USER_INFO_BASIC, op},
};

const ACCESS: &str = "access_token";
const REFRESH: &str = "refresh_token";

pub(crate) struct LoginKit;

#[async_trait]
impl OAuthProvider for LoginKit {
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        check_redirect(request)?;
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

/// The rules of both redirect lists (Login Kit for Web and for Desktop). TikTok's own page only says `redirect_uri`.
fn check_redirect(request: &AuthorizeRequest) -> Result<(), ProviderError> {
    let uri = &request.redirect_uri;
    if uri.query().is_some() || uri.fragment().is_some() || uri.as_str().len() >= 512 {
        return Err(ProviderError::new(
            ErrorKind::Permanent,
            "redirect_uri",
            "TikTok takes only redirect addresses below 512 characters, without query and fragment",
        )
        .for_who(WhoActs::Operator));
    }
    Ok(())
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

//! Connecting accounts.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use patchbay_core::{
    Authorize, AuthorizeRequest, Callback, CredentialLifetimes, Credentials, Ctx, ErrorKind, Grant, Identity,
    OAuthProvider, ProviderError, SecretRef,
};

use crate::{
    api::{self, Me, Tokens},
    error,
    manifest::op,
};

const ACCESS: &str = "access_token";
const REFRESH: &str = "refresh_token";

pub(crate) struct Connect;

#[async_trait]
impl OAuthProvider for Connect {
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        Ok(Authorize::Redirect {
            url: api::authorize_url(ctx.app, request),
            pending: serde_json::Value::Null,
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let answer = ctx.send(api::exchange(ctx.app, callback)).await?;
        let tokens: Tokens = error::read_token(op::TOKEN_EXCHANGE, &answer)?;
        let answer = ctx.send(api::me().as_bearer(tokens.access_token.clone())).await?;
        let me: Me = error::read(op::ME, &answer)?;
        Ok(Grant {
            identities: vec![identity(me)],
            scopes: tokens.scope.split_whitespace().map(str::to_owned).collect(),
            credentials: credentials(tokens, None),
        })
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        let current = ctx.account()?.credentials.get(REFRESH)?;
        let answer = ctx.send(api::refresh(ctx.app, current.clone())).await?;
        let tokens = error::read_token(op::TOKEN_REFRESH, &answer)?;
        Ok(credentials(tokens, Some(current)))
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        let answer = ctx.send(api::me().as_account()).await?;
        let identity = identity(error::read(op::ME, &answer)?);
        // A token of somebody else must never end up in an account.
        if identity.remote_id == ctx.account()?.remote_id {
            return Ok(identity);
        }
        let message = format!("{}: the answer is about another account", op::ME);
        Err(ProviderError::new(ErrorKind::Permanent, "another_account", message))
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        let token = ctx.account()?.credentials.get(REFRESH)?;
        let answer = ctx.send(api::revoke(ctx.app, token)).await?;
        // CHANGE: what the platform says of a grant that is gone already. Here it is a success (RFC 7009).
        error::read_token::<serde_json::Value>(op::TOKEN_REVOKE, &answer).map(|_| ())
    }
}

/// What is stored. Where no new refresh token came, the current one goes on.
fn credentials(tokens: Tokens, current: Option<SecretRef>) -> Credentials {
    let mut secrets = BTreeMap::from([(ACCESS.to_owned(), tokens.access_token)]);
    if let Some(refresh) = tokens.refresh_token.or(current) {
        secrets.insert(REFRESH.to_owned(), refresh);
    }
    Credentials {
        secrets,
        server: None,
        lifetimes: CredentialLifetimes {
            access: Some(Duration::from_secs(tokens.expires_in)),
            ..CredentialLifetimes::default()
        },
    }
}

fn identity(me: Me) -> Identity {
    Identity {
        // CHANGE: the id that stays when somebody takes another name.
        remote_id: me.id,
        display_name: Some(me.name),
        username: Some(me.handle),
        avatar_url: None,
        profile_url: None,
    }
}

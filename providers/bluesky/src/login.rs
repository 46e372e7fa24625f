//! Connecting an account by its handle and an app password.
//!
//! Who the account is, and which server holds it, comes from its own document and never from a server that somebody named:
//! the password goes to no other one, and no server can pose as another account's.

use async_trait::async_trait;
use patchbay_core::{
    Authorize, AuthorizeRequest, Callback, CredentialLifetimes, Credentials, Ctx, FormField, Grant, Identity,
    OAuthProvider, ProviderError, SecretRef,
};
use serde_json::Value;
use url::Url;

use crate::{
    api::{identity, repo, session},
    error, name,
};

const ACCESS: &str = "access_token";
const REFRESH: &str = "refresh_token";

const HANDLE: &str = "handle";
const PASSWORD: &str = "app_password";
const SERVER: &str = "server";

pub(crate) struct AppPassword;

#[async_trait]
impl OAuthProvider for AppPassword {
    async fn authorize(&self, _: &Ctx<'_>, _: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        let field = |name: &'static str, title: &'static str| FormField {
            name: name.into(),
            title: title.into(),
            secret: false,
            required: true,
        };
        Ok(Authorize::Form {
            fields: vec![
                field(HANDLE, "Handle, such as alice.bsky.social"),
                FormField {
                    secret: true,
                    ..field(
                        PASSWORD,
                        "App password (Bluesky: Settings, Privacy and security, App passwords)",
                    )
                },
                FormField {
                    required: false,
                    ..field(SERVER, "Server to ask about the handle, if Bluesky does not know it")
                },
            ],
            pending: Value::Null,
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let did = account_of(ctx, callback).await?;
        let home = identity::parse_document(&did, &ctx.send(identity::document(&did)).await?)?;
        let create = session::create(&home.server, &did, SecretRef::call(PASSWORD));
        let session = session::parse_created(&ctx.send(create).await?)?;
        same_account(&session.did, &did)?;
        // A server may say of its account what it likes; the document is the account's own.
        let handle = home.handles.contains(&session.handle).then(|| session.handle.clone());
        let display_name = display_name(ctx, &home.server, &did).await;
        Ok(Grant {
            identities: vec![identity(&did, handle, display_name)],
            scopes: Vec::new(),
            credentials: credentials(session, &home.server),
        })
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        let account = ctx.account()?;
        let server = server(ctx)?;
        let request = session::refresh(server, account.credentials.get(REFRESH)?);
        let session = session::parse_refreshed(&ctx.send(request).await?)?;
        same_account(&session.did, &account.remote_id)?;
        Ok(credentials(session, server))
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        let server = server(ctx)?;
        let (did, handle) = session::parse_got(&ctx.send(session::get(server)).await?)?;
        same_account(&did, &ctx.account()?.remote_id)?;
        let display_name = display_name(ctx, server, &did).await;
        Ok(identity(&did, name::handle(&handle), display_name))
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        let token = ctx.account()?.credentials.get(REFRESH)?;
        session::parse_deleted(&ctx.send(session::delete(server(ctx)?, token)).await?)
    }
}

/// The server that holds the account of a call.
pub(crate) fn server<'a>(ctx: &Ctx<'a>) -> Result<&'a Url, ProviderError> {
    let server = ctx.account()?.credentials.server.as_ref();
    server.ok_or_else(|| error::unexpected("credentials", "held no server"))
}

/// The permanent name of the account that a person wants to connect.
async fn account_of(ctx: &Ctx<'_>, callback: &Callback) -> Result<String, ProviderError> {
    let text = callback.params.get(HANDLE).map(|text| text.trim()).unwrap_or_default();
    if name::is_did(text) {
        return Ok(text.to_owned());
    }
    let handle = name::handle(text).ok_or_else(|| {
        error::wrong_input(
            "handle_malformed",
            "what was entered is no handle",
            "Enter the account's handle, such as alice.bsky.social. An e-mail address is none.",
        )
    })?;
    let server = match callback.params.get(SERVER).map(|text| text.trim()) {
        None | Some("") => None,
        Some(text) => Some(name::server(text).ok_or_else(|| {
            error::wrong_input(
                "server_malformed",
                "what was entered is no server",
                "Enter the name of the server alone, such as pds.example.com, or leave it out.",
            )
        })?),
    };
    let resolved = identity::parse_resolved(&ctx.send(identity::resolve(server.as_ref(), &handle)).await?)?;
    resolved.ok_or_else(|| {
        error::wrong_input(
            "handle_unknown",
            "the handle names no account",
            "No account has this handle. Look for a typing mistake, or name the server that the account is on.",
        )
    })
}

/// Tokens of somebody else must never end up in an account.
fn same_account(found: &str, expected: &str) -> Result<(), ProviderError> {
    if found == expected {
        Ok(())
    } else {
        Err(error::unexpected(
            "session",
            "is of another account than the one that was asked for",
        ))
    }
}

/// The lives of both tokens stand in them.
fn credentials(session: session::Session, server: &Url) -> Credentials {
    Credentials {
        secrets: [(ACCESS, session.access_token), (REFRESH, session.refresh_token)]
            .map(|(name, token)| (name.to_owned(), token))
            .into(),
        server: Some(server.clone()),
        lifetimes: CredentialLifetimes::default(),
    }
}

/// What the account calls itself. A nicety: without it, the connect is as good.
async fn display_name(ctx: &Ctx<'_>, server: &Url, did: &str) -> Option<String> {
    let response = ctx
        .send(repo::get(server, did, "app.bsky.actor.profile", "self"))
        .await
        .ok()?;
    let profile = repo::parse_got(&response).ok()??;
    let name = profile["displayName"].as_str()?.trim();
    let right = !name.is_empty() && name.len() <= 640 && !name.chars().any(char::is_control);
    right.then(|| name.to_owned())
}

fn identity(did: &str, handle: Option<String>, display_name: Option<String>) -> Identity {
    Identity {
        remote_id: did.to_owned(),
        display_name,
        username: handle,
        avatar_url: None,
        profile_url: Url::parse(&format!("https://bsky.app/profile/{did}")).ok(),
    }
}

#![doc = include_str!("../README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use patchbay_core::{
    Authorize, AuthorizeRequest, Body, Callback, Capability, Checkpoint, CredentialLifetimes, Credentials, Ctx, Effect,
    Grant, HttpRequest, Identity, KindRule, Manifest, Need, OAuthProvider, Op, Post, PostForm, PostKind, PostMode,
    Progress, Provider, ProviderError, ProviderId, Publication, Publisher, Scope, SecretRef, Settings, SettingsError,
    TextCount, TextRule,
};
use serde::Deserialize;
use serde_json::json;
use url::Url;

patchbay_provider_sdk::component!(build);

/// `[providers.notepad.settings]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Longest text.
    max_text: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_text: 500 }
    }
}

/// Makes the provider from its settings.
///
/// # Errors
/// A setting is unknown or has a value of another type.
pub fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError> {
    let config: Config = settings.read()?;
    Ok(Arc::new(Notepad {
        manifest: manifest(&config)?,
    }))
}

/// A platform that takes texts.
struct Notepad {
    manifest: Manifest,
}

fn manifest(config: &Config) -> Result<Manifest, SettingsError> {
    Ok(Manifest {
        id: ProviderId::parse("notepad").map_err(|error| SettingsError(error.to_string()))?,
        display_name: "Notepad",
        version: env!("CARGO_PKG_VERSION"),
        docs_url: "https://notepad.example/docs",
        scopes: vec![Scope {
            name: "notes.write",
            purpose: "Publish notes",
            default: true,
        }],
        needs: vec![Need {
            capability: Capability::PublishDirect,
            scopes: vec!["notes.write"],
        }],
        // All that it may call. What a call does to the world is said here, and the host builds on it.
        ops: vec![
            Op::new("token", "POST", "api.notepad.example", Effect::Prepare).secret("/access_token", "access_token"),
            Op::new("me", "GET", "api.notepad.example", Effect::Observe),
            Op::new("note.create", "POST", "api.notepad.example", Effect::Commit).any_scope(&["notes.write"]),
        ],
        buckets: Vec::new(),
        quotas: Vec::new(),
        kinds: vec![KindRule {
            kind: PostKind::Text,
            modes: vec![PostMode::Direct],
            title: None,
            text: Some(TextRule {
                max: config.max_text,
                count: TextCount::CodePoint,
            }),
            media: None,
            metrics: Vec::new(),
        }],
        options: Vec::new(),
        form: PostForm::default(),
        browser_hosts: vec!["notepad.example"],
    })
}

impl Provider for Notepad {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(self)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        Some(self)
    }
}

/// Tokens come as handles: the host has swapped them, as the op row says.
#[derive(Deserialize)]
struct Token {
    access_token: SecretRef,
    expires_in: u64,
    scope: String,
}

#[derive(Deserialize)]
struct Me {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Note {
    id: String,
    url: Option<Url>,
}

fn api(path: &str) -> Url {
    let mut url = Url::parse("https://api.notepad.example").expect("a URL");
    url.set_path(path);
    url
}

impl Notepad {
    async fn me(ctx: &Ctx<'_>, request: HttpRequest) -> Result<Identity, ProviderError> {
        let answer = ctx.send(request).await?;
        if !answer.is_success() {
            return Err(answer.classify());
        }
        let me: Me = answer.json()?;
        Ok(Identity {
            remote_id: me.id,
            display_name: Some(me.name),
            username: None,
            avatar_url: None,
            profile_url: None,
        })
    }
}

#[async_trait]
impl OAuthProvider for Notepad {
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        let mut url = api("/authorize");
        url.query_pairs_mut()
            .append_pair("client_id", &ctx.app.client_id)
            .append_pair("redirect_uri", request.redirect_uri.as_str())
            .append_pair("scope", &request.scopes.join(" "))
            .append_pair("state", &request.state);
        Ok(Authorize::Redirect {
            url,
            pending: serde_json::Value::Null,
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let form = vec![
            ("client_id".into(), ctx.app.client_id.as_str().into()),
            ("client_secret".into(), ctx.app.client_secret.clone().into()),
            ("code".into(), callback.code.clone().into()),
        ];
        let answer = ctx
            .send(HttpRequest::new("token", api("/token")).with_body(Body::Form(form)))
            .await?;
        if !answer.is_success() {
            return Err(answer.classify());
        }
        let token: Token = answer.json()?;
        let me = HttpRequest::new("me", api("/me")).as_bearer(token.access_token.clone());
        Ok(Grant {
            identities: vec![Self::me(ctx, me).await?],
            scopes: token.scope.split(' ').map(str::to_owned).collect(),
            credentials: Credentials {
                secrets: [("access_token".to_owned(), token.access_token)].into(),
                server: None,
                lifetimes: CredentialLifetimes {
                    access: Some(std::time::Duration::from_secs(token.expires_in)),
                    ..CredentialLifetimes::default()
                },
            },
        })
    }

    /// Its tokens cannot be renewed.
    async fn refresh(&self, _ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        Err(ProviderError::new(
            patchbay_core::ErrorKind::ReauthRequired,
            "no_refresh",
            "tokens of this platform cannot be renewed",
        ))
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        Self::me(ctx, HttpRequest::new("me", api("/me")).as_account()).await
    }
}

#[async_trait]
impl Publisher for Notepad {
    /// One step: the whole post. The host has written down that it is about to be sent, and keeps the answer, so that
    /// this may run again after a crash and still sends once.
    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, _at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        let request = HttpRequest::new("note.create", api("/notes"))
            .as_account()
            .with_body(Body::Json(json!({ "text": post.text })));
        let answer = ctx.send(request).await?;
        if !answer.is_success() {
            return Err(answer.classify());
        }
        let note: Note = answer.json()?;
        Ok(Progress::Published {
            publication: Publication {
                remote_ids: vec![note.id],
                url: note.url,
            },
            follow_up: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_agrees_with_itself() {
        let provider = build(&Settings::default()).unwrap();
        assert_eq!(provider.manifest().check(), Ok(()));
    }
}

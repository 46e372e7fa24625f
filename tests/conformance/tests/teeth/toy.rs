//! A provider for the made-up platform, and one way to break each law. A flaw has the name of the law that catches it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use patchbay_core::{
    Authorize, AuthorizeRequest, Body, Bucket, BucketScope, ByteRange, Callback, Capability, Checkpoint,
    CredentialLifetimes, Credentials, Ctx, Effect, ErrorKind, EventKind, FieldIssue, Grant, HttpRequest, HttpResponse,
    Identity, IncomingEvent, KindRule, MacEncoding, Manifest, MediaKind, MediaRule, Metric, Need, OAuthProvider, Op,
    Post, PostForm, PostKind, PostMetrics, PostMode, Progress, Provider, ProviderError, ProviderId, Publication,
    Publisher, Reconciled, Scope, SecretRef, SignatureFormat, SignatureScheme, SignedPart, TextCount, TextRule,
    Transfer, WebhookAuth, WebhookRequest, WebhookSource,
};
use patchbay_simkit::lock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::platform::{LOOKS_A_MINUTE, MAX_PART, POSTS_A_MINUTE};

/// All flaws.
pub const FLAWS: &[&str] = &[
    "manifest::sound",
    "manifest::same_at_every_call",
    "manifest::samples_fit",
    "manifest::requests_match_rows",
    "manifest::one_commit_a_step",
    "rates::as_the_platform_counts",
    "rates::kept_by_a_post",
    "oauth::authorize_url",
    "oauth::authorize_without_secret",
    "oauth::exchange",
    "oauth::rotation_kept",
    "oauth::identity_stable",
    "oauth::revoke_twice",
    "oauth::fault_keeps_grant",
    "errors::unauthorized",
    "errors::forbidden",
    "errors::not_found",
    "errors::request_timeout",
    "errors::rate_limited_seconds",
    "errors::rate_limited_date",
    "errors::rate_limited_bare",
    "errors::server_error",
    "errors::unavailable",
    "errors::html",
    "errors::empty",
    "errors::truncated",
    "errors::unknown_fields",
    "errors::refused_with_200",
    "errors::cut",
    "publish::comes_to_an_end",
    "publish::proved",
    "publish::checkpoint_small",
    "publish::restart_after_every_step",
    "publish::each_step_twice",
    "publish::not_sent",
    "publish::request_lost",
    "publish::answer_lost",
    "publish::killed_before_sending",
    "publish::killed_before_receipt",
    "publish::webhooks_twice",
    "publish::metrics_as_named",
    "media::whole",
    "media::in_bounds",
    "media::resumes",
    "media::not_held",
    "webhooks::genuine",
    "webhooks::forged",
    "webhooks::stale",
    "webhooks::understood",
    "webhooks::same_event_same_key",
    "webhooks::other_event_other_key",
    "webhooks::any_order",
    "webhooks::arbitrary_bytes",
    "termination::pending",
    "termination::repeated_answers",
    "termination::endless_faults",
    "secrets::fields_declared",
    "secrets::not_in_requests",
    "secrets::not_in_checkpoints",
    "secrets::not_in_errors",
];

static BUILT: AtomicU32 = AtomicU32::new(0);

pub fn build(flaw: &'static str) -> Arc<dyn Provider> {
    Arc::new(Toy {
        flaw,
        manifest: manifest(flaw),
        memory: Mutex::default(),
        parsed: AtomicU32::new(0),
    })
}

struct Toy {
    flaw: &'static str,
    manifest: Manifest,
    /// A provider has no memory; some flaws do.
    memory: Mutex<Option<State>>,
    parsed: AtomicU32,
}

fn manifest(flaw: &str) -> Manifest {
    use Effect::{Commit, Observe, Prepare};
    let op = |name, method, effect| Op::new(name, method, "api.toy.example", effect);
    let token = |name| {
        op(name, "POST", Prepare)
            .secret("/access_token", "access_token")
            .secret("/refresh_token", "refresh_token")
    };
    let create = op(
        "post.create",
        "POST",
        if flaw == "publish::each_step_twice" {
            Prepare
        } else {
            Commit
        },
    );
    let create = create.bucket("posts");
    let bucket = |name, limit| Bucket {
        name,
        limit,
        window: Duration::from_mins(1),
        scope: BucketScope::Account,
    };
    let posts = if flaw == "rates::as_the_platform_counts" {
        29
    } else {
        POSTS_A_MINUTE
    };
    let text = Some(TextRule {
        max: if flaw == "manifest::samples_fit" { 3 } else { 500 },
        count: TextCount::CodePoint,
    });
    let again = BUILT.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    Manifest {
        id: ProviderId::parse("toy").expect("a plain word"),
        display_name: "Toy",
        version: if flaw == "manifest::same_at_every_call" && again {
            "2"
        } else {
            "1"
        },
        docs_url: if flaw == "manifest::sound" {
            "http://toy.example/docs"
        } else {
            "https://toy.example/docs"
        },
        needs: vec![Need {
            capability: Capability::Metrics,
            scopes: vec!["read"],
        }],
        form: PostForm::default(),
        scopes: ["post", "read"]
            .map(|name| Scope {
                name,
                purpose: "Try it.",
                default: true,
            })
            .to_vec(),
        ops: vec![
            token("token.exchange"),
            token("token.refresh"),
            op("token.revoke", "POST", Prepare),
            op("me", "GET", Observe),
            create,
            op("post.list", "GET", Observe),
            op("post.get", "GET", Observe).bucket("looks"),
            op("upload.begin", "POST", Prepare),
            op("upload.part", "PUT", Prepare),
            op("upload.look", "GET", Observe),
        ],
        buckets: vec![bucket("posts", posts), bucket("looks", LOOKS_A_MINUTE)],
        quotas: Vec::new(),
        kinds: vec![
            KindRule {
                kind: PostKind::Text,
                modes: vec![PostMode::Direct],
                title: None,
                text,
                media: None,
                metrics: vec![Metric::Likes],
            },
            KindRule {
                kind: PostKind::Video,
                modes: vec![PostMode::Direct],
                title: None,
                text,
                media: Some(MediaRule {
                    kind: MediaKind::Video,
                    min_count: 1,
                    max_count: 1,
                    mimes: vec!["video/mp4"],
                    max_bytes: 1_000_000,
                    transfers: vec![Transfer::Upload],
                    codecs: Vec::new(),
                    side_pixels: None,
                    frame_rate: None,
                    max_duration: None,
                }),
                metrics: Vec::new(),
            },
        ],
        options: Vec::new(),
        browser_hosts: vec!["toy.example"],
    }
}

impl Provider for Toy {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(self)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

fn api(path: &str) -> Url {
    Url::parse("https://api.toy.example")
        .and_then(|base| base.join(path))
        .expect("a fixed URL")
}

impl Toy {
    fn is(&self, flaw: &str) -> bool {
        self.flaw == flaw
    }

    /// What the answer to a call holds.
    fn read<T: serde::de::DeserializeOwned>(
        &self,
        op: &str,
        effect: Effect,
        response: &HttpResponse,
    ) -> Result<T, ProviderError> {
        let open = |error: ProviderError| match effect {
            Effect::Commit => ProviderError::new(ErrorKind::OutcomeUnknown, error.code, error.message.to_string()),
            Effect::Observe | Effect::Prepare => error,
        };
        let error = |kind, code: &str| ProviderError::new(kind, code.to_owned(), format!("{op}: {code}"));
        if self.is("secrets::not_in_errors") && (response.status == 502 || response.is_success()) {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            if text.contains("canary") {
                return Err(open(ProviderError::new(ErrorKind::Permanent, "odd", text)));
            }
        }
        if self.is("errors::empty") && op == "me" && response.body.is_empty() && response.is_success() {
            panic!("nothing came");
        }
        if self.is("errors::html") && response.body.starts_with(b"<html") && response.is_success() {
            return Err(error(ErrorKind::ReauthRequired, "page"));
        }
        let body = serde_json::from_slice::<Value>(&response.body).ok();
        let code = body.as_ref().and_then(|body| body["error"]["code"].as_str());
        if let Some(code) = code {
            let kind = match code {
                "token_invalid" | "invalid_grant" => ErrorKind::ReauthRequired,
                "spam" | "part_too_large" | "upload_incomplete" => ErrorKind::InvalidRequest,
                "too_many" => ErrorKind::RateLimited,
                _ => ErrorKind::Permanent,
            };
            return Err(error(kind, code));
        }
        if !response.is_success() {
            return Err(self.by_status(op, effect, response));
        }
        if self.is("errors::truncated") && body.is_none() && response.body.starts_with(b"{") {
            return Err(error(ErrorKind::RateLimited, "half"));
        }
        if self.is("errors::unknown_fields")
            && body
                .as_ref()
                .is_some_and(|body| body.get("conformance_unknown").is_some())
        {
            return Err(error(ErrorKind::Permanent, "unknown_field"));
        }
        response.json().map_err(open)
    }

    fn by_status(&self, op: &str, effect: Effect, response: &HttpResponse) -> ProviderError {
        let class = response.classify();
        let kind = match (self.flaw, response.status) {
            ("errors::unauthorized", 401) | ("errors::forbidden", 403) | ("errors::not_found", 404) => {
                ErrorKind::Retryable
            }
            ("errors::request_timeout", 408) | ("errors::server_error", 500) | ("errors::unavailable", 503) => {
                ErrorKind::Permanent
            }
            ("errors::rate_limited_bare", 429) if response.retry_after().is_none() => ErrorKind::Permanent,
            // Nobody's word but the platform's ends a grant.
            (flaw, 401) if op == "token.refresh" && flaw != "oauth::fault_keeps_grant" => ErrorKind::Permanent,
            _ => class.kind,
        };
        let kind = match effect {
            Effect::Commit if kind == ErrorKind::Retryable => ErrorKind::OutcomeUnknown,
            _ => kind,
        };
        let error = ProviderError::new(kind, class.code, format!("{op}: HTTP status {}", response.status));
        let seconds = response
            .header("retry-after")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let wait = match self.flaw {
            "errors::rate_limited_seconds" => class.retry_after.filter(|_| seconds.is_none()),
            "errors::rate_limited_date" => seconds,
            _ => class.retry_after,
        };
        wait.map_or(
            ProviderError::new(error.kind, error.code.clone(), error.message.to_string()),
            |wait| error.after(wait),
        )
    }
}

#[derive(Deserialize)]
struct Tokens {
    access_token: SecretRef,
    refresh_token: Option<Value>,
    expires_in: u64,
    user_id: String,
    scope: String,
    session: Option<String>,
}

impl Tokens {
    fn credentials(&self, current: Option<SecretRef>) -> Credentials {
        let fresh = self
            .refresh_token
            .as_ref()
            .and_then(Value::as_str)
            .and_then(SecretRef::parse);
        let mut secrets = BTreeMap::from([("access_token".to_owned(), self.access_token.clone())]);
        if let Some(refresh) = fresh.or(current) {
            secrets.insert("refresh_token".to_owned(), refresh);
        }
        Credentials {
            server: None,
            secrets,
            lifetimes: CredentialLifetimes {
                access: Some(Duration::from_secs(self.expires_in)),
                ..CredentialLifetimes::default()
            },
        }
    }
}

#[derive(Deserialize)]
struct Me {
    id: String,
    name: String,
}

#[async_trait]
impl OAuthProvider for Toy {
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        let mut url = Url::parse("https://toy.example/authorize").expect("a fixed URL");
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &ctx.app.client_id)
            .append_pair("redirect_uri", request.redirect_uri.as_str())
            .append_pair("scope", &request.scopes.join(" "))
            .append_pair("state", &request.state);
        if !self.is("oauth::authorize_url") {
            query.append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(request.pkce.digest));
        }
        if self.is("oauth::authorize_without_secret") {
            query.append_pair("client_secret", ctx.app.client_secret.as_str());
        }
        drop(query);
        Ok(Authorize::Redirect {
            url,
            pending: Value::Null,
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let form = vec![
            ("grant_type".into(), "authorization_code".into()),
            ("code".into(), callback.code.clone().into()),
            ("code_verifier".into(), callback.pkce_verifier.clone().into()),
            ("client_secret".into(), ctx.app.client_secret.clone().into()),
        ];
        let request = HttpRequest::new("token.exchange", api("/token")).with_body(Body::Form(form));
        let tokens: Tokens = self.read("token.exchange", Effect::Prepare, &ctx.send(request).await?)?;
        let request = HttpRequest::new("me", api("/me")).as_bearer(tokens.access_token.clone());
        let me: Me = self.read("me", Effect::Observe, &self.ask(ctx, request).await?)?;
        let scopes = tokens.scope.split(' ').map(str::to_owned).collect();
        Ok(Grant {
            credentials: tokens.credentials(None),
            identities: vec![named(me.id, me.name)],
            scopes: if self.is("oauth::exchange") { Vec::new() } else { scopes },
        })
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        let current = ctx.account()?.credentials.get("refresh_token")?;
        let form = vec![
            ("grant_type".into(), "refresh_token".into()),
            ("refresh_token".into(), current.clone().into()),
            ("client_secret".into(), ctx.app.client_secret.clone().into()),
        ];
        let request = HttpRequest::new("token.refresh", api("/token")).with_body(Body::Form(form));
        let tokens: Tokens = self.read("token.refresh", Effect::Prepare, &ctx.send(request).await?)?;
        let credentials = tokens.credentials((!self.is("oauth::rotation_kept")).then_some(current));
        // Calls that nobody needs: what they break, they break alone.
        let mut request = HttpRequest::new("me", api("/me"));
        if let Some(session) = tokens.session {
            ctx.send(request.with_header("x-session", session)).await.ok();
        } else if self.is("manifest::requests_match_rows") {
            request.body = Body::Json(json!({}));
            ctx.send(request).await.ok();
        }
        if tokens.user_id.is_empty() {
            return Err(ProviderError::new(
                ErrorKind::Permanent,
                "nobody",
                "token.refresh: no user",
            ));
        }
        Ok(credentials)
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        let request = HttpRequest::new("me", api("/me")).as_account();
        let me: Me = self.read("me", Effect::Observe, &self.ask(ctx, request).await?)?;
        let id = if self.is("oauth::identity_stable") {
            me.name.clone()
        } else {
            me.id
        };
        Ok(named(id, me.name))
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        let token = ctx.account()?.credentials.get("access_token")?;
        let form = vec![("token".into(), token.into())];
        let request = HttpRequest::new("token.revoke", api("/revoke")).with_body(Body::Form(form));
        match self.read::<Value>("token.revoke", Effect::Prepare, &ctx.send(request).await?) {
            Err(error) if error.code == "invalid_token" && !self.is("oauth::revoke_twice") => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

fn named(remote_id: String, name: String) -> Identity {
    Identity {
        remote_id,
        display_name: Some(name),
        username: None,
        avatar_url: None,
        profile_url: None,
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Begin,
    Upload {
        upload: String,
        at: u64,
        /// The same part once more: for flaws.
        again: bool,
    },
    Look {
        upload: String,
    },
    Create {
        upload: Option<String>,
    },
    Watch {
        post: String,
        since: DateTime<Utc>,
        note: Option<String>,
    },
    Done {
        post: String,
    },
}

#[derive(Deserialize)]
struct Begun {
    upload: String,
}

#[derive(Deserialize)]
struct HeldBytes {
    held: u64,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    session: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    posts: Vec<Shown>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    id: String,
    state: Option<String>,
}

impl Toy {
    fn go_on(&self, state: &State, wake_after: Duration) -> Result<Progress, ProviderError> {
        let phase = match state {
            State::Begin | State::Upload { .. } | State::Look { .. } => "uploading",
            State::Create { .. } => "posting",
            State::Watch { .. } | State::Done { .. } => "processing",
        };
        let mut checkpoint = match self.flaw {
            "publish::restart_after_every_step" => {
                *lock(&self.memory) = Some(state.clone());
                Checkpoint::new(phase, &Value::Null)?
            }
            "publish::checkpoint_small" => {
                Checkpoint::new(phase, &json!({ "state": state, "pad": "x".repeat(20_000) }))?
            }
            _ => Checkpoint::new(phase, &json!({ "state": state }))?,
        };
        if let State::Watch { post, .. } = state {
            checkpoint = checkpoint.known_as(post.clone());
        }
        Ok(Progress::Continue { checkpoint, wake_after })
    }

    fn state(&self, post: &Post, at: Option<&Checkpoint>) -> Result<State, ProviderError> {
        let Some(at) = at else {
            let is_text = post.media.is_empty();
            return Ok(if is_text {
                State::Create { upload: None }
            } else {
                State::Begin
            });
        };
        if self.is("publish::restart_after_every_step") {
            let state = lock(&self.memory).clone();
            return state.ok_or_else(|| ProviderError::new(ErrorKind::Permanent, "forgotten", "nothing is known"));
        }
        #[derive(Deserialize)]
        struct Kept {
            state: State,
        }
        at.read::<Kept>().map(|kept| kept.state)
    }

    async fn find(&self, ctx: &Ctx<'_>, post: &Post) -> Result<Option<String>, ProviderError> {
        let request = HttpRequest::new("post.list", api("/posts"))
            .as_account()
            .with_query("client_ref", post.id.to_string());
        let listed: Listed = self.read("post.list", Effect::Observe, &ctx.send(request).await?)?;
        Ok(listed.posts.into_iter().next().map(|found| found.id))
    }

    /// Who it is.
    async fn ask(&self, ctx: &Ctx<'_>, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let answer = ctx.send(request).await;
        match self.flaw {
            "errors::cut" => Ok(answer.expect("the network works")),
            _ => answer,
        }
    }

    async fn send(&self, ctx: &Ctx<'_>, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let again = self.is("termination::endless_faults").then(|| request.clone());
        let answer = ctx.send(request).await;
        if let (Some(request), Ok(HttpResponse { status: 500.., .. })) = (again, &answer) {
            for _ in 0..20 {
                ctx.send(request.clone()).await.ok();
            }
        }
        answer.map_err(|error| match self.flaw {
            "publish::not_sent" if error.code == "not_sent" => ProviderError {
                kind: ErrorKind::Permanent,
                ..error
            },
            _ => error,
        })
    }

    async fn create(&self, ctx: &Ctx<'_>, post: &Post, upload: Option<&str>) -> Result<Progress, ProviderError> {
        let body = json!({ "text": post.text, "client_ref": post.id.to_string(), "upload": upload });
        let request = HttpRequest::new("post.create", api("/posts"))
            .as_account()
            .with_body(Body::Json(body));
        let again = self.is("manifest::one_commit_a_step").then(|| request.clone());
        let created: Created = self.read("post.create", Effect::Commit, &self.send(ctx, request).await?)?;
        if let Some(request) = again {
            self.send(ctx, request).await.ok();
        }
        let watch = State::Watch {
            post: created.id.clone(),
            since: ctx.now,
            note: created.session,
        };
        let next = if self.is("publish::proved") {
            State::Done { post: created.id }
        } else {
            watch
        };
        self.go_on(&next, Duration::from_secs(6))
    }

    async fn part(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        upload: String,
        at: u64,
        again: bool,
    ) -> Result<Progress, ProviderError> {
        let media = post
            .media
            .first()
            .ok_or_else(|| ProviderError::new(ErrorKind::InvalidRequest, "count", "no file"))?;
        let size = media.info.size_bytes.unwrap_or_default();
        let part = if self.is("media::in_bounds") && !again {
            size
        } else {
            MAX_PART as u64
        };
        let range = ByteRange {
            start: at,
            end: (at + part).min(size),
        };
        let content_type = "video/mp4".into();
        let body = if self.is("media::not_held") {
            let bytes = Bytes::from(vec![7; usize::try_from(range.len()).unwrap_or_default()]);
            Body::Bytes { content_type, bytes }
        } else {
            Body::Media {
                media: media.id,
                range,
                content_type,
            }
        };
        let request = HttpRequest::new("upload.part", api(&format!("/uploads/{upload}")))
            .as_account()
            .with_header("x-offset", at.to_string())
            .with_body(body);
        let answer = match self.send(ctx, request).await {
            Err(error) if error.code == "answer_lost" => {
                let begin = self.is("media::resumes");
                let next = if begin { State::Begin } else { State::Look { upload } };
                return self.go_on(&next, Duration::ZERO);
            }
            other => other?,
        };
        let held: HeldBytes = match self.read("upload.part", Effect::Prepare, &answer) {
            Err(error) if error.code == "out_of_order" => return self.go_on(&State::Look { upload }, Duration::ZERO),
            Err(error) if error.code == "part_too_large" && self.is("media::in_bounds") => {
                let again = true;
                return self.go_on(&State::Upload { upload, at, again }, Duration::ZERO);
            }
            other => other?,
        };
        if self.is("media::whole") && at == 0 && !again {
            let again = true;
            return self.go_on(&State::Upload { upload, at, again }, Duration::ZERO);
        }
        if held.held <= at {
            let message = "upload.part: the platform took the part, and holds no more than before";
            return Err(ProviderError::new(ErrorKind::Permanent, "stuck", message));
        }
        self.next(upload, held.held, size)
    }

    fn next(&self, upload: String, held: u64, size: u64) -> Result<Progress, ProviderError> {
        let state = if held >= size {
            State::Create { upload: Some(upload) }
        } else {
            let again = false;
            State::Upload {
                upload,
                at: held,
                again,
            }
        };
        self.go_on(&state, Duration::ZERO)
    }

    async fn watch(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        id: String,
        since: DateTime<Utc>,
    ) -> Result<Progress, ProviderError> {
        let request = HttpRequest::new("post.get", api(&format!("/posts/{id}"))).as_account();
        let answer = self.send(ctx, request).await?;
        let refused = String::from_utf8_lossy(&answer.body).contains("spam");
        let shown = if self.is("errors::refused_with_200") && refused {
            Shown {
                id: id.clone(),
                state: None,
            }
        } else {
            self.read("post.get", Effect::Observe, &answer)?
        };
        if shown.state.as_deref() == Some("published") {
            if self.is("publish::comes_to_an_end") {
                let message = "advance is not written to its end";
                return Err(ProviderError::new(ErrorKind::Permanent, "unfinished", message));
            }
            return Ok(published(id));
        }
        if self.is("publish::webhooks_twice") && ctx.now == since {
            return self.create(ctx, post, None).await;
        }
        let waited = (ctx.now - since).to_std().unwrap_or_default();
        if waited > Duration::from_hours(24) && !self.is("termination::pending") {
            return Err(ProviderError::new(
                ErrorKind::Permanent,
                "timeout",
                "post.get: a day of processing",
            ));
        }
        let wait = if self.is("rates::kept_by_a_post") && waited < Duration::from_mins(1) {
            Duration::from_millis(100)
        } else {
            (waited / 4).clamp(Duration::from_secs(6), Duration::from_mins(30))
        };
        let note = None;
        self.go_on(&State::Watch { post: id, since, note }, wait)
    }
}

fn published(id: String) -> Progress {
    Progress::Published {
        publication: Publication {
            remote_ids: vec![id],
            url: None,
        },
        follow_up: None,
    }
}

#[async_trait]
impl Publisher for Toy {
    fn validate(&self, _: &Post) -> Vec<FieldIssue> {
        Vec::new()
    }

    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        match self.state(post, at)? {
            State::Begin => {
                let size = post.media.first().and_then(|media| media.info.size_bytes);
                let request = HttpRequest::new("upload.begin", api("/uploads"))
                    .as_account()
                    .with_body(Body::Json(json!({ "size": size })));
                let begun: Begun = self.read("upload.begin", Effect::Prepare, &self.send(ctx, request).await?)?;
                self.go_on(
                    &State::Upload {
                        upload: begun.upload,
                        at: 0,
                        again: false,
                    },
                    Duration::ZERO,
                )
            }
            State::Upload { upload, at, again } => self.part(ctx, post, upload, at, again).await,
            State::Look { upload } => {
                let request = HttpRequest::new("upload.look", api(&format!("/uploads/{upload}"))).as_account();
                let held: HeldBytes = self.read("upload.look", Effect::Observe, &self.send(ctx, request).await?)?;
                let size = post
                    .media
                    .first()
                    .and_then(|media| media.info.size_bytes)
                    .unwrap_or_default();
                self.next(upload, held.held, size)
            }
            State::Create { upload } => self.create(ctx, post, upload.as_deref()).await,
            State::Watch { post: id, since, .. } => self.watch(ctx, post, id, since).await,
            State::Done { post } => Ok(published(post)),
        }
    }

    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        _: Option<&Checkpoint>,
        _: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        match self.flaw {
            "publish::request_lost" => {
                return Ok(Reconciled::Happened {
                    progress: published("1".to_owned()),
                });
            }
            "publish::answer_lost" | "publish::killed_before_receipt" => {
                return Ok(Reconciled::DidNotHappen { checkpoint: None });
            }
            _ => {}
        }
        Ok(match self.find(ctx, post).await? {
            Some(id) => Reconciled::Happened {
                progress: self.go_on(
                    &State::Watch {
                        post: id,
                        since: ctx.now,
                        note: None,
                    },
                    Duration::from_secs(6),
                )?,
            },
            None if self.is("publish::killed_before_sending") => {
                return Err(ProviderError::new(ErrorKind::Permanent, "confused", "what now"));
            }
            None => Reconciled::DidNotHappen { checkpoint: None },
        })
    }

    async fn metrics(&self, ctx: &Ctx<'_>, ids: &[String]) -> Result<Vec<PostMetrics>, ProviderError> {
        let mut after: Option<String> = None;
        loop {
            let mut request = HttpRequest::new("post.list", api("/posts")).as_account();
            if let Some(after) = &after {
                request = request.with_query("after", after.clone());
            }
            let listed: Listed = self.read("post.list", Effect::Observe, &ctx.send(request).await?)?;
            if listed.next.is_none() || (listed.next == after && !self.is("termination::repeated_answers")) {
                break;
            }
            after = listed.next;
        }
        let mut found = Vec::new();
        for id in ids {
            let request = HttpRequest::new("post.get", api(&format!("/posts/{id}"))).as_account();
            let response = ctx.send(request).await?;
            if response.status == 404 && !self.is("publish::metrics_as_named") {
                continue;
            }
            if response.status != 404 {
                let _: Shown = self.read("post.get", Effect::Observe, &response)?;
            }
            found.push(PostMetrics::of(id.clone(), [(Metric::Likes, Some(1))]));
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Hook {
    id: Option<u64>,
    event: String,
    post: Option<String>,
    at: Option<i64>,
}

#[async_trait]
impl WebhookSource for Toy {
    fn auth(&self) -> WebhookAuth {
        let signed = match self.flaw {
            "webhooks::forged" => vec![SignedPart::Timestamp, SignedPart::Literal(".")],
            _ => vec![SignedPart::Timestamp, SignedPart::Literal("."), SignedPart::Body],
        };
        WebhookAuth {
            schemes: vec![SignatureScheme {
                name: "toy".into(),
                header: if self.is("webhooks::genuine") {
                    "x-signature"
                } else {
                    "toy-signature"
                }
                .into(),
                format: SignatureFormat::TimestampAndMac {
                    timestamp: "t",
                    mac: "s",
                },
                signed,
                encoding: MacEncoding::Hex,
                tolerance: Duration::from_mins(if self.is("webhooks::stale") { 600_000 } else { 5 }),
            }],
        }
    }

    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError> {
        let bad = |what: &str| ProviderError::new(ErrorKind::Permanent, "malformed", what.to_owned());
        if self.is("webhooks::arbitrary_bytes") {
            let value: Value = serde_json::from_slice(&raw.body).unwrap_or_default();
            assert!(value.is_object(), "webhooks are objects");
        }
        let hook: Hook = serde_json::from_slice(&raw.body).map_err(|_| bad("the body is not what is documented"))?;
        let id = hook.id.ok_or_else(|| bad("the body has no id"))?;
        if self.is("webhooks::understood") && hook.event != "post.published" {
            return Err(bad("an event that is not known here"));
        }
        let mut dedupe_key = format!("{id}:{}:{}", hook.event, hook.post.as_deref().unwrap_or_default());
        if self.is("webhooks::same_event_same_key") {
            dedupe_key = format!("{id}:{}", raw.received_at.timestamp());
        }
        if self.is("webhooks::other_event_other_key") {
            dedupe_key = format!("{id}:{}", hook.event);
        }
        if self.is("webhooks::any_order") {
            dedupe_key = format!("{id}:{}", self.parsed.fetch_add(1, Ordering::Relaxed));
        }
        Ok(vec![IncomingEvent {
            kind: match &hook.post {
                Some(_) => EventKind::PostProgress,
                None => EventKind::Other,
            },
            name: hook.event,
            remote_account: None,
            remote_ref: hook.post,
            dedupe_key,
            occurred_at: hook.at.and_then(|at| DateTime::from_timestamp(at, 0)),
            payload: Value::Null,
        }])
    }
}

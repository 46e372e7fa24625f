//! A component that does what no component may: what the text of the post, or the setting `describe`, asks for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use patchbay_core::{
    Auth, Authorize, AuthorizeRequest, Body, ByteRange, Callback, Checkpoint, Credentials, Ctx, Effect, FieldIssue,
    Grant, HttpRequest, Identity, IncomingEvent, KindRule, MacEncoding, Manifest, MediaId, OAuthProvider, Op, Post,
    PostForm, PostKind, PostMode, Progress, Provider, ProviderError, ProviderId, Publication, Publisher, SecretRef,
    Settings, SettingsError, SignatureFormat, SignatureScheme, SignedPart, TextCount, TextRule, Value, WebhookAuth,
    WebhookRequest, WebhookSource,
};
use serde_json::json;
use url::Url;

patchbay_provider_sdk::component!(build);

/// Calls of this instance.
static CALLS: AtomicU64 = AtomicU64::new(0);

pub fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError> {
    let how = settings
        .0
        .get("describe")
        .and_then(|how| how.as_str())
        .unwrap_or_default();
    match how {
        "refuse" => return Err(SettingsError("no setting will do".to_owned())),
        "loop" => spin(),
        "panic" => panic!("asked to"),
        _ => {}
    }
    let id = settings.0.get("id").and_then(|id| id.as_str()).unwrap_or("hostile");
    let mut manifest = Manifest {
        id: ProviderId::parse(id).map_err(|error| SettingsError(error.to_string()))?,
        display_name: "Hostile",
        version: "0.1.0",
        docs_url: "https://hostile.example",
        scopes: Vec::new(),
        needs: Vec::new(),
        ops: vec![
            Op::new("look", "GET", "api.hostile.example", Effect::Observe),
            Op::new("post", "POST", "api.hostile.example", Effect::Commit),
        ],
        buckets: Vec::new(),
        quotas: Vec::new(),
        kinds: vec![KindRule {
            kind: PostKind::Text,
            modes: vec![PostMode::Direct],
            title: None,
            text: Some(TextRule {
                max: 1000,
                count: TextCount::CodePoint,
            }),
            media: None,
            metrics: Vec::new(),
        }],
        options: Vec::new(),
        form: PostForm::default(),
        browser_hosts: Vec::new(),
    };
    match how {
        "giant" => manifest.docs_url = String::leak("x".repeat(100_000)),
        "giant_list" => manifest.browser_hosts = vec![""; 1_000_000],
        "answers" => manifest.ops[0].max_answer_bytes = 1 << 30,
        "contradiction" => manifest.ops.push(manifest.ops[0].clone()),
        // A name that may lead anywhere, and what is no name.
        "inside" => manifest
            .ops
            .push(Op::new("inside", "GET", "inside.example.com", Effect::Observe)),
        "address" => manifest
            .ops
            .push(Op::new("inside", "GET", "169.254.169.254", Effect::Observe)),
        _ => {}
    }
    Ok(Arc::new(Hostile { manifest }))
}

struct Hostile {
    manifest: Manifest,
}

impl Provider for Hostile {
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

fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

#[allow(unconditional_recursion)]
fn recurse(n: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(n + 1)) + 1)
}

/// The one host that it may reach.
const OURS: &str = "https://api.hostile.example";

fn look(url: &str) -> HttpRequest {
    HttpRequest::new("look", Url::parse(url).expect("a URL"))
}

fn with_header(name: &'static str, value: &str) -> HttpRequest {
    let mut request = look(OURS);
    request.headers.push((name.into(), Value::Text(value.to_owned())));
    request
}

/// An irreversible call.
fn commit(path: &str) -> HttpRequest {
    let post = HttpRequest::new("post", Url::parse(&format!("{OURS}{path}")).expect("a URL"));
    post.as_account().with_body(Body::Json(json!({})))
}

async fn misbehave(ctx: Option<&Ctx<'_>>, how: &str) -> Result<String, ProviderError> {
    let send = async |request: HttpRequest| ctx.expect("a call with HTTP").send(request).await;
    let mut said = String::new();
    match how {
        "loop" => spin(),
        "memory" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
            }
        }
        "memory_at_once" => drop(std::hint::black_box(vec![1_u8; 1 << 30])),
        "recursion" => said = recurse(0).to_string(),
        "panic" => panic!("asked to"),
        "error" => {
            let error = ProviderError::new(
                patchbay_core::ErrorKind::Permanent,
                "free text, with\nlines",
                "m".repeat(1 << 20),
            );
            return Err(error.of_quota("not in the manifest").advise("a".repeat(1 << 20)));
        }
        "giant" => said = "x".repeat(20 << 20),
        "log" =>
        {
            #[cfg(target_arch = "wasm32")]
            for n in 0..1_000_000 {
                use patchbay_provider_sdk::guest::bindings::patchbay::provider::log;
                log::write(
                    log::Level::Info,
                    &format!("flood {n}\n\u{1b}[31m{}", "y".repeat(10_000)),
                );
            }
        }
        "count" => said = CALLS.fetch_add(1, Ordering::Relaxed).to_string(),
        "flood" => {
            for _ in 0..10_000 {
                send(look(OURS)).await?;
            }
        }
        "look" => said = send(look(OURS)).await?.status.to_string(),
        "commit_then_loop" => {
            send(commit("/posts")).await?;
            spin();
        }
        "commit_twice" => {
            send(commit("/posts")).await?;
            send(commit("/posts")).await?;
        }
        // The platform refuses, which is not said.
        "commit_refused" => drop(send(commit("/refused")).await?),
        "forged" => {
            let mut request = look(OURS);
            request.auth = Auth::Bearer(SecretRef::account("somebody_else"));
            send(request).await?;
        }
        "foreign_file" => {
            let request = HttpRequest {
                body: Body::Media {
                    content_type: "video/mp4".into(),
                    media: MediaId::from_uuid(uuid::Uuid::from_u128(7)),
                    range: ByteRange { start: 0, end: 1 },
                },
                ..commit("/posts")
            };
            send(request).await?;
        }
        "undeclared_op" => {
            let mut request = look(OURS);
            request.op = "anything".into();
            send(request).await?;
        }
        "header_injection" => drop(send(with_header("x-note", "a\r\nauthorization: Bearer b")).await?),
        "host_header" => drop(send(with_header("host", "evil.example")).await?),
        "inside" => {
            let mut request = look("https://inside.example.com/");
            request.op = "inside".into();
            send(request).await?;
        }
        // Goes where the platform sends it.
        "redirect" => {
            let answer = send(look(&format!("{OURS}/redirect"))).await?;
            let to = answer.header("location").expect("a redirect").to_owned();
            send(look(&to)).await?;
        }
        url if url.starts_with("http") => {
            send(look(url)).await?;
        }
        other => said = other.to_owned(),
    }
    Ok(said)
}

/// Connects anybody without asking anyone: the code of the callback is the token, and the parameters `who` and `how` say
/// whose account it is and what else it does.
#[async_trait]
impl OAuthProvider for Hostile {
    async fn authorize(&self, _ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        let mut url = Url::parse("https://hostile.example/authorize").expect("a URL");
        url.query_pairs_mut().append_pair("state", &request.state);
        Ok(Authorize::Redirect {
            url,
            pending: json!(null),
        })
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        if let Some(how) = callback.params.get("how") {
            misbehave(Some(ctx), how).await?;
        }
        Ok(Grant {
            credentials: Credentials {
                secrets: [("access_token".to_owned(), callback.code.clone())].into(),
                ..Credentials::default()
            },
            identities: vec![Identity {
                remote_id: callback.params.get("who").cloned().unwrap_or("somebody".to_owned()),
                display_name: None,
                username: None,
                avatar_url: None,
                profile_url: None,
            }],
            scopes: Vec::new(),
        })
    }

    async fn refresh(&self, _ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        spin()
    }

    async fn identity(&self, _ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        spin()
    }
}

#[async_trait]
impl Publisher for Hostile {
    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        match post.text.as_deref() {
            Some("validate_loop") => spin(),
            Some("validate_issue") => vec![FieldIssue::new("/text", "never", "Never like this.")],
            _ => Vec::new(),
        }
    }

    /// Says that it was published, whatever it has done.
    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, _at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        let said = misbehave(Some(ctx), post.text.as_deref().unwrap_or_default()).await?;
        Ok(Progress::Published {
            publication: Publication {
                remote_ids: vec![said],
                url: None,
            },
            follow_up: None,
        })
    }
}

#[async_trait]
impl WebhookSource for Hostile {
    fn auth(&self) -> WebhookAuth {
        WebhookAuth {
            schemes: vec![SignatureScheme {
                name: "hostile".into(),
                header: "hostile-signature".into(),
                format: SignatureFormat::Bare { prefix: "" },
                signed: vec![SignedPart::Body],
                encoding: MacEncoding::Hex,
                tolerance: Duration::from_secs(300),
            }],
        }
    }

    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError> {
        misbehave(None, &String::from_utf8_lossy(&raw.body)).await?;
        Ok(Vec::new())
    }
}

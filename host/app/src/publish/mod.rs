//! Publishing: a post is checked and stored in the request, and carried out step by step by workers.

mod record;
mod step;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    AccountId, CanPost, Ctx, ErrorKind, EventId, FieldIssue, JobId, MediaId, MediaInfo, MediaKind, MediaOrigin, Post,
    PostId, PostKind, PostMedia, PostMetrics, PostMode, ProviderError, ProviderId, PublishOptions, Publisher, TenantId,
    Transfer,
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) use step::run as run_step;

use crate::{
    App, failpoint,
    limits::{self, Counted, LimitUse},
    model::{Account, AccountStatus, Content, JobKind, NewEvent, NewJob, NewPost, PostRecord, PullUrl},
    outbound::{Outbound, pull_token_hash},
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::{CancelOutcome, Enqueued},
    tokens::{self, CALL_MARGIN, Ready},
};

/// How old a preflight answer may be when a post is checked against it.
const PREFLIGHT_TTL: Duration = Duration::from_mins(1);
/// How long the files of a post are kept after its time: longer than it waits for a reconnect.
const KEEP_MEDIA: TimeDelta = TimeDelta::days(8);
/// Longest media URL.
const MAX_URL: usize = 2048;

/// One file of a wanted post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum WantedMedia {
    /// A stored file, and how it is to reach the platform; `None`: as the platform's kind of post has it.
    Stored(MediaId, Option<StoredTransfer>),
    /// A public URL that the platform is to fetch.
    Url(String),
}

/// How a stored file reaches the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredTransfer {
    /// We send its bytes.
    Upload,
    /// The platform fetches it from a URL of this host.
    Pull,
}

/// A wanted post.
#[derive(Debug, Clone, Serialize)]
pub struct WantedPost {
    /// Account.
    pub account: AccountId,
    /// Kind.
    pub kind: PostKind,
    /// How far Patchbay takes it.
    pub mode: PostMode,
    /// Title.
    pub title: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Files.
    pub media: Vec<WantedMedia>,
    /// The platform's own options.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// A stored post.
#[derive(Debug)]
pub struct Submitted {
    /// The post.
    pub post: PostRecord,
    /// The same request came before.
    pub replayed: bool,
    /// Quotas that it counts for, and rate buckets.
    pub limits: Vec<LimitUse>,
}

/// Checks and stores a post. Nothing irreversible happens here.
///
/// # Errors
/// What is wrong with the request, the account or the platform, in this order.
pub async fn submit(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    wanted: WantedPost,
    idempotency_key: String,
    correlation_id: &str,
) -> Result<Submitted, Problem> {
    let (account, registered) = find_account(app, tenant, provider, wanted.account).await?;
    let publisher = publisher(&registered)?;
    let id = PostId::from_uuid(app.env.ids.next());
    let fingerprint = Sha256::digest(json!(wanted).to_string().as_bytes()).into();
    let scheduled_at = wanted.scheduled_at;
    let content = resolve(app, tenant, &registered, wanted).await?;
    let post = content.as_post(id);
    let mut issues = registered.manifest().check_post(&post);
    if issues.is_empty() {
        issues = publisher.validate(&post);
    }
    if !issues.is_empty() {
        return Err(Problem::invalid(issues));
    }
    preflight(app, &account, &post).await?;

    // A post may wait for its time, and then for its account: its files wait with it.
    let begins = scheduled_at.unwrap_or_else(|| app.env.now());
    let until = begins.checked_add_signed(KEEP_MEDIA).unwrap_or(begins);
    for media in content.media.iter().filter(|media| media.origin.is_ours()) {
        app.store.keep_media(tenant, media.id, until).await?;
    }
    let new = NewPost {
        id,
        tenant,
        account: account.id,
        provider: account.provider.clone(),
        simulated: account.simulated,
        content,
        scheduled_at,
        idempotency_key,
        fingerprint,
        correlation_id: correlation_id.to_owned(),
    };
    let job = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant,
        kind: JobKind::Publish,
        target: id.as_uuid(),
        concurrency_key: Some(account.id.to_string()),
        run_at: scheduled_at,
        correlation_id: correlation_id.to_owned(),
    };
    let (post, replayed) = match app.store.enqueue_post(&new, &job).await? {
        Enqueued::Created(post) => (*post, false),
        Enqueued::Replayed(post) => (*post, true),
        Enqueued::KeyReused => {
            return Err(Problem::new(
                ProblemKind::IdempotencyKeyReused,
                "Send the same body as before under this Idempotency-Key, or use a new key for a new post.",
            ));
        }
    };
    failpoint::hit("pub.intent");
    app.wake();
    let limits = limits_of(app, &post).await?;
    Ok(Submitted { post, replayed, limits })
}

/// What the limits leave to a post's account: quotas that the post counts for, and rate buckets.
///
/// # Errors
/// The store failed.
pub async fn limits_of(app: &App, post: &PostRecord) -> Result<Vec<LimitUse>, Problem> {
    // Of a platform that is no longer set up nothing is known.
    let Ok(registered) = app.registered(&post.provider) else {
        return Ok(Vec::new());
    };
    limit_uses(app, &registered, post.tenant, post.account, Some(post.content.mode)).await
}

async fn limit_uses(
    app: &App,
    registered: &Registered,
    tenant: TenantId,
    account: AccountId,
    mode: Option<PostMode>,
) -> Result<Vec<LimitUse>, Problem> {
    let uses = limits::uses(app, registered, tenant, account, mode).await?;
    for found in uses.iter().filter(|found| matches!(found.counted, Counted::Posts(_))) {
        metrics::gauge!("patchbay_quota_used_ratio", "provider" => registered.id().to_string(), "quota" => found.name)
            .set(f64::from(found.used) / f64::from(found.limit.max(1)));
    }
    Ok(uses)
}

/// What an account may post now: the platform's live answer, and what its limits leave.
///
/// # Errors
/// The account is not this tenant's or not usable, or the platform did not answer.
pub async fn options(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    account: AccountId,
) -> Result<(PublishOptions, Vec<LimitUse>, Arc<Registered>), Problem> {
    let (account, registered) = find_account(app, tenant, provider, account).await?;
    let options = ask_options(app, &account).await?;
    let limits = limit_uses(app, &registered, account.tenant, account.id, None).await?;
    Ok((options, limits, registered))
}

/// Numbers of a published post.
///
/// # Errors
/// The post is not this tenant's or has no public id yet, or the platform did not answer.
pub async fn metrics(app: &Arc<App>, tenant: TenantId, id: PostId) -> Result<Vec<PostMetrics>, Problem> {
    let post = app
        .store
        .post(tenant, id)
        .await?
        .ok_or_else(|| Problem::not_found("post"))?;
    if post.publication.remote_ids.is_empty() {
        return Err(Problem::new(
            ProblemKind::PostNotPublished,
            "The platform has not told a public id of this post. Private posts never get one.",
        ));
    }
    let registered = app.registered(&post.provider)?;
    let publisher = publisher(&registered)?;
    let Ready { account, secrets, view } = tokens::ready(app, tenant, post.account, CALL_MARGIN).await?;
    let outbound = Outbound::new(app, &registered, Some(&account), secrets, &post.correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&view));
    Ok(publisher.metrics(&ctx, &post.publication.remote_ids).await?)
}

/// The file behind the token of a pull URL; `None`: there is no such URL. With `takes`, its bytes are about to be given out.
///
/// # Errors
/// The store failed.
pub async fn pull_file(app: &App, token: &str, takes: bool) -> Result<Option<PullUrl>, Problem> {
    Ok(app.store.pull_url(pull_token_hash(token), takes).await?)
}

/// Stops a post: at once if it has not begun, else as far as the platform can.
///
/// # Errors
/// The post is not this tenant's, or has ended.
pub async fn cancel(app: &Arc<App>, tenant: TenantId, id: PostId) -> Result<PostRecord, Problem> {
    let event = post_event(app, id, "post.cancelled", json!({ "by": "tenant" }));
    match app.store.cancel_post(tenant, id, &event).await? {
        None => Err(Problem::not_found("post")),
        Some(CancelOutcome::Cancelled(post)) => Ok(*post),
        Some(CancelOutcome::Requested(post)) => {
            app.wake();
            Ok(*post)
        }
        Some(CancelOutcome::TooLate(post)) => {
            let detail = format!("It is {} already.", post.status);
            Err(Problem::new(ProblemKind::PostNotCancellable, detail))
        }
    }
}

fn publisher(registered: &Registered) -> Result<&dyn Publisher, Problem> {
    let none = || Problem::new(ProblemKind::NotFound, "This provider does not publish.");
    registered.provider.publisher().ok_or_else(none)
}

fn post_event(app: &App, id: PostId, name: &str, payload: serde_json::Value) -> NewEvent {
    NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: name.to_owned(),
        dedupe_key: format!("{id}:{name}"),
        account: None,
        post: Some(id),
        payload,
    }
}

async fn find_account(
    app: &App,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    id: AccountId,
) -> Result<(Account, Arc<Registered>), Problem> {
    let account = app
        .store
        .account(tenant, id)
        .await?
        .filter(|account| provider.is_none_or(|provider| *provider == account.provider))
        .ok_or_else(|| Problem::not_found("account"))?;
    let registered = app.registered(&account.provider)?;
    Ok((account, registered))
}

/// Checks a direct post against the platform's live answer. A platform that does not answer just now stops nobody:
/// the first step asks again.
async fn preflight(app: &Arc<App>, account: &Account, post: &Post) -> Result<(), Problem> {
    // An answer that is remembered says nothing of what became of the account since.
    if account.status != AccountStatus::Active {
        return Err(tokens::TokenError::NotActive(account.status).into());
    }
    let options = match (post.mode, app.recent_options(account.id, PREFLIGHT_TTL)) {
        (_, Some(options)) => options,
        (PostMode::Draft, None) => {
            tokens::ready(app, account.tenant, account.id, CALL_MARGIN)
                .await
                .map(drop)
                .or_else(pass_transient)?;
            return Ok(());
        }
        (PostMode::Direct, None) => match ask_options(app, account).await {
            Ok(options) => options,
            Err(problem) if problem.kind.retry_helps() => return Ok(()),
            Err(problem) => return Err(problem),
        },
    };
    if post.mode == PostMode::Draft {
        return Ok(());
    }
    if let CanPost::No { code, advice } = options.can_post {
        let mut problem = Problem::new(ProblemKind::RejectedByProvider, advice);
        problem.provider_code = Some(code);
        return Err(problem);
    }
    match options.check_post(post) {
        issues if issues.is_empty() => Ok(()),
        issues => Err(Problem::invalid(issues)),
    }
}

fn pass_transient(error: tokens::TokenError) -> Result<(), Problem> {
    match Problem::from(error) {
        problem if problem.kind.retry_helps() => Ok(()),
        problem => Err(problem),
    }
}

/// Asks the platform; after a refused token once more with a renewed one.
async fn ask_options(app: &Arc<App>, account: &Account) -> Result<PublishOptions, Problem> {
    let registered = app.registered(&account.provider)?;
    let publisher = publisher(&registered)?;
    let ready = tokens::ready(app, account.tenant, account.id, CALL_MARGIN).await?;
    let version = ready.account.token_version;
    let options = match ask_once(app, &registered, publisher, ready).await {
        Err(error) if error.kind == ErrorKind::ReauthRequired && error.code != "missing_scope" => {
            let ready = tokens::ready_newer(app, account.tenant, account.id, version).await?;
            ask_once(app, &registered, publisher, ready).await?
        }
        other => other?,
    };
    app.remember_options(account.id, &options);
    Ok(options)
}

async fn ask_once(
    app: &App,
    registered: &Registered,
    publisher: &dyn Publisher,
    ready: Ready,
) -> Result<PublishOptions, ProviderError> {
    let Ready { account, secrets, view } = ready;
    let correlation_id = format!("options-{}", account.id);
    let outbound = Outbound::new(app, registered, Some(&account), secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&view));
    publisher.options(&ctx).await
}

/// Looks up the files that a wanted post names.
async fn resolve(app: &App, tenant: TenantId, registered: &Registered, wanted: WantedPost) -> Result<Content, Problem> {
    let WantedPost {
        kind,
        mode,
        title,
        text,
        media: wanted_media,
        options,
        ..
    } = wanted;
    let mut media = Vec::new();
    let mut issues = Vec::new();
    for (index, item) in wanted_media.into_iter().enumerate() {
        let pointer = format!("/media/{index}");
        match item {
            WantedMedia::Stored(id, transfer) => match app.store.media(tenant, id).await? {
                Some(stored) => {
                    let origin = origin_of(registered, kind, transfer);
                    if origin == MediaOrigin::Hosted && app.pull_base.is_none() {
                        issues.push(FieldIssue::new(
                            pointer.clone(),
                            "no_public_address",
                            "The platform fetches this file from Patchbay, which has no public https address: the operator \
                             sets server.public_url. Or give a URL instead.",
                        ));
                    }
                    media.push(PostMedia {
                        id,
                        origin,
                        info: stored.info,
                    });
                }
                None => issues.push(FieldIssue::new(
                    pointer,
                    "unknown_media",
                    "No such file. Upload it first.",
                )),
            },
            WantedMedia::Url(text) => match public_url(&text) {
                Some(url) => {
                    let info = info_of_url(&url, kind, registered);
                    let id = MediaId::from_uuid(app.env.ids.next());
                    media.push(PostMedia {
                        id,
                        origin: MediaOrigin::Url(url),
                        info,
                    });
                }
                None => issues.push(FieldIssue::new(
                    pointer,
                    "url",
                    "Give a public https URL with a host name, and without user, password, fragment or odd port.",
                )),
            },
        }
    }
    if issues.is_empty() {
        Ok(Content {
            kind,
            mode,
            title,
            text,
            media,
            options,
        })
    } else {
        Err(Problem::invalid(issues))
    }
}

/// How a stored file reaches the platform: as asked for, or as its kind of post has it. We send it where we can: that
/// asks nothing of the operator.
fn origin_of(registered: &Registered, kind: PostKind, wanted: Option<StoredTransfer>) -> MediaOrigin {
    let rule = registered.manifest().kind(kind).and_then(|rule| rule.media.as_ref());
    let takes = |transfer| rule.is_some_and(|rule| rule.transfers.contains(&transfer));
    match wanted {
        Some(StoredTransfer::Pull) => MediaOrigin::Hosted,
        None if takes(Transfer::PullHosted) && !takes(Transfer::Upload) => MediaOrigin::Hosted,
        Some(StoredTransfer::Upload) | None => MediaOrigin::Stored,
    }
}

/// A URL that a platform could fetch: https, a host name of at least two labels, the usual port.
fn public_url(text: &str) -> Option<Url> {
    if text.len() > MAX_URL || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let domain =
        matches!(url.host(), Some(url::Host::Domain(host)) if host.contains('.') && !host.ends_with(".localhost"));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (url.scheme() == "https" && domain && plain && matches!(url.port(), None | Some(8443))).then_some(url)
}

/// What the name of a URL tells. The platform checks the rest when it fetches.
fn info_of_url(url: &Url, kind: PostKind, registered: &Registered) -> MediaInfo {
    let rule = registered.manifest().kind(kind).and_then(|rule| rule.media.as_ref());
    let extension = url
        .path()
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = extension.and_then(|extension| match extension.as_str() {
        "mp4" | "m4v" => Some("video/mp4"),
        "mov" => Some("video/quicktime"),
        "webm" => Some("video/webm"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "png" => Some("image/png"),
        "gif" => Some("image/gif"),
        _ => None,
    });
    let mime = by_name
        .or_else(|| rule.and_then(|rule| rule.mimes.first().copied()))
        .unwrap_or_default();
    let kind = if mime.starts_with("image/") {
        MediaKind::Image
    } else {
        MediaKind::Video
    };
    MediaInfo {
        kind,
        mime: mime.to_owned(),
        size_bytes: None,
        duration_ms: None,
        width: None,
        height: None,
        frame_rate: None,
        codec: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_a_platform_could_fetch_are_taken() {
        assert!(public_url("https://media.example.com/a.mp4?x=1").is_some());
        for wrong in [
            "http://media.example.com/a.mp4",
            "https://u:p@example.com/a.mp4",
            "https://127.0.0.1/a.mp4",
            "https://0x7f000001/a.mp4",
            "https://[::1]/a.mp4",
            "https://localhost/a.mp4",
            "https://a.localhost/a.mp4",
            "https://example.com:22/a.mp4",
            "https://example.com/a.mp4#x",
            "https://example.com/a\r\nb",
            "file:///etc/passwd",
            "",
        ] {
            assert!(public_url(wrong).is_none(), "{wrong}");
        }
    }
}

//! Taking posts: each is checked first, then all that were asked for together are stored with their jobs in one
//! transaction. Nothing irreversible happens here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, FieldIssue, GroupId, JobId, PostId, PostKind, PostMode, ProviderId, TenantId};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    content::{self, WantedMedia},
    find_account, limit_uses, limits_of, preflight, publisher,
};
use crate::{
    App, failpoint,
    limits::LimitUse,
    model::{Account, Consent, Content, JobKind, NewJob, NewPost, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::Enqueued,
};

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
    /// Keep it until somebody publishes it. Only then it is checked whether it may be posted. Left out of the fingerprint
    /// where it is not so: requests of before are still known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
    /// Post it also if the account has the same already.
    pub allow_duplicate: bool,
    /// What a person agreed to. Left out of the fingerprint where there is none: requests of before are still known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<WantedConsent>,
}

impl WantedConsent {
    /// As it is kept with a post of the account.
    pub(super) fn given(self, account: &Account, at: DateTime<Utc>) -> Consent {
        Consent {
            by: self.by.unwrap_or_else(|| account.owner.clone()),
            at,
            text: self.text,
        }
    }
}

/// What a person agreed to, as the caller tells it.
#[derive(Debug, Clone, Serialize)]
pub struct WantedConsent {
    /// The text that stood before them.
    pub text: String,
    /// Who; `None`: the owner of the account.
    pub by: Option<String>,
}

/// A post that may be stored as it is.
#[derive(Debug)]
pub struct Checked {
    id: PostId,
    draft: bool,
    content_hash: Option<[u8; 32]>,
    /// The account that it goes to.
    pub account: Account,
    content: Content,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
}

impl Checked {
    fn is_doubled_by(&self, other: &Self) -> bool {
        self.account.id == other.account.id && self.content_hash.is_some() && self.content_hash == other.content_hash
    }
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

/// Checks a post as [`submit`] does, a draft as when it is published, and stores nothing. With it come the quotas that it would count for, and rate buckets.
///
/// # Errors
/// What is wrong with the request, the account or the platform, in this order.
pub async fn validate(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    wanted: WantedPost,
) -> Result<(Checked, Vec<LimitUse>), Problem> {
    let whole = WantedPost { draft: false, ..wanted };
    let checked = check(app, tenant, provider, whole).await?;
    let registered = app.registered(&checked.account.provider)?;
    let mode = Some(checked.content.mode);
    let limits = limit_uses(app, &registered, tenant, checked.account.id, mode).await?;
    Ok((checked, limits))
}

async fn check(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    wanted: WantedPost,
) -> Result<Checked, Problem> {
    let (account, registered) = find_account(app, tenant, provider, wanted.account).await?;
    publisher(&registered)?;
    let content = Content {
        kind: wanted.kind,
        mode: wanted.mode,
        title: wanted.title,
        text: wanted.text,
        media: content::find_media(app, tenant, &registered, wanted.kind, wanted.media).await?,
        options: wanted.options,
        consent: wanted.consent.map(|consent| consent.given(&account, app.env.now())),
    };
    let id = PostId::from_uuid(app.env.ids.next());
    let content_hash = if wanted.draft {
        None
    } else {
        may_be_posted(app, &account, &registered, &content, id, wanted.allow_duplicate).await?
    };
    Ok(Checked {
        id,
        draft: wanted.draft,
        content_hash,
        account,
        content,
        scheduled_at: wanted.scheduled_at,
    })
}

/// Checks whether content may be posted as it is. Returns its hash, if no other post of the account may have the same.
pub(super) async fn may_be_posted(
    app: &Arc<App>,
    account: &Account,
    registered: &Registered,
    content: &Content,
    id: PostId,
    allow_duplicate: bool,
) -> Result<Option<[u8; 32]>, Problem> {
    content::check(registered, content, id)?;
    preflight(app, account, &content.as_post(id)).await?;
    if allow_duplicate {
        return Ok(None);
    }
    let hash = content::hash(app, account.tenant, content).await?;
    match app.store.duplicate_of(account.tenant, account.id, hash).await? {
        Some(twin) if twin != id => Err(duplicate(twin)),
        _ => Ok(Some(hash)),
    }
}

/// Checks and stores a post. Under a key that is known it gives the post that was stored then, whatever became of the
/// account since.
///
/// # Errors
/// As [`validate`]; the key was used for another request.
pub async fn submit(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    wanted: WantedPost,
    idempotency_key: String,
    correlation_id: &str,
) -> Result<Submitted, Problem> {
    let request = Request {
        fingerprint: fingerprint(&wanted),
        idempotency_key,
        correlation_id,
    };
    if let Some(posts) = request.earlier(app, tenant).await? {
        return one(app, posts, true).await;
    }
    let checked = match check(app, tenant, provider, wanted).await {
        Ok(checked) => checked,
        Err(problem) => return one(app, request.earlier_than(app, tenant, problem).await?, true).await,
    };
    let (posts, replayed) = request.store(app, vec![checked], None, None).await?;
    one(app, posts, replayed).await
}

/// Checks and stores posts for several targets: all of them, or none. Returns them in order, and whether the same request
/// came before.
///
/// # Errors
/// What is wrong with the first target that cannot be taken, with its place in the pointers of its issues; the key was
/// used for another request.
pub async fn submit_all(
    app: &Arc<App>,
    tenant: TenantId,
    wanted: Vec<WantedPost>,
    idempotency_key: String,
    correlation_id: &str,
) -> Result<(Vec<PostRecord>, bool), Problem> {
    let request = Request {
        fingerprint: fingerprint(&wanted),
        idempotency_key,
        correlation_id,
    };
    if let Some(posts) = request.earlier(app, tenant).await? {
        return Ok((posts, true));
    }
    let mut all: Vec<Checked> = Vec::with_capacity(wanted.len());
    for (index, wanted) in wanted.into_iter().enumerate() {
        let checked = match check(app, tenant, None, wanted).await {
            Ok(checked) => checked,
            Err(problem) => {
                let posts = request.earlier_than(app, tenant, of_target(index, problem)).await?;
                return Ok((posts, true));
            }
        };
        if all.iter().any(|other| other.is_doubled_by(&checked)) {
            let detail =
                "Another target is the same content for the same account. Change it, or send `allow_duplicate`.";
            return Err(of_target(index, Problem::new(ProblemKind::DuplicateContent, detail)));
        }
        all.push(checked);
    }
    let group = GroupId::from_uuid(app.env.ids.next());
    request.store(app, all, Some(group), None).await
}

/// Posts once more what failed or was cancelled, as a new post. Of one post there is one retry, however often it is asked
/// for; of that one there may be another.
///
/// # Errors
/// As [`validate`]; the post is none of the tenant's, or something of it is visible or may be.
pub async fn retry(
    app: &Arc<App>,
    tenant: TenantId,
    post: PostRecord,
    correlation_id: &str,
) -> Result<Submitted, Problem> {
    let refused = |detail: &str| Err(Problem::new(ProblemKind::PostNotRetryable, detail));
    match post.status {
        PostStatus::Failed | PostStatus::Cancelled => {}
        PostStatus::Unconfirmed => {
            return refused(
                "It is not known whether the platform took this post. Look at the profile, and post anew only what is not there.",
            );
        }
        PostStatus::Queued | PostStatus::Publishing => return refused("It is under way, and tried again by itself."),
        PostStatus::Draft => return refused("It is a draft, which has not been published yet."),
        PostStatus::Delivered | PostStatus::Published => return refused("It has succeeded."),
    }
    let request = Request {
        fingerprint: fingerprint(&post.id),
        // No key of a caller has such a character.
        idempotency_key: format!("retry\n{}", post.id),
        correlation_id,
    };
    if let Some(posts) = request.earlier(app, tenant).await? {
        return one(app, posts, true).await;
    }
    let (account, registered) = find_account(app, tenant, None, post.account).await?;
    let id = PostId::from_uuid(app.env.ids.next());
    content::all_there(app, tenant, &post.content.media).await?;
    content::check(&registered, &post.content, id)?;
    preflight(app, &account, &post.content.as_post(id)).await?;
    let checked = Checked {
        id,
        draft: false,
        // Somebody has looked at what became of it.
        content_hash: None,
        account,
        content: post.content,
        scheduled_at: None,
    };
    let (posts, replayed) = request.store(app, vec![checked], post.group, Some(post.id)).await?;
    one(app, posts, replayed).await
}

fn fingerprint(request: &impl Serialize) -> [u8; 32] {
    Sha256::digest(json!(request).to_string().as_bytes()).into()
}

/// The problem of one of several targets, which names it.
#[must_use]
pub fn of_target(index: usize, mut problem: Problem) -> Problem {
    let target = format!("/targets/{index}");
    if problem.issues.is_empty() {
        let issue = FieldIssue::new(target.clone(), problem.kind.code(), problem.detail.clone());
        problem.issues.push(issue);
    } else {
        for issue in &mut problem.issues {
            issue.pointer.insert_str(0, &target);
        }
    }
    problem.detail = format!("{target}: {}", problem.detail);
    problem
}

async fn one(app: &App, posts: Vec<PostRecord>, replayed: bool) -> Result<Submitted, Problem> {
    let post = posts.into_iter().next().ok_or_else(|| Problem::not_found("post"))?;
    let limits = limits_of(app, &post).await?;
    Ok(Submitted { post, replayed, limits })
}

/// One request for posts.
struct Request<'a> {
    idempotency_key: String,
    fingerprint: [u8; 32],
    correlation_id: &'a str,
}

impl Request<'_> {
    /// What was stored for the same request before.
    async fn earlier(&self, app: &App, tenant: TenantId) -> Result<Option<Vec<PostRecord>>, Problem> {
        match app.store.posts_of_key(tenant, &self.idempotency_key).await? {
            Some((fingerprint, _)) if fingerprint != self.fingerprint => Err(key_reused()),
            known => Ok(known.map(|(_, posts)| posts)),
        }
    }

    /// The same, for a request that was found to double a post: it may be its own, stored while this one was checked.
    async fn earlier_than(&self, app: &App, tenant: TenantId, problem: Problem) -> Result<Vec<PostRecord>, Problem> {
        if problem.kind != ProblemKind::DuplicateContent {
            return Err(problem);
        }
        self.earlier(app, tenant).await?.ok_or(problem)
    }

    /// Stores posts of one tenant. The same request may have come at the same time: `true`.
    async fn store(
        self,
        app: &App,
        all: Vec<Checked>,
        group: Option<GroupId>,
        retry_of: Option<PostId>,
    ) -> Result<(Vec<PostRecord>, bool), Problem> {
        let mut posts = Vec::with_capacity(all.len());
        for (index, checked) in all.into_iter().enumerate() {
            let until = content::kept_until(app.env.now(), checked.draft, checked.scheduled_at);
            content::keep(app, checked.account.tenant, &checked.content, until).await?;
            posts.push(self.with_job(app, index, checked, group, retry_of));
        }
        let stored = match app.store.enqueue_posts(&posts).await? {
            Enqueued::Created(posts) => (posts, false),
            Enqueued::Replayed(posts) => (posts, true),
            Enqueued::KeyReused => return Err(key_reused()),
            Enqueued::Duplicate(twin) => return Err(duplicate(twin)),
        };
        failpoint::hit("pub.intent");
        Ok(stored)
    }

    fn with_job(
        &self,
        app: &App,
        index: usize,
        checked: Checked,
        group: Option<GroupId>,
        retry_of: Option<PostId>,
    ) -> (NewPost, NewJob) {
        let job = publish_job(
            app,
            &checked.account,
            checked.id,
            checked.scheduled_at,
            self.correlation_id,
        );
        let post = NewPost {
            id: checked.id,
            tenant: checked.account.tenant,
            account: checked.account.id,
            provider: checked.account.provider,
            simulated: checked.account.simulated,
            content: checked.content,
            draft: checked.draft,
            scheduled_at: checked.scheduled_at,
            group,
            retry_of,
            content_hash: checked.content_hash,
            idempotency_key: match index {
                0 => self.idempotency_key.clone(),
                // The first one's key stands for all. No key of a caller has such a character.
                _ => format!("{}\n{index}", self.idempotency_key),
            },
            fingerprint: self.fingerprint,
            correlation_id: self.correlation_id.to_owned(),
        };
        (post, job)
    }
}

/// The job of a post. Those of one account run one after another.
pub(super) fn publish_job(
    app: &App,
    account: &Account,
    post: PostId,
    run_at: Option<DateTime<Utc>>,
    correlation_id: &str,
) -> NewJob {
    NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant: account.tenant,
        kind: JobKind::Publish,
        target: post.as_uuid(),
        concurrency_key: Some(account.id.to_string()),
        run_at,
        correlation_id: correlation_id.to_owned(),
    }
}

/// The content is another post's.
pub(super) fn duplicate(twin: PostId) -> Problem {
    Problem::new(
        ProblemKind::DuplicateContent,
        format!(
            "{twin} has the same content, and is still to come or ended less than 24 hours ago. Change it, or send \
             `allow_duplicate`."
        ),
    )
}

fn key_reused() -> Problem {
    Problem::new(
        ProblemKind::IdempotencyKeyReused,
        "Send the same body as before under this Idempotency-Key, or use a new key for a new post.",
    )
}

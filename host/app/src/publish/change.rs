//! Changing, publishing and stopping posts that are stored.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use patchbay_core::TenantId;
use serde_json::{Map, Value, json};

use super::{
    content::{self, WantedMedia},
    find_account, post_event, preflight,
    submit::{WantedConsent, duplicate, may_be_posted, publish_job},
};
use crate::{
    App,
    model::{NewEvent, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    store::{CancelOutcome, EditOutcome, PostEdit},
};

/// A change of a post. `None` leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Title, or none.
    pub title: Option<Option<String>>,
    /// Text, or none.
    pub text: Option<Option<String>>,
    /// All files.
    pub media: Option<Vec<WantedMedia>>,
    /// Merged into the options (RFC 7396): `null` takes one away.
    pub options: Option<Map<String, Value>>,
    /// Not before this time, or at once.
    pub scheduled_at: Option<Option<DateTime<Utc>>>,
}

/// How a draft is published.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// Not before this time, or at once; `None`: as the draft has it.
    pub scheduled_at: Option<Option<DateTime<Utc>>>,
    /// Post it also if the account has the same already.
    pub allow_duplicate: bool,
    /// What a person agreed to; `None`: as the draft has it.
    pub consent: Option<WantedConsent>,
}

/// Changes a post that has not begun. What comes of it is checked like a new post: a draft when it is published.
///
/// # Errors
/// It has begun or ended; it is no longer as `post`, which the change is based on; what is wrong with the changed post.
pub async fn edit(app: &Arc<App>, post: PostRecord, edit: Edit) -> Result<PostRecord, Problem> {
    let draft = match post.status {
        PostStatus::Draft => true,
        PostStatus::Queued => false,
        _ => return Err(too_late(&post)),
    };
    let (account, registered) = find_account(app, post.tenant, None, post.account).await?;
    let mut content = post.content;
    if let Some(title) = edit.title {
        content.title = title;
    }
    if let Some(text) = edit.text {
        content.text = text;
    }
    if let Some(options) = edit.options {
        merge(&mut content.options, options);
    }
    if let Some(media) = edit.media {
        content.media = content::find_media(app, post.tenant, &registered, content.kind, media).await?;
    }
    let content_hash = if draft {
        None
    } else {
        content::check(&registered, &content, post.id)?;
        preflight(app, &account, &content.as_post(post.id)).await?;
        Some(content::hash(app, post.tenant, &content).await?)
    };
    let scheduled_at = edit.scheduled_at.unwrap_or(post.scheduled_at);
    let until = content::kept_until(app.env.now(), draft, scheduled_at);
    content::keep(app, post.tenant, &content, until).await?;

    let mut event = post_event(app, post.id, "post.edited", json!({ "scheduled_at": scheduled_at }));
    // Each edit has seen another state.
    event.dedupe_key = format!("{}:{}", event.dedupe_key, post.updated_at.timestamp_micros());
    event.account = Some(post.account);
    let wanted = PostEdit {
        tenant: post.tenant,
        post: post.id,
        seen: post.updated_at,
        content_hash,
        content,
        scheduled_at,
        publishes: None,
    };
    store(app, &wanted, &event, too_late).await
}

/// Publishes a draft as it is now: it is checked like a new post, and queued.
///
/// # Errors
/// It is no draft (any more); it is no longer as `post`, which was looked at; what is wrong with it.
pub async fn publish_draft(
    app: &Arc<App>,
    post: PostRecord,
    wanted: Publication,
    correlation_id: &str,
) -> Result<PostRecord, Problem> {
    if post.status != PostStatus::Draft {
        return Err(not_draft(&post));
    }
    let (account, registered) = find_account(app, post.tenant, None, post.account).await?;
    let mut content = post.content;
    if let Some(consent) = wanted.consent {
        content.consent = Some(consent.given(&account, app.env.now()));
    }
    content::all_there(app, post.tenant, &content.media).await?;
    let content_hash = may_be_posted(app, &account, &registered, &content, post.id, wanted.allow_duplicate).await?;
    let now = app.env.now();
    let later = wanted.scheduled_at.unwrap_or(post.scheduled_at).filter(|at| *at > now);
    // Its time begins now, and not when the draft was written: how long it is tried and how long it took go by that.
    let scheduled_at = Some(later.unwrap_or(now));
    let until = content::kept_until(now, false, scheduled_at);
    content::keep(app, post.tenant, &content, until).await?;

    let mut event = post_event(app, post.id, "post.queued", json!({ "scheduled_at": scheduled_at }));
    event.account = Some(post.account);
    let job = publish_job(app, &account, post.id, later, correlation_id);
    let wanted = PostEdit {
        tenant: post.tenant,
        post: post.id,
        seen: post.updated_at,
        content_hash,
        content,
        scheduled_at,
        publishes: Some(job),
    };
    store(app, &wanted, &event, not_draft).await
}

async fn store(
    app: &App,
    wanted: &PostEdit,
    event: &NewEvent,
    refused: fn(&PostRecord) -> Problem,
) -> Result<PostRecord, Problem> {
    match app.store.edit_post(wanted, event).await? {
        None => Err(Problem::not_found("post")),
        Some(EditOutcome::Edited(post)) => Ok(*post),
        Some(EditOutcome::Changed) => Err(changed()),
        Some(EditOutcome::Duplicate(twin)) => Err(duplicate(twin)),
        Some(EditOutcome::TooLate(post)) => Err(refused(&post)),
    }
}

/// Stops a post: at once if it has not begun, else as far as the platform can. With `seen`, only if that was its last
/// change.
///
/// # Errors
/// The post is not this tenant's, has changed, or has ended.
pub async fn cancel(
    app: &Arc<App>,
    tenant: TenantId,
    post: &PostRecord,
    seen: Option<DateTime<Utc>>,
) -> Result<PostRecord, Problem> {
    let event = post_event(app, post.id, "post.cancelled", json!({ "by": "tenant" }));
    match app.store.cancel_post(tenant, post.id, seen, &event).await? {
        None => Err(Problem::not_found("post")),
        Some(CancelOutcome::Cancelled(post) | CancelOutcome::Requested(post)) => Ok(*post),
        Some(CancelOutcome::Changed) => Err(changed()),
        Some(CancelOutcome::TooLate(post)) => {
            let detail = format!("It is {} already.", post.status);
            Err(Problem::new(ProblemKind::PostNotCancellable, detail))
        }
    }
}

fn too_late(post: &PostRecord) -> Problem {
    let detail = match post.status {
        PostStatus::Queued => "It is about to begin.".to_owned(),
        status => format!("It is {status}. Only a draft or a queued post can be changed."),
    };
    Problem::new(ProblemKind::PostNotEditable, detail)
}

fn not_draft(post: &PostRecord) -> Problem {
    let detail = format!("It is {} already. Only a draft can be published.", post.status);
    Problem::new(ProblemKind::PostNotDraft, detail)
}

fn changed() -> Problem {
    Problem::new(
        ProblemKind::PreconditionFailed,
        "The post has changed since. Read it again, and send the ETag that comes with it.",
    )
}

/// JSON Merge Patch (RFC 7396) of an object.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(patch) => {
                let place = target.entry(name).or_insert(Value::Null);
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Value::Object(inner) = place {
                    merge(inner, patch);
                }
            }
            value => {
                target.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, appendix A, whose two sides are objects.
    #[test]
    fn options_are_merged_as_the_standard_has_it() {
        for (target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else {
                panic!("objects")
            };
            merge(&mut target, patch);
            assert_eq!(Value::Object(target), merged);
        }
    }
}

//! What callers want posted.

use chrono::{DateTime, Utc};
use patchbay_app::{
    problem::Problem,
    publish::{Edit, Publication, StoredTransfer, WantedConsent, WantedMedia, WantedPost},
};
use patchbay_core::{FieldIssue, PostKind, PostMode};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    super::extract::{id, named_time},
    local_time::LocalTime,
};

/// Longest text that is agreed to, in characters.
const MAX_DECLARATION: usize = 4000;
/// Longest id of a person, in characters.
const MAX_PERSON: usize = 255;

/// The platform's own options.
type Options = serde_json::Map<String, serde_json::Value>;

/// A wanted post.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "account_id": "acc_0199f0a2b3c47d8e9f00112233445566",
    "kind": "video",
    "title": "Hello",
    "media": [{ "id": "med_0199f0a2b3c47d8e9f00112233445566" }],
    "options": { "privacy_level": "SELF_ONLY" },
}))]
pub struct NewPost {
    /// Account to post to.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub account_id: String,
    /// `video`, `images` or `text`; see the provider's `kinds`.
    #[schema(value_type = String, example = "video")]
    pub kind: PostKind,
    /// `direct` publishes; `draft` delivers to the person's inbox, to be finished in the platform's app.
    #[serde(default)]
    #[schema(value_type = String, example = "direct", default = "direct")]
    pub mode: PostMode,
    /// Title, as the platform calls it.
    pub title: Option<String>,
    /// Text below or beside it.
    pub text: Option<String>,
    /// Files, in order.
    #[serde(default)]
    pub media: Vec<MediaItem>,
    /// The platform's own options; see `publish-options`.
    #[serde(default)]
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub options: Options,
    /// Not before this time (RFC 3339 with offset).
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The same as a wall clock shows it; instead of `scheduled_at`.
    pub scheduled_local: Option<LocalTime>,
    /// Keep it with Patchbay as a draft, complete or not, until it is published by `…/posts/{id}/publish`. (`mode: draft` is
    /// another thing: a draft in the platform's app.)
    #[serde(default)]
    pub draft: bool,
    /// Post it also if the account has the same content already, not older than a day.
    #[serde(default)]
    pub allow_duplicate: bool,
    /// What the person agreed to who asks for it, to be kept with the post.
    pub consent: Option<NewConsent>,
}

/// What a person agreed to by asking for a post.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "By posting, you agree to our terms.", "by": "user-17" }))]
pub struct NewConsent {
    /// The text that stood before them, without marks of links. Where the platform prescribes one (`form.declarations` of the
    /// manifest), it is that one, in one of its languages.
    #[schema(min_length = 1, max_length = 4000)]
    pub text: String,
    /// Your own id of them. Default: the owner of the account.
    #[schema(min_length = 1, max_length = 255)]
    pub by: Option<String>,
}

impl NewConsent {
    fn read(self, issues: &mut Vec<FieldIssue>) -> WantedConsent {
        let mut check = |name: &str, text: &str, most: usize| {
            if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
                let message = format!("Give 1 to {most} characters, none of them a control character.");
                issues.push(FieldIssue::new(format!("/consent/{name}"), "text", message));
            }
        };
        check("text", &self.text, MAX_DECLARATION);
        if let Some(by) = &self.by {
            check("by", by, MAX_PERSON);
        }
        WantedConsent {
            text: self.text,
            by: self.by,
        }
    }
}

/// A wanted post for several accounts, of one platform or of many.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "kind": "video",
    "title": "Hello",
    "media": [{ "id": "med_0199f0a2b3c47d8e9f00112233445566" }],
    "targets": [
        { "account_id": "acc_0199f0a2b3c47d8e9f00112233445566", "options": { "privacy_level": "SELF_ONLY" } },
        { "account_id": "acc_0199f0a2b3c47d8e9f00112233445577", "options": {}, "title": "Hi" },
    ],
}))]
pub struct NewPosts {
    /// Where to post it, and what is different there.
    #[schema(min_items = 1, max_items = 20)]
    pub targets: Vec<Target>,
    /// `video`, `images` or `text`; see the provider's `kinds`.
    #[schema(value_type = String, example = "video")]
    pub kind: PostKind,
    /// `direct` publishes; `draft` delivers to the person's inbox, to be finished in the platform's app.
    #[serde(default)]
    #[schema(value_type = String, example = "direct", default = "direct")]
    pub mode: PostMode,
    /// Title, as the platform calls it.
    pub title: Option<String>,
    /// Text below or beside it.
    pub text: Option<String>,
    /// Files, in order.
    #[serde(default)]
    pub media: Vec<MediaItem>,
    /// Not before this time (RFC 3339 with offset).
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The same as a wall clock shows it; instead of `scheduled_at`.
    pub scheduled_local: Option<LocalTime>,
    /// Keep it with Patchbay as a draft, complete or not, until it is published by `…/posts/{id}/publish`. (`mode: draft` is
    /// another thing: a draft in the platform's app.)
    #[serde(default)]
    pub draft: bool,
    /// Post it also if the account has the same content already, not older than a day.
    #[serde(default)]
    pub allow_duplicate: bool,
    /// What the person agreed to who asks for it, to be kept with the post.
    pub consent: Option<NewConsent>,
}

/// One target. What it does not name is as in the post; `null` takes it away.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Account to post to.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub account_id: String,
    /// The platform's own options; see `publish-options`.
    #[serde(default)]
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub options: Options,
    /// Another kind.
    #[schema(value_type = Option<String>)]
    pub kind: Option<PostKind>,
    /// Another mode.
    #[schema(value_type = Option<String>)]
    pub mode: Option<PostMode>,
    /// Another title, or none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub title: Option<Option<String>>,
    /// Another text, or none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub text: Option<Option<String>>,
    /// Other files.
    pub media: Option<Vec<MediaItem>>,
    /// Another time, or at once.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub scheduled_at: Option<Option<DateTime<Utc>>>,
    /// The same as a wall clock shows it; instead of `scheduled_at`.
    pub scheduled_local: Option<LocalTime>,
    /// What the person agreed to for this target, where that is another text.
    pub consent: Option<NewConsent>,
}

/// How a draft is published. `{}` publishes it as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "scheduled_at": "2027-03-28T07:30:00Z" }))]
pub struct DraftPublication {
    /// Another time than the draft's, or at once (`null`). A post that begins at once has that time in `scheduled_at`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub scheduled_at: Option<Option<DateTime<Utc>>>,
    /// The same as a wall clock shows it; instead of `scheduled_at`.
    pub scheduled_local: Option<LocalTime>,
    /// Post it also if the account has the same content already, not older than a day.
    #[serde(default)]
    pub allow_duplicate: bool,
    /// What the person agreed to who publishes it, in the place of what the draft has.
    pub consent: Option<NewConsent>,
}

/// A change of a post that has not begun. What it does not name stays; `null` takes it away.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "title": "Hello again",
    "options": { "disable_comment": true },
    "scheduled_local": { "date_time": "2027-03-28T09:30:00", "time_zone": "Europe/Berlin" },
}))]
pub struct PostPatch {
    /// Another title, or none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub title: Option<Option<String>>,
    /// Another text, or none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub text: Option<Option<String>>,
    /// Other files, all of them.
    pub media: Option<Vec<MediaItem>>,
    /// Merged into the options (RFC 7396): `null` takes one away.
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    pub options: Option<Options>,
    /// Another time, or at once.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub scheduled_at: Option<Option<DateTime<Utc>>>,
    /// The same as a wall clock shows it; instead of `scheduled_at`.
    pub scheduled_local: Option<LocalTime>,
}

/// One file: an uploaded one by `id`, or another one by `url`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaItem {
    /// Id of an uploaded file.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub id: Option<String>,
    /// Public https URL that the platform fetches itself.
    pub url: Option<String>,
    /// How an uploaded file reaches the platform: `upload` sends its bytes; `pull` has the platform fetch it from this
    /// host, under a URL made for that attempt. Default: `upload` where the platform takes it. See `transfers` of the
    /// provider's kinds.
    #[schema(value_type = Option<String>, example = "upload")]
    pub transfer: Option<StoredTransfer>,
}

/// Tells a field that is `null` from one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl NewPost {
    /// Reads it.
    ///
    /// # Errors
    /// Fields that cannot be what they are to be.
    pub fn read(self) -> Result<WantedPost, Problem> {
        let account = id(&self.account_id, "account")?;
        let mut issues = Vec::new();
        let media = read_media(self.media, &mut issues);
        let scheduled_at = read_time(self.scheduled_at, self.scheduled_local.as_ref(), &mut issues);
        let consent = self.consent.map(|consent| consent.read(&mut issues));
        if self.draft && self.allow_duplicate {
            let message = "Say it when you publish the draft: only then it is looked for others with its content.";
            issues.push(FieldIssue::new("/allow_duplicate", "draft", message));
        }
        if !issues.is_empty() {
            return Err(Problem::invalid(issues));
        }
        Ok(WantedPost {
            account,
            kind: self.kind,
            mode: self.mode,
            title: self.title,
            text: self.text,
            media,
            options: self.options,
            scheduled_at,
            draft: self.draft,
            allow_duplicate: self.allow_duplicate,
            consent,
        })
    }
}

impl NewPosts {
    /// The post of each target.
    #[must_use]
    pub fn each(self) -> Vec<NewPost> {
        let common = self;
        let post = |target: Target| {
            let retimed = target.scheduled_at.is_some() || target.scheduled_local.is_some();
            NewPost {
                account_id: target.account_id,
                kind: target.kind.unwrap_or(common.kind),
                mode: target.mode.unwrap_or(common.mode),
                title: target.title.unwrap_or_else(|| common.title.clone()),
                text: target.text.unwrap_or_else(|| common.text.clone()),
                media: target.media.unwrap_or_else(|| common.media.clone()),
                options: target.options,
                scheduled_at: target
                    .scheduled_at
                    .unwrap_or_else(|| common.scheduled_at.filter(|_| !retimed)),
                scheduled_local: target
                    .scheduled_local
                    .or_else(|| common.scheduled_local.clone().filter(|_| !retimed)),
                draft: common.draft,
                allow_duplicate: common.allow_duplicate,
                consent: target.consent.or_else(|| common.consent.clone()),
            }
        };
        common.targets.into_iter().map(post).collect()
    }
}

impl DraftPublication {
    /// Reads it.
    ///
    /// # Errors
    /// Fields that cannot be what they are to be.
    pub fn read(self) -> Result<Publication, Problem> {
        let mut issues = Vec::new();
        let scheduled_at = read_retiming(self.scheduled_at, self.scheduled_local.as_ref(), &mut issues);
        let consent = self.consent.map(|consent| consent.read(&mut issues));
        if !issues.is_empty() {
            return Err(Problem::invalid(issues));
        }
        Ok(Publication {
            scheduled_at,
            allow_duplicate: self.allow_duplicate,
            consent,
        })
    }
}

impl PostPatch {
    /// Reads it.
    ///
    /// # Errors
    /// Fields that cannot be what they are to be.
    pub fn read(self) -> Result<Edit, Problem> {
        let mut issues = Vec::new();
        let media = self.media.map(|media| read_media(media, &mut issues));
        let scheduled_at = read_retiming(self.scheduled_at, self.scheduled_local.as_ref(), &mut issues);
        if !issues.is_empty() {
            return Err(Problem::invalid(issues));
        }
        Ok(Edit {
            title: self.title,
            text: self.text,
            media,
            options: self.options,
            scheduled_at,
        })
    }
}

fn read_media(items: Vec<MediaItem>, issues: &mut Vec<FieldIssue>) -> Vec<WantedMedia> {
    let mut media = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match (item.id, item.url) {
            (Some(text), None) => match text.parse() {
                Ok(id) => media.push(WantedMedia::Stored(id, item.transfer)),
                Err(_) => issues.push(FieldIssue::new(
                    format!("/media/{index}/id"),
                    "unknown_media",
                    "No such file. Upload it first.",
                )),
            },
            (None, Some(url)) if item.transfer.is_none() => media.push(WantedMedia::Url(url)),
            (None, Some(_)) => issues.push(FieldIssue::new(
                format!("/media/{index}/transfer"),
                "transfer",
                "A `url` is always fetched by the platform. Leave `transfer` out.",
            )),
            _ => issues.push(FieldIssue::new(
                format!("/media/{index}"),
                "media",
                "Give either `id` or `url`.",
            )),
        }
    }
    media
}

/// Another time; `None`: none is given.
fn read_retiming(
    at: Option<Option<DateTime<Utc>>>,
    local: Option<&LocalTime>,
    issues: &mut Vec<FieldIssue>,
) -> Option<Option<DateTime<Utc>>> {
    let given = at.is_some() || local.is_some();
    let time = read_time(at.flatten(), local, issues);
    given.then_some(time)
}

fn read_time(
    at: Option<DateTime<Utc>>,
    local: Option<&LocalTime>,
    issues: &mut Vec<FieldIssue>,
) -> Option<DateTime<Utc>> {
    match (at, local) {
        (at, None) => named_time("/scheduled_at", at).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        }),
        (None, Some(local)) => local.read().map_err(|issue| issues.push(issue)).ok(),
        (Some(_), Some(_)) => {
            let message = "Give either `scheduled_at` or `scheduled_local`.";
            issues.push(FieldIssue::new("/scheduled_local", "either", message));
            None
        }
    }
}

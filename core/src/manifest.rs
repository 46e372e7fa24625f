//! A provider as data: the calls it may make, its limits, its scopes. The host enforces what stands here, so that a
//! provider cannot reach a host, skip a limit or hide an irreversible call by mistake.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::{
    FieldIssue, MediaInfo, MediaKind, MediaOrigin, Metric, OptionField, Post, PostForm, PostKind, PostMode, ProviderId,
};

/// What a call does at the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads only.
    Observe,
    /// Repeatable, and nothing of it is visible to anyone.
    Prepare,
    /// Irreversible. At most one per step; sent at most once without proof that it had no effect.
    Commit,
}

/// A field of an answer that is a secret. The host swaps the value for a handle before the provider sees the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretField {
    /// JSON pointer, such as `/data/upload_url`.
    pub pointer: &'static str,
    /// Name of the handle: [`crate::SecretRef::captured`]`(op, name)`.
    pub name: &'static str,
}

/// One row of the op table: a call that the provider may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Op {
    /// Stable name, such as `video.init`.
    pub name: &'static str,
    /// HTTP method, upper case.
    pub method: &'static str,
    /// Hosts it may go to: an exact name, or `*.example.com` for any number of labels below it.
    pub hosts: Vec<&'static str>,
    /// Whether it may go to the account's own server ([`crate::Credentials::server`]), which no manifest can name.
    /// While an account is being connected there is none yet, and it may go to any public server.
    pub account_server: bool,
    /// What it does.
    pub effect: Effect,
    /// Rate buckets that each call takes a place in.
    pub buckets: Vec<&'static str>,
    /// Scopes of which the account must hold at least one. Empty: none is needed.
    pub scopes: Vec<&'static str>,
    /// Secret fields of the answer.
    pub secrets: Vec<SecretField>,
    /// Time for the whole call. A media transfer is also cut when it stalls.
    pub timeout: Duration,
    /// Largest answer that is read.
    pub max_answer_bytes: usize,
}

impl Op {
    /// A row with the usual limits: 30 s, 64 KiB, no buckets, no scopes, no secrets.
    #[must_use]
    pub fn new(name: &'static str, method: &'static str, host: &'static str, effect: Effect) -> Self {
        Self {
            hosts: vec![host],
            account_server: false,
            ..Self::at_account_server(name, method, effect)
        }
    }

    /// A row of a call to the server of the account, where a platform has many: named by its user, kept with the
    /// credentials, and always behind the host's guard against private addresses.
    #[must_use]
    pub fn at_account_server(name: &'static str, method: &'static str, effect: Effect) -> Self {
        Self {
            name,
            method,
            hosts: Vec::new(),
            account_server: true,
            effect,
            buckets: Vec::new(),
            scopes: Vec::new(),
            secrets: Vec::new(),
            timeout: Duration::from_secs(30),
            max_answer_bytes: 64 * 1024,
        }
    }

    /// Adds a host.
    #[must_use]
    pub fn or_at(mut self, host: &'static str) -> Self {
        self.hosts.push(host);
        self
    }

    /// Adds a rate bucket.
    #[must_use]
    pub fn bucket(mut self, name: &'static str) -> Self {
        self.buckets.push(name);
        self
    }

    /// Adds scopes of which one is needed.
    #[must_use]
    pub fn any_scope(mut self, scopes: &[&'static str]) -> Self {
        self.scopes.extend_from_slice(scopes);
        self
    }

    /// Adds a secret field of the answer.
    #[must_use]
    pub fn secret(mut self, pointer: &'static str, name: &'static str) -> Self {
        self.secrets.push(SecretField { pointer, name });
        self
    }

    /// Sets the time for the whole call.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether this row names `host` (lower case).
    #[must_use]
    pub fn allows_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|label| !label.is_empty()),
            None => *pattern == host,
        })
    }
}

/// Whose window a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketScope {
    /// One window per account.
    Account,
    /// One window for the whole app.
    App,
}

/// A rate limit of the platform: at most `limit` calls in any `window`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Name, as in [`Op::buckets`].
    pub name: &'static str,
    /// Calls per window.
    pub limit: u32,
    /// Length of the sliding window.
    pub window: Duration,
    /// Whose window.
    pub scope: BucketScope,
}

/// A limit on posts, not calls: at most `limit` posts of these modes in `window`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Name, such as `pending_drafts`.
    pub name: &'static str,
    /// Which posts count.
    pub mode: PostMode,
    /// Posts per window.
    pub limit: u32,
    /// Length of the sliding window.
    pub window: Duration,
    /// Whether a place frees as soon as the post is published (drafts that wait), or only with time (posts made). A
    /// post that failed frees it in any case. All quotas of one mode agree.
    pub frees_when_done: bool,
}

/// A permission of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// The platform's name.
    pub name: &'static str,
    /// What it is for, in words for the person who grants it.
    pub purpose: &'static str,
    /// Asked for unless the request says otherwise.
    pub default: bool,
}

/// What an account can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Posts that become visible.
    PublishDirect,
    /// Posts that are left to the person as drafts.
    PublishDraft,
    /// Numbers of posts.
    Metrics,
}

impl Capability {
    /// The stable name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublishDirect => "publish_direct",
            Self::PublishDraft => "publish_draft",
            Self::Metrics => "metrics",
        }
    }
}

impl From<PostMode> for Capability {
    fn from(mode: PostMode) -> Self {
        match mode {
            PostMode::Direct => Self::PublishDirect,
            PostMode::Draft => Self::PublishDraft,
        }
    }
}

/// Scopes without which an account cannot be used for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// For what.
    pub capability: Capability,
    /// All of them are needed.
    pub scopes: Vec<&'static str>,
}

/// How the platform counts the length of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextCount {
    /// UTF-16 code units.
    Utf16,
    /// Unicode code points.
    CodePoint,
    /// Extended grapheme clusters (Unicode annex 29): what a reader takes for one character.
    Grapheme,
}

impl TextCount {
    /// Length of `text` in this unit.
    #[must_use]
    pub fn length(self, text: &str) -> usize {
        match self {
            Self::Utf16 => text.encode_utf16().count(),
            Self::CodePoint => text.chars().count(),
            Self::Grapheme => text.graphemes(true).count(),
        }
    }
}

/// Limit of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TextRule {
    /// Greatest length.
    pub max: usize,
    /// Its unit.
    pub count: TextCount,
}

/// A road by which media reach the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// We send the bytes.
    Upload,
    /// The platform fetches a URL of somebody else's.
    PullUrl,
    /// The platform fetches a file of ours from a URL of this host.
    PullHosted,
}

/// Limits of the media of one kind of post.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MediaRule {
    /// Video or image.
    pub kind: MediaKind,
    /// Fewest files.
    pub min_count: usize,
    /// Most files.
    pub max_count: usize,
    /// Accepted types.
    pub mimes: Vec<&'static str>,
    /// Largest file.
    pub max_bytes: u64,
    /// Roads.
    pub transfers: Vec<Transfer>,
    /// Accepted codecs, as in the container. Empty: not checked.
    pub codecs: Vec<&'static str>,
    /// Least and greatest side in pixels.
    pub side_pixels: Option<(u32, u32)>,
    /// Least and greatest frames per second.
    pub frame_rate: Option<(f64, f64)>,
    /// Longest play time for any account; one account's own limit is in [`crate::PublishOptions`].
    pub max_duration: Option<Duration>,
}

/// One kind of post that the platform takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindRule {
    /// The kind.
    pub kind: PostKind,
    /// Ways to publish it.
    pub modes: Vec<PostMode>,
    /// Title; `None`: there is none.
    pub title: Option<TextRule>,
    /// Text below or beside it; `None`: there is none.
    pub text: Option<TextRule>,
    /// Media; `None`: there are none.
    pub media: Option<MediaRule>,
    /// What the platform counts of such a post, once it is published and has a public id. Empty: nothing, and it is never
    /// asked.
    pub metrics: Vec<Metric>,
}

/// A provider as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// Name in URLs and configuration.
    pub id: ProviderId,
    /// Name for people.
    pub display_name: &'static str,
    /// Version of the provider.
    pub version: &'static str,
    /// The platform's developer documentation.
    pub docs_url: &'static str,
    /// Scopes it can use.
    pub scopes: Vec<Scope>,
    /// What accounts can be used for here, with the scopes that each use needs.
    pub needs: Vec<Need>,
    /// The op table.
    pub ops: Vec<Op>,
    /// Rate buckets.
    pub buckets: Vec<Bucket>,
    /// Quotas.
    pub quotas: Vec<Quota>,
    /// Kinds of post.
    pub kinds: Vec<KindRule>,
    /// The platform's own options of a post.
    pub options: Vec<OptionField>,
    /// What a form for people says and does about them.
    pub form: PostForm,
    /// Hosts that a browser visits (the authorize page), so that simulator mode can map them too.
    pub browser_hosts: Vec<&'static str>,
}

/// A manifest that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest of {provider}: {problem}")]
pub struct ManifestError {
    /// Which provider.
    pub provider: ProviderId,
    /// What is wrong.
    pub problem: String,
}

impl Manifest {
    /// Most ids that [`crate::Publisher::metrics`] is asked for at once.
    pub const MAX_METRICS_IDS: usize = 100;

    /// The row named `op`.
    #[must_use]
    pub fn op(&self, op: &str) -> Option<&Op> {
        self.ops.iter().find(|row| row.name == op)
    }

    /// The bucket of this name.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name == name)
    }

    /// Quotas that count posts of a mode.
    pub fn quotas_of(&self, mode: PostMode) -> impl Iterator<Item = &Quota> {
        self.quotas.iter().filter(move |quota| quota.mode == mode)
    }

    /// The rule of a kind.
    #[must_use]
    pub fn kind(&self, kind: PostKind) -> Option<&KindRule> {
        self.kinds.iter().find(|rule| rule.kind == kind)
    }

    /// Scopes to ask for when the request names none.
    pub fn default_scopes(&self) -> impl Iterator<Item = &'static str> {
        self.scopes.iter().filter(|scope| scope.default).map(|scope| scope.name)
    }

    /// Scopes that an account lacks for a use.
    #[must_use]
    pub fn lacking(&self, capability: Capability, granted: &[String]) -> Vec<&'static str> {
        let needs = self.needs.iter().filter(|need| need.capability == capability);
        needs
            .flat_map(|need| &need.scopes)
            .copied()
            .filter(|scope| !granted.iter().any(|has| has == scope))
            .collect()
    }

    /// Checks the manifest against itself. The host does so at start.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), ManifestError> {
        let fail = |problem: String| {
            Err(ManifestError {
                provider: self.id.clone(),
                problem,
            })
        };
        let mut names = BTreeSet::new();
        for op in &self.ops {
            if !names.insert(op.name) {
                return fail(format!("two ops are named {}", op.name));
            }
            if (op.hosts.is_empty() && !op.account_server)
                || op.hosts.iter().any(|h| h.trim_start_matches("*.").is_empty())
            {
                return fail(format!("op {} names no host", op.name));
            }
            if let Some(bucket) = op.buckets.iter().find(|name| self.bucket(name).is_none()) {
                return fail(format!("op {} uses the undeclared bucket {bucket}", op.name));
            }
            if let Some(scope) = op
                .scopes
                .iter()
                .find(|name| !self.scopes.iter().any(|s| s.name == **name))
            {
                return fail(format!("op {} needs the undeclared scope {scope}", op.name));
            }
            if let Some(field) = op.secrets.iter().find(|f| !f.pointer.starts_with('/')) {
                return fail(format!("op {}: {} is not a JSON pointer", op.name, field.pointer));
            }
        }
        for need in &self.needs {
            if let Some(scope) = need
                .scopes
                .iter()
                .find(|name| !self.scopes.iter().any(|s| s.name == **name))
            {
                let capability = need.capability.as_str();
                return fail(format!("{capability} needs the undeclared scope {scope}"));
            }
        }
        let measures = self.needs.iter().any(|need| need.capability == Capability::Metrics);
        if let Some(rule) = self.kinds.iter().find(|rule| !rule.metrics.is_empty() && !measures) {
            let kind = rule.kind.as_str();
            return fail(format!(
                "{kind} has metrics, but the needs do not name what reading them takes"
            ));
        }
        if let Some(bucket) = self.buckets.iter().find(|b| b.limit == 0 || b.window.is_zero()) {
            return fail(format!("bucket {} lets nothing through", bucket.name));
        }
        let disagree = |a: &Quota| {
            self.quotas
                .iter()
                .any(|b| a.mode == b.mode && a.frees_when_done != b.frees_when_done)
        };
        if let Some(quota) = self.quotas.iter().find(|quota| disagree(quota)) {
            return fail(format!("quota {} frees otherwise than another of its mode", quota.name));
        }
        let mut options = BTreeSet::new();
        if let Some(field) = self.options.iter().find(|field| !options.insert(field.name)) {
            return fail(format!("two options are named {}", field.name));
        }
        match self.form.contradiction(&options.into_iter().collect::<Vec<_>>()) {
            Some(problem) => fail(problem),
            None => Ok(()),
        }
    }

    /// Everything that the manifest's limits and option fields have against a post.
    #[must_use]
    pub fn check_post(&self, post: &Post) -> Vec<FieldIssue> {
        let Some(rule) = self.kind(post.kind) else {
            return vec![FieldIssue::new(
                "/kind",
                "unsupported",
                format!(
                    "{} does not take posts of kind {}.",
                    self.display_name,
                    post.kind.as_str()
                ),
            )];
        };
        let mut issues = Vec::new();
        if !rule.modes.contains(&post.mode) {
            issues.push(FieldIssue::new(
                "/mode",
                "unsupported",
                format!("{} does not take this kind of post in this mode.", self.display_name),
            ));
        }
        check_text("/title", post.title.as_deref(), rule.title, &mut issues);
        check_text("/text", post.text.as_deref(), rule.text, &mut issues);
        check_media(post, rule.media.as_ref(), &mut issues);
        issues.extend(OptionField::check_all(&self.options, post));
        issues.extend(self.form.check_post(post));
        issues
    }
}

fn check_text(pointer: &str, text: Option<&str>, rule: Option<TextRule>, issues: &mut Vec<FieldIssue>) {
    let Some(text) = text else { return };
    match rule {
        None => issues.push(FieldIssue::new(
            pointer,
            "unsupported",
            "This kind of post has no such text: leave it out.",
        )),
        Some(TextRule { max, count }) => {
            let length = count.length(text);
            if length > max {
                let unit = match count {
                    TextCount::Utf16 => "UTF-16 units",
                    TextCount::CodePoint | TextCount::Grapheme => "characters",
                };
                let message = format!("This text has {length} {unit}; at most {max} are allowed.");
                issues.push(FieldIssue::new(pointer, "too_long", message));
            }
            // NUL and other controls break platforms in different ways; line breaks and tabs are text.
            if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
                issues.push(FieldIssue::new(
                    pointer,
                    "control_character",
                    "Remove the control characters.",
                ));
            }
        }
    }
}

fn check_media(post: &Post, rule: Option<&MediaRule>, issues: &mut Vec<FieldIssue>) {
    let Some(rule) = rule else {
        if !post.media.is_empty() {
            issues.push(FieldIssue::new(
                "/media",
                "unsupported",
                "This kind of post has no media: leave them out.",
            ));
        }
        return;
    };
    let count = post.media.len();
    if count < rule.min_count || count > rule.max_count {
        let message = format!(
            "{count} media files; from {} to {} are allowed.",
            rule.min_count, rule.max_count
        );
        issues.push(FieldIssue::new("/media", "count", message));
    }
    for (index, media) in post.media.iter().enumerate() {
        let pointer = format!("/media/{index}");
        let transfer = match media.origin {
            MediaOrigin::Stored => Transfer::Upload,
            MediaOrigin::Hosted => Transfer::PullHosted,
            MediaOrigin::Url(_) => Transfer::PullUrl,
        };
        if !rule.transfers.contains(&transfer) {
            let message = match transfer {
                Transfer::Upload => "The platform takes no upload of this kind of media: let it fetch the file.",
                Transfer::PullUrl => "Upload this kind of media first; the platform takes no URL here.",
                Transfer::PullHosted => "The platform does not fetch this kind of media: let it be uploaded.",
            };
            issues.push(FieldIssue::new(pointer.clone(), "transfer", message));
        }
        check_file(&pointer, &media.info, rule, issues);
    }
}

fn check_file(pointer: &str, info: &MediaInfo, rule: &MediaRule, issues: &mut Vec<FieldIssue>) {
    let mut refuse = |code: &'static str, message: String| issues.push(FieldIssue::new(pointer, code, message));
    if info.kind != rule.kind || !rule.mimes.contains(&info.mime.as_str()) {
        refuse(
            "format",
            format!("{} is not accepted here. Use {}.", info.mime, rule.mimes.join(", ")),
        );
        return;
    }
    if info.size_bytes.is_some_and(|size| size > rule.max_bytes) {
        refuse(
            "too_large",
            format!("The file is larger than {} bytes.", rule.max_bytes),
        );
    }
    if info.size_bytes == Some(0) {
        refuse("empty", "The file is empty.".to_owned());
    }
    if let Some(codec) = &info.codec
        && !rule.codecs.is_empty()
        && !rule.codecs.contains(&codec.as_str())
    {
        refuse(
            "codec",
            format!(
                "The codec {codec} is not accepted. Use one of {}.",
                rule.codecs.join(", ")
            ),
        );
    }
    if let Some((least, most)) = rule.side_pixels {
        for side in [info.width, info.height].into_iter().flatten() {
            if side < least || side > most {
                refuse(
                    "pixels",
                    format!("A side of {side} pixels; from {least} to {most} are allowed."),
                );
            }
        }
    }
    if let (Some((least, most)), Some(rate)) = (rule.frame_rate, info.frame_rate)
        && (rate < least || rate > most)
    {
        refuse(
            "frame_rate",
            format!("{rate:.2} frames per second; from {least} to {most} are allowed."),
        );
    }
    if let (Some(most), Some(duration)) = (rule.max_duration, info.duration())
        && duration > most
    {
        refuse(
            "too_long",
            format!("The video plays longer than {} seconds.", most.as_secs()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_whole_labels_only() {
        let op = Op::new("x", "GET", "*.example.com", Effect::Observe);
        for good in ["a.example.com", "a.b.example.com"] {
            assert!(op.allows_host(good), "{good}");
        }
        for bad in [
            "example.com",
            "badexample.com",
            "a.example.com.evil.net",
            ".example.com",
        ] {
            assert!(!op.allows_host(bad), "{bad}");
        }
        assert!(Op::new("x", "GET", "example.com", Effect::Observe).allows_host("example.com"));
    }

    #[test]
    fn lengths_are_counted_in_the_platforms_unit() {
        assert_eq!(TextCount::Utf16.length("é😀"), 3);
        assert_eq!(TextCount::CodePoint.length("é😀"), 2);
        assert_eq!(TextCount::Grapheme.length("e\u{301}👨‍👩‍👧🇩🇪\r\n"), 4);
        assert_eq!(TextCount::CodePoint.length("e\u{301}👨‍👩‍👧🇩🇪\r\n"), 11);
    }
}

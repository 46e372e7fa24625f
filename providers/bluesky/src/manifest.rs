//! Bluesky as data: calls, limits, kinds of post and their options.
//!
//! Facts are from the sources named in the README (state of November 2026).

use std::{collections::BTreeMap, time::Duration};

use patchbay_core::{
    Bucket, BucketScope, Capability, Effect, KindRule, Manifest, MediaKind, MediaRule, Metric, Need, Op, OptionField,
    OptionKind, PostForm, PostKind, PostMode, ProviderId, TextCount, TextRule, Transfer,
};

use crate::ID;

/// Answers which account a handle names, and what became of posts. It asks nobody for a token.
pub(crate) const RESOLVER: &str = "public.api.bsky.app";
/// Keeps the documents of all `did:plc` accounts.
pub(crate) const PLC: &str = "plc.directory";

/// Names of the op table, as used by the request builders.
pub(crate) mod op {
    pub(crate) const HANDLE_RESOLVE: &str = "handle.resolve";
    pub(crate) const DID_PLC: &str = "did.plc";
    pub(crate) const DID_WEB: &str = "did.web";
    pub(crate) const SESSION_CREATE: &str = "session.create";
    pub(crate) const SESSION_REFRESH: &str = "session.refresh";
    pub(crate) const SESSION_DELETE: &str = "session.delete";
    pub(crate) const SESSION_GET: &str = "session.get";
    pub(crate) const RECORD_GET: &str = "record.get";
    pub(crate) const BLOB_UPLOAD: &str = "blob.upload";
    pub(crate) const RECORD_PUT: &str = "record.put";
    pub(crate) const POSTS_GET: &str = "posts.get";
}

/// Names of the post options.
pub(crate) mod option {
    pub(crate) const LANGUAGES: &str = "languages";
    pub(crate) const ALT_TEXT: &str = "alt_text";
    pub(crate) const LINK_URL: &str = "link_url";
    pub(crate) const LINK_TITLE: &str = "link_title";
    pub(crate) const LINK_DESCRIPTION: &str = "link_description";
}

/// Most pictures of a post.
const MAX_IMAGES: usize = 4;

pub(crate) fn manifest() -> Manifest {
    Manifest {
        id: ProviderId::parse(ID).expect("a fixed and well-formed name"),
        display_name: "Bluesky",
        version: env!("CARGO_PKG_VERSION"),
        docs_url: "https://docs.bsky.app",
        // An app password has no scopes.
        scopes: Vec::new(),
        needs: [Capability::PublishDirect, Capability::Metrics]
            .map(|capability| Need {
                capability,
                scopes: Vec::new(),
            })
            .to_vec(),
        ops: ops(),
        buckets: buckets(),
        quotas: Vec::new(),
        kinds: vec![
            kind(PostKind::Text, None),
            kind(PostKind::Images, Some(images())),
            kind(PostKind::Video, Some(video())),
        ],
        options: options(),
        form: PostForm::default(),
        browser_hosts: Vec::new(),
    }
}

fn ops() -> Vec<Op> {
    use Effect::{Commit, Observe, Prepare};
    let session = |name| {
        Op::at_account_server(name, "POST", Prepare)
            .secret("/accessJwt", "access_token")
            .secret("/refreshJwt", "refresh_token")
    };
    vec![
        Op::at_account_server(op::HANDLE_RESOLVE, "GET", Observe).or_at(RESOLVER),
        Op::new(op::DID_PLC, "GET", PLC, Observe),
        // The host is in the account's own name: `did:web:example.com`.
        Op::at_account_server(op::DID_WEB, "GET", Observe),
        session(op::SESSION_CREATE),
        session(op::SESSION_REFRESH),
        Op::at_account_server(op::SESSION_DELETE, "POST", Prepare),
        Op::at_account_server(op::SESSION_GET, "GET", Observe),
        Op::at_account_server(op::RECORD_GET, "GET", Observe),
        // Nobody sees a blob that no record names, and the server drops it after a while.
        Op::at_account_server(op::BLOB_UPLOAD, "POST", Prepare)
            .bucket("uploads_day")
            .within(Duration::from_mins(2)),
        Op::at_account_server(op::RECORD_PUT, "POST", Commit)
            .bucket("writes_hour")
            .bucket("writes_day"),
        Op {
            // 25 posts with all that they embed.
            max_answer_bytes: 1024 * 1024,
            ..Op::new(op::POSTS_GET, "GET", RESOLVER, Observe).bucket("reads")
        },
    ]
}

/// Bluesky counts points: 5,000 an hour and 35,000 a day, of which a new record takes 3.
fn buckets() -> Vec<Bucket> {
    let bucket = |name, limit, hours| Bucket {
        name,
        limit,
        window: Duration::from_hours(hours),
        scope: BucketScope::Account,
    };
    vec![
        bucket("writes_hour", 5_000 / 3, 1),
        bucket("writes_day", 35_000 / 3, 24),
        bucket("uploads_day", 1_000, 24),
        // Of an address 3,000 in five minutes, which all of its calls share.
        Bucket {
            name: "reads",
            limit: 1_000,
            window: Duration::from_mins(5),
            scope: BucketScope::App,
        },
    ]
}

fn kind(kind: PostKind, media: Option<MediaRule>) -> KindRule {
    KindRule {
        kind,
        modes: vec![PostMode::Direct],
        title: None,
        text: Some(TextRule {
            max: 300,
            count: TextCount::Grapheme,
        }),
        media,
        // Views are counted by nobody.
        metrics: vec![Metric::Likes, Metric::Comments, Metric::Reposts, Metric::Quotes],
    }
}

fn images() -> MediaRule {
    MediaRule {
        kind: MediaKind::Image,
        min_count: 1,
        max_count: MAX_IMAGES,
        mimes: vec!["image/jpeg", "image/png", "image/webp", "image/gif"],
        max_bytes: 2_000_000,
        ..video()
    }
}

fn video() -> MediaRule {
    MediaRule {
        kind: MediaKind::Video,
        min_count: 1,
        max_count: 1,
        mimes: vec!["video/mp4"],
        // Of the network. A server may take less in one upload, and says so.
        max_bytes: 300_000_000,
        transfers: vec![Transfer::Upload],
        codecs: Vec::new(),
        side_pixels: None,
        frame_rate: None,
        max_duration: None,
    }
}

fn options() -> Vec<OptionField> {
    let text = |name, title, description, max, posts: &[PostKind]| OptionField {
        name,
        title,
        description,
        kind: OptionKind::Text { max },
        posts: posts.to_vec(),
        modes: vec![PostMode::Direct],
        required: false,
        opposite: None,
        labels: BTreeMap::new(),
    };
    let all = [PostKind::Text, PostKind::Images, PostKind::Video];
    vec![
        text(
            option::LANGUAGES,
            "Languages",
            "Languages of the text, at most three, separated by commas: `en` or `en, pt-BR`.",
            64,
            &all,
        ),
        text(
            option::ALT_TEXT,
            "Description",
            "What the picture or video shows, for people who cannot see it. For several pictures: a line for each.",
            8_000,
            &[PostKind::Images, PostKind::Video],
        ),
        text(
            option::LINK_URL,
            "Link",
            "Address of a page that is shown as a card below the text.",
            2_048,
            &[PostKind::Text],
        ),
        text(
            option::LINK_TITLE,
            "Title of the link",
            "Headline of the card. Without it, the name of the site.",
            300,
            &[PostKind::Text],
        ),
        text(
            option::LINK_DESCRIPTION,
            "Description of the link",
            "Text of the card.",
            1_000,
            &[PostKind::Text],
        ),
    ]
}

//! TikTok as data: calls, limits, scopes, kinds of post and their options.
//!
//! Facts are from the developer pages named in the README (state of November 2026).

use std::{collections::BTreeMap, time::Duration};

use patchbay_core::{
    Bucket, BucketScope, Capability, Effect, KindRule, Manifest, MediaKind, MediaRule, Metric, Need, Op, OptionField,
    OptionKind, PostKind, PostMode, ProviderId, Quota, Scope, TextCount, TextRule, Transfer,
};

use crate::{ID, chunk, config::Config, form};

pub(crate) const USER_INFO_BASIC: &str = "user.info.basic";
pub(crate) const USER_INFO_PROFILE: &str = "user.info.profile";
const VIDEO_PUBLISH: &str = "video.publish";
const VIDEO_UPLOAD: &str = "video.upload";
const VIDEO_LIST: &str = "video.list";

/// What the Display API counts of a public video. TikTok lists photo posts there too.
const METRICS: [Metric; 4] = [Metric::Views, Metric::Likes, Metric::Comments, Metric::Shares];

/// Quota: drafts that wait in the inbox.
pub(crate) const PENDING_DRAFTS: &str = "pending_drafts";
/// Quota: posts made.
pub(crate) const DIRECT_POSTS: &str = "direct_posts";

/// Names of the op table, as used by the request builders.
pub(crate) mod op {
    pub(crate) const TOKEN_EXCHANGE: &str = "token.exchange";
    pub(crate) const TOKEN_REFRESH: &str = "token.refresh";
    pub(crate) const TOKEN_REVOKE: &str = "token.revoke";
    pub(crate) const TOKEN_APP: &str = "token.app";
    pub(crate) const USER_INFO: &str = "user.info";
    pub(crate) const USER_INFO_CONNECT: &str = "user.info_connect";
    pub(crate) const CREATOR_INFO: &str = "creator.info";
    pub(crate) const VIDEO_INIT: &str = "video.init";
    pub(crate) const VIDEO_INIT_PULL: &str = "video.init_pull";
    pub(crate) const INBOX_INIT: &str = "inbox.init";
    pub(crate) const INBOX_INIT_PULL: &str = "inbox.init_pull";
    pub(crate) const PHOTO_INIT: &str = "photo.init";
    pub(crate) const PHOTO_INIT_DRAFT: &str = "photo.init_draft";
    pub(crate) const VIDEO_CHUNK: &str = "video.chunk";
    pub(crate) const VIDEO_CHUNK_LAST: &str = "video.chunk_last";
    pub(crate) const POST_STATUS: &str = "post.status";
    pub(crate) const POST_CANCEL: &str = "post.cancel";
    pub(crate) const VIDEO_QUERY: &str = "video.query";
}

/// Scopes that the provider can use. The defaults are all of them: what an app lacks is left out by the setting
/// `scopes`.
pub(crate) const SCOPES: [Scope; 5] = [
    Scope {
        name: USER_INFO_BASIC,
        purpose: "See your name and picture, to show which account is connected.",
        default: true,
    },
    Scope {
        name: USER_INFO_PROFILE,
        purpose: "See your handle and the link to your profile.",
        default: true,
    },
    Scope {
        name: VIDEO_PUBLISH,
        purpose: "Publish videos and photos to your profile.",
        default: true,
    },
    Scope {
        name: VIDEO_UPLOAD,
        purpose: "Send drafts to your TikTok inbox, for you to finish in the app.",
        default: true,
    },
    Scope {
        name: VIDEO_LIST,
        purpose: "Read the counters of your public videos.",
        default: true,
    },
];

pub(crate) fn manifest(config: &Config) -> Manifest {
    let mut scopes = SCOPES.to_vec();
    if let Some(wanted) = &config.scopes {
        for scope in &mut scopes {
            scope.default = wanted.iter().any(|name| name == scope.name);
        }
    }
    Manifest {
        id: ProviderId::parse(ID).expect("a fixed and well-formed name"),
        display_name: "TikTok",
        version: env!("CARGO_PKG_VERSION"),
        docs_url: "https://developers.tiktok.com/doc/content-posting-api-get-started",
        scopes,
        needs: needs(),
        ops: ops(),
        buckets: buckets(),
        quotas: quotas(),
        kinds: vec![video(), images()],
        options: options(),
        form: form::form(),
        browser_hosts: vec!["www.tiktok.com"],
    }
}

fn needs() -> Vec<Need> {
    let need = |capability, scope| Need {
        capability,
        scopes: vec![scope],
    };
    vec![
        need(Capability::PublishDirect, VIDEO_PUBLISH),
        need(Capability::PublishDraft, VIDEO_UPLOAD),
        need(Capability::Metrics, VIDEO_LIST),
    ]
}

fn ops() -> Vec<Op> {
    use Effect::{Commit, Observe, Prepare};
    let post = |name, effect| Op::new(name, "POST", "open.tiktokapis.com", effect);
    // An init for a file shows nothing to anyone before the last byte: it may be repeated. An init for a pull sets
    // TikTok going by itself, and there is no idempotency key: a repeat is a second post.
    let file_init = |name, scope| {
        post(name, Prepare)
            .bucket("init")
            .any_scope(&[scope])
            .secret("/data/upload_url", "upload_url")
    };
    let pull_init = |name, scope| post(name, Commit).bucket("init").any_scope(&[scope]);
    let token = |name| {
        post(name, Prepare)
            .secret("/access_token", "access_token")
            .secret("/refresh_token", "refresh_token")
    };
    let chunk = |name, effect| {
        let mut op = Op::new(name, "PUT", "*.tiktokapis.com", effect).within(Duration::from_mins(15));
        op.hosts.push("*.tiktokapis.us");
        op
    };
    vec![
        token(op::TOKEN_EXCHANGE),
        token(op::TOKEN_REFRESH),
        post(op::TOKEN_REVOKE, Prepare),
        post(op::TOKEN_APP, Prepare).secret("/access_token", "app_token"),
        // While an account is being connected there is no account yet whose scopes or window could be looked at.
        Op::new(op::USER_INFO_CONNECT, "GET", "open.tiktokapis.com", Observe),
        Op::new(op::USER_INFO, "GET", "open.tiktokapis.com", Observe)
            .bucket("user_info")
            .any_scope(&[USER_INFO_BASIC]),
        post(op::CREATOR_INFO, Observe)
            .bucket("creator_info")
            .any_scope(&[VIDEO_PUBLISH]),
        file_init(op::VIDEO_INIT, VIDEO_PUBLISH),
        pull_init(op::VIDEO_INIT_PULL, VIDEO_PUBLISH),
        file_init(op::INBOX_INIT, VIDEO_UPLOAD),
        pull_init(op::INBOX_INIT_PULL, VIDEO_UPLOAD),
        pull_init(op::PHOTO_INIT, VIDEO_PUBLISH),
        pull_init(op::PHOTO_INIT_DRAFT, VIDEO_UPLOAD),
        chunk(op::VIDEO_CHUNK, Prepare),
        chunk(op::VIDEO_CHUNK_LAST, Commit),
        post(op::POST_STATUS, Observe)
            .bucket("status")
            .any_scope(&[VIDEO_PUBLISH, VIDEO_UPLOAD]),
        post(op::POST_CANCEL, Prepare).any_scope(&[VIDEO_PUBLISH, VIDEO_UPLOAD]),
        post(op::VIDEO_QUERY, Observe)
            .bucket("video_query")
            .any_scope(&[VIDEO_LIST]),
    ]
}

fn buckets() -> Vec<Bucket> {
    let per_minute = |name, limit| Bucket {
        name,
        limit,
        window: Duration::from_mins(1),
        scope: BucketScope::Account,
    };
    vec![
        // The pages give 6 to each of the three init endpoints and do not say that the windows are apart. One
        // window for all three is right under both readings.
        per_minute("init", 6),
        per_minute("creator_info", 20),
        per_minute("status", 30),
        per_minute("user_info", 600),
        per_minute("video_query", 600),
    ]
}

fn quotas() -> Vec<Quota> {
    let window = Duration::from_hours(24);
    vec![
        Quota {
            name: PENDING_DRAFTS,
            mode: PostMode::Draft,
            limit: 5,
            window,
            frees_when_done: true,
        },
        // "About 15", shared with every other app: TikTok's own refusal comes first where it is lower.
        Quota {
            name: DIRECT_POSTS,
            mode: PostMode::Direct,
            limit: 15,
            window,
            frees_when_done: false,
        },
    ]
}

fn utf16(max: usize) -> Option<TextRule> {
    Some(TextRule {
        max,
        count: TextCount::Utf16,
    })
}

fn video() -> KindRule {
    KindRule {
        kind: PostKind::Video,
        modes: vec![PostMode::Direct, PostMode::Draft],
        // A video has one caption, which TikTok calls its title. It is taken from either field, not from both.
        title: utf16(2200),
        text: utf16(2200),
        media: Some(MediaRule {
            kind: MediaKind::Video,
            min_count: 1,
            max_count: 1,
            mimes: vec!["video/mp4", "video/quicktime", "video/webm"],
            max_bytes: chunk::MAX_FILE,
            transfers: vec![Transfer::Upload, Transfer::PullUrl, Transfer::PullHosted],
            // H.264, H.265, VP8, VP9 under their names in MP4, QuickTime and WebM.
            codecs: vec!["avc1", "avc3", "hvc1", "hev1", "vp08", "vp09", "V_VP8", "V_VP9"],
            side_pixels: Some((360, 4096)),
            frame_rate: Some((23.0, 60.0)),
            max_duration: Some(Duration::from_mins(10)),
        }),
        metrics: METRICS.to_vec(),
    }
}

fn images() -> KindRule {
    KindRule {
        kind: PostKind::Images,
        modes: vec![PostMode::Direct, PostMode::Draft],
        title: utf16(90),
        text: utf16(4000),
        media: Some(MediaRule {
            kind: MediaKind::Image,
            min_count: 1,
            max_count: 35,
            mimes: vec!["image/jpeg", "image/webp"],
            max_bytes: 20 * 1024 * 1024,
            transfers: vec![Transfer::PullUrl, Transfer::PullHosted],
            codecs: Vec::new(),
            // "At most 1080p", in either orientation.
            side_pixels: Some((1, 1920)),
            frame_rate: None,
            max_duration: None,
        }),
        metrics: METRICS.to_vec(),
    }
}

fn options() -> Vec<OptionField> {
    use PostKind::{Images, Video};
    let direct = |name, title, description, kind, posts: &[PostKind]| OptionField {
        name,
        title,
        description,
        kind,
        posts: posts.to_vec(),
        modes: vec![PostMode::Direct],
        required: false,
        opposite: None,
        labels: BTreeMap::new(),
    };
    let flag = |name, title, description, posts| direct(name, title, description, OptionKind::Bool, posts);
    // Content Sharing Guidelines, point 2c: people allow an interaction, and nothing is allowed at first.
    let ban = |name, title, allow, description, posts| OptionField {
        opposite: Some(allow),
        ..flag(name, title, description, posts)
    };
    vec![
        OptionField {
            required: true,
            labels: BTreeMap::from([
                ("PUBLIC_TO_EVERYONE", "Everyone"),
                ("MUTUAL_FOLLOW_FRIENDS", "Friends"),
                ("FOLLOWER_OF_CREATOR", "Followers"),
                ("SELF_ONLY", "Only you"),
            ]),
            ..direct(
                "privacy_level",
                "Who can see this post",
                "One of the levels that the account offers now.",
                OptionKind::Choice {
                    values: vec![
                        "PUBLIC_TO_EVERYONE",
                        "MUTUAL_FOLLOW_FRIENDS",
                        "FOLLOWER_OF_CREATOR",
                        "SELF_ONLY",
                    ],
                },
                &[Video, Images],
            )
        },
        ban(
            "disable_comment",
            "No comments",
            "Comment",
            "Nobody can comment on the post.",
            &[Video, Images],
        ),
        ban(
            "disable_duet",
            "No Duet",
            "Duet",
            "Nobody can make a Duet with the video.",
            &[Video],
        ),
        ban(
            "disable_stitch",
            "No Stitch",
            "Stitch",
            "Nobody can use parts of the video in a Stitch.",
            &[Video],
        ),
        flag(
            "brand_content_toggle",
            "Branded content",
            "You are promoting another brand or a third party. This content will be classified as Branded Content.",
            &[Video, Images],
        ),
        flag(
            "brand_organic_toggle",
            "Your brand",
            "You are promoting yourself or your own business. This content will be classified as Brand Organic.",
            &[Video, Images],
        ),
        flag(
            "is_aigc",
            "AI-generated",
            "TikTok labels the video as generated by AI.",
            &[Video],
        ),
        direct(
            "video_cover_timestamp_ms",
            "Cover frame",
            "Moment of the video that becomes its cover, in milliseconds. Without it the first frame does.",
            OptionKind::Integer { min: 0, max: 600_000 },
            &[Video],
        ),
        flag(
            "auto_add_music",
            "Add music",
            "TikTok adds recommended music to the photos.",
            &[Images],
        ),
        OptionField {
            modes: vec![PostMode::Direct, PostMode::Draft],
            ..direct(
                "photo_cover_index",
                "Cover photo",
                "Position of the photo that becomes the cover, counted from 0. Without it the first one does.",
                OptionKind::Integer { min: 0, max: 34 },
                &[Images],
            )
        },
    ]
}

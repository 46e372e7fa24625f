//! The tables: each code with what the host does next, who can act, a sentence for people, and its source.
//!
//! Three tables of TikTok's, because one word can mean two things: a code of the API envelope refuses a call, a
//! `fail_reason` ends an attempt that was taken before, and an OAuth error is flat and of RFC 6749.

use std::time::Duration;

use patchbay_core::{
    ErrorKind::{self, InvalidRequest, Permanent, RateLimited, ReauthRequired, Retryable},
    WhoActs::{self, AccountOwner, Caller, Nobody, Operator},
};

use crate::manifest::{DIRECT_POSTS, PENDING_DRAFTS};

/// One code.
pub(crate) struct Row {
    pub code: &'static str,
    pub kind: ErrorKind,
    pub who: WhoActs,
    pub advice: &'static str,
    pub source: &'static str,
    /// The quota that is used up.
    pub quota: Option<&'static str>,
    /// How long to wait, where TikTok does not say.
    pub wait: Option<Duration>,
}

impl Row {
    const fn uses_up(mut self, quota: &'static str, wait: Duration) -> Self {
        self.quota = Some(quota);
        self.wait = Some(wait);
        self
    }
}

// Pages below `developers.tiktok.com/doc/`.
const DIRECT_POST: &str = "content-posting-api-reference-direct-post";
const UPLOAD: &str = "content-posting-api-reference-upload-video";
const PHOTO: &str = "content-posting-api-reference-photo-post";
const CREATOR: &str = "content-posting-api-reference-query-creator-info";
const STATUS: &str = "content-posting-api-reference-get-video-status";
const TRANSFER: &str = "content-posting-api-media-transfer-guide";
const API_ERRORS: &str = "tiktok-api-v2-error-handling";
const RATE_LIMITS: &str = "tiktok-api-v2-rate-limit";
const OAUTH_ERRORS: &str = "oauth-error-handling";

const fn row(code: &'static str, kind: ErrorKind, who: WhoActs, source: &'static str, advice: &'static str) -> Row {
    Row {
        code,
        kind,
        who,
        advice,
        source,
        quota: None,
        wait: None,
    }
}

const PASSING: &str = "TikTok has a passing fault. Patchbay tries again by itself.";
const RECONNECT: &str = "TikTok no longer accepts this connection. Connect the account again.";
const TOO_MANY_POSTS: &str = "This account has reached TikTok's daily limit of posts made by apps. Try again tomorrow, \
                              or post in the TikTok app.";
const BANNED: &str = "TikTok has barred this account from posting. Look for a notice in the TikTok app.";
const APP_SETUP: &str = "The TikTok app of this installation is not set up rightly. Its operator has to look at the \
                         client key, the secret, the redirect address and the scopes.";

/// Codes of the API envelope.
pub(crate) const CODES: &[Row] = &[
    // The posting pages print `invalid_param`, every captured answer has `invalid_params`: one row, see `canonical`.
    row(
        "invalid_params",
        InvalidRequest,
        Caller,
        DIRECT_POST,
        "TikTok does not accept this post as it is. Check its texts, options and media.",
    ),
    row(
        "invalid_file_upload",
        InvalidRequest,
        Caller,
        API_ERRORS,
        "TikTok does not accept this file. Check its format and size.",
    ),
    row(
        "app_version_check_failed",
        Permanent,
        AccountOwner,
        PHOTO,
        "Photo drafts need the TikTok app in version 31.8 or newer. Update the app, then try again.",
    ),
    row(
        "invalid_publish_id",
        Permanent,
        Operator,
        STATUS,
        "TikTok does not know this attempt any more. Look in the TikTok app whether the post is there.",
    ),
    row(
        "token_not_authorized_for_specified_publish_id",
        Permanent,
        Operator,
        STATUS,
        "TikTok says that this post was begun by another account. Look in the TikTok app whether it is there.",
    ),
    row(
        "publish_not_cancellable",
        Permanent,
        Nobody,
        STATUS,
        "It is too late to cancel: TikTok is already publishing the post.",
    ),
    row(
        "access_token_invalid",
        ReauthRequired,
        AccountOwner,
        API_ERRORS,
        RECONNECT,
    ),
    row(
        "scope_not_authorized",
        ReauthRequired,
        AccountOwner,
        API_ERRORS,
        "A permission is missing. Connect the account again and allow everything that is asked for.",
    ),
    row(
        "scope_permission_missed",
        ReauthRequired,
        AccountOwner,
        API_ERRORS,
        "A permission is missing. Connect the account again and allow everything that is asked for.",
    ),
    // The sharing guidelines want the person to be told to come back later, so a full day is an end and not a wait.
    row(
        "spam_risk_too_many_posts",
        Permanent,
        AccountOwner,
        CREATOR,
        TOO_MANY_POSTS,
    )
    // Other posts wait: some hours later the oldest ones no longer count.
    .uses_up(DIRECT_POSTS, Duration::from_hours(2)),
    row(
        "spam_risk_user_banned_from_posting",
        Permanent,
        AccountOwner,
        CREATOR,
        BANNED,
    ),
    row(
        "reached_active_user_cap",
        Permanent,
        Operator,
        CREATOR,
        "This installation has reached the number of people who may post through it in one day. Try again tomorrow.",
    ),
    row(
        "spam_risk_too_many_pending_share",
        RateLimited,
        AccountOwner,
        UPLOAD,
        "Too many drafts wait in this account's TikTok inbox. Post or discard some in the TikTok app, and this one follows \
         by itself.",
    )
    // A place is free as soon as the person posts one. Nobody is told of it, so it is tried again.
    .uses_up(PENDING_DRAFTS, Duration::from_mins(15)),
    // About the account more than the post: brightbeanxyz/brightbean-studio#144 shows the cure.
    row(
        "unaudited_client_can_only_post_to_private_accounts",
        Permanent,
        AccountOwner,
        DIRECT_POST,
        "TikTok has not audited this app yet. Until then the TikTok account must be set to private and the post to \
         \"only me\" (SELF_ONLY).",
    ),
    row(
        "url_ownership_unverified",
        InvalidRequest,
        Operator,
        DIRECT_POST,
        "TikTok only fetches media from addresses that this installation has proved to own. Upload the file instead, \
         or have the address verified in TikTok's developer portal.",
    ),
    row(
        "privacy_level_option_mismatch",
        InvalidRequest,
        Caller,
        DIRECT_POST,
        "This account does not offer that privacy level now. Choose one of those it offers.",
    ),
    row(
        "rate_limit_exceeded",
        RateLimited,
        Nobody,
        RATE_LIMITS,
        "TikTok asks to slow down. Patchbay goes on by itself.",
    ),
    row("internal_error", Retryable, Nobody, API_ERRORS, PASSING),
];

/// Values of `fail_reason` in a status and of `reason` in `post.publish.failed`. A kind that a retry helps means that
/// a *new attempt* may succeed: the old one has ended without a post.
pub(crate) const FAIL_REASONS: &[Row] = &[
    row(
        "internal",
        Retryable,
        Nobody,
        STATUS,
        "TikTok failed while it worked on this post. Nothing was posted: try again later.",
    ),
    row(
        "video_pull_failed",
        Retryable,
        Nobody,
        STATUS,
        "TikTok could not fetch the video. Its address must be public, without a redirect, and fast enough.",
    ),
    row(
        "photo_pull_failed",
        Retryable,
        Nobody,
        STATUS,
        "TikTok could not fetch a photo. Its address must be public, without a redirect, and fast enough.",
    ),
    row(
        "file_format_check_failed",
        InvalidRequest,
        Caller,
        STATUS,
        "TikTok does not accept this file format. Videos: MP4, MOV or WebM with H.264, H.265, VP8 or VP9. Photos: \
         JPEG or WebP.",
    ),
    row(
        "duration_check_failed",
        InvalidRequest,
        Caller,
        STATUS,
        "The video is too long or too short for this account.",
    ),
    row(
        "frame_rate_check_failed",
        InvalidRequest,
        Caller,
        STATUS,
        "TikTok takes videos of 23 to 60 frames per second.",
    ),
    row(
        "picture_size_check_failed",
        InvalidRequest,
        Caller,
        STATUS,
        "The picture has a size that TikTok does not take. Videos: 360 to 4096 pixels on each side. Photos: at most \
         1080p.",
    ),
    row(
        "publish_cancelled",
        Permanent,
        Caller,
        STATUS,
        "The post was cancelled before TikTok published it.",
    ),
    row("auth_removed", ReauthRequired, AccountOwner, STATUS, RECONNECT),
    row(
        "spam_risk_too_many_posts",
        Permanent,
        AccountOwner,
        STATUS,
        TOO_MANY_POSTS,
    ),
    row(
        "spam_risk_user_banned_from_posting",
        Permanent,
        AccountOwner,
        STATUS,
        BANNED,
    ),
    row(
        "spam_risk_text",
        InvalidRequest,
        Caller,
        STATUS,
        "TikTok holds the text of this post for spam or for something it forbids. Change the text.",
    ),
    row(
        "spam_risk",
        Permanent,
        AccountOwner,
        STATUS,
        "TikTok holds this post for spam. Look for a notice in the TikTok app.",
    ),
];

/// Errors of the token and revoke endpoints. Only `invalid_grant` says that the grant itself is dead.
pub(crate) const OAUTH: &[Row] = &[
    row("invalid_grant", ReauthRequired, AccountOwner, OAUTH_ERRORS, RECONNECT),
    row("invalid_request", Permanent, Operator, OAUTH_ERRORS, APP_SETUP),
    row("invalid_client", Permanent, Operator, OAUTH_ERRORS, APP_SETUP),
    row("invalid_scope", Permanent, Operator, OAUTH_ERRORS, APP_SETUP),
    row("unauthorized_client", Permanent, Operator, OAUTH_ERRORS, APP_SETUP),
    row("unsupported_grant_type", Permanent, Operator, OAUTH_ERRORS, APP_SETUP),
    row(
        "unsupported_response_type",
        Permanent,
        Operator,
        OAUTH_ERRORS,
        APP_SETUP,
    ),
    row(
        "access_denied",
        Permanent,
        AccountOwner,
        OAUTH_ERRORS,
        "The connection was declined. Connect the account again and allow what is asked for.",
    ),
    row("server_error", Retryable, Nobody, OAUTH_ERRORS, PASSING),
    row("temporarily_unavailable", Retryable, Nobody, OAUTH_ERRORS, PASSING),
];

/// Refusals of this provider, which have no code of TikTok's.
pub(crate) const OURS: &[Row] = &[
    row(
        "processing_timeout",
        Permanent,
        AccountOwner,
        STATUS,
        "TikTok has not finished with this post for a long time. It may still appear: look in the TikTok app before \
         posting again.",
    ),
    row(
        "upload_expired",
        Permanent,
        Operator,
        TRANSFER,
        "The upload to TikTok did not end within the hour that TikTok gives, several times. Nothing was posted.",
    ),
    row(
        "upload_refused",
        Permanent,
        Operator,
        TRANSFER,
        "TikTok refused a part of the file. Nothing was posted.",
    ),
];

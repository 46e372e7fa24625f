//! Everything about the platform that a test may turn while it runs, as one plain value.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// The switches. Readable and changeable over `/_admin/switches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Unaudited apps post privately, to private accounts, for few users.
    pub audited: bool,
    /// Before approval the authorize page refuses the app.
    pub approved: bool,
    /// A sandbox knows only its target users and makes nothing public.
    pub sandbox: bool,
    /// One integrator measured that a sandbox refuses every refresh.
    pub sandbox_refuses_refresh: bool,

    pub tokens: TokenProfile,
    pub rotate_refresh: bool,
    pub token_error_status: TokenErrorStatus,
    pub pkce: Pkce,
    pub code_seconds: u32,

    pub param_spelling: ParamSpelling,
    pub missing_field_scope: MissingFieldScope,
    pub failure_data: FailureData,
    pub creator_info_data_at_cap: bool,

    pub chunk_band: ChunkBand,
    pub upload_content_range: UploadContentRange,
    /// Whether PUT answers carry a small JSON body; the real ones are unknown.
    pub upload_json_body: bool,
    /// Answer when the bytes do not match the range: 400 as documented, 502 as seen.
    pub wrong_length_status: u16,

    /// From the last byte to the outcome, on the simulator's clock.
    pub processing_seconds: u32,
    /// From PUBLISH_COMPLETE to the public post id.
    pub post_id_seconds: u32,
    /// From an accepted cancel to FAILED.
    pub cancel_seconds: u32,

    pub posts_per_day: usize,
    pub pending_drafts: usize,
    pub unaudited_users_per_day: usize,
    pub audited_users_per_day: Option<usize>,

    /// Verified domains: subdomains and all paths are covered.
    pub owned_domains: Vec<String>,
    /// Verified prefixes, `https://host/path/`.
    pub owned_prefixes: Vec<String>,
    /// Where a media host really listens, since everything is offline: plain HTTP is spoken there.
    pub pull_map: BTreeMap<String, SocketAddr>,

    /// From when on a video's counts do not grow any more, after it became public. `None`: they grow for ever.
    pub counts_end_after_minutes: Option<i64>,

    pub webhook_style: WebhookStyle,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            audited: true,
            approved: true,
            sandbox: false,
            sandbox_refuses_refresh: false,
            tokens: TokenProfile::Strict,
            rotate_refresh: true,
            token_error_status: TokenErrorStatus::Always200,
            pkce: Pkce::Loopback,
            code_seconds: 600,
            param_spelling: ParamSpelling::InvalidParams,
            missing_field_scope: MissingFieldScope::ScopeNotAuthorized,
            failure_data: FailureData::Mixed,
            creator_info_data_at_cap: false,
            chunk_band: ChunkBand::Wide,
            upload_content_range: UploadContentRange::Count,
            upload_json_body: false,
            wrong_length_status: 400,
            processing_seconds: 2,
            post_id_seconds: 3,
            cancel_seconds: 1,
            posts_per_day: 15,
            pending_drafts: 5,
            unaudited_users_per_day: 5,
            audited_users_per_day: None,
            owned_domains: Vec::new(),
            owned_prefixes: Vec::new(),
            pull_map: BTreeMap::new(),
            counts_end_after_minutes: None,
            webhook_style: WebhookStyle::Real,
        }
    }
}

impl Switches {
    /// Sandboxes share the rules of unaudited apps.
    pub(crate) fn private_only(&self) -> bool {
        !self.audited || self.sandbox
    }
}

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenProfile {
    /// 2 h and 180 d; the old refresh token dies when a new one is given (pages of November 2026).
    Strict,
    /// 24 h and 365 d; an old refresh token keeps working (older pages).
    Legacy,
}

impl TokenProfile {
    pub(crate) fn access_life(self) -> TimeDelta {
        match self {
            Self::Strict => TimeDelta::hours(2),
            Self::Legacy => TimeDelta::hours(24),
        }
    }

    pub(crate) fn refresh_life(self) -> TimeDelta {
        match self {
            Self::Strict => TimeDelta::days(180),
            Self::Legacy => TimeDelta::days(365),
        }
    }

    pub(crate) fn old_refresh_dies(self) -> bool {
        self == Self::Strict
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenErrorStatus {
    Always200,
    /// 401 for `invalid_client`, 400 for the rest.
    Rfc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// Required and checked where the redirect is loopback.
    Loopback,
    /// Required and checked for every redirect.
    Every,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamSpelling {
    InvalidParams,
    InvalidParam,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingFieldScope {
    /// 401 `scope_not_authorized`, as seen.
    ScopeNotAuthorized,
    /// 400 `scope_permission_missed`, as documented.
    ScopePermissionMissed,
}

/// Whether a failure envelope carries `"data": {}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureData {
    /// 401 with, 403 without, the others in turn.
    Mixed,
    Always,
    Never,
}

/// Accepted sizes of all chunks but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkBand {
    /// 5,000,000 to 67,108,864, last up to 134,217,728.
    Wide,
    /// 5,242,880 to 64,000,000, last up to 128,000,000.
    Narrow,
}

/// What the second number of a PUT answer's `Content-Range` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadContentRange {
    Count,
    LastIndex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStyle {
    Real,
    /// The simplified form some integrators were briefed with: flat body, `event_type`, bare hex signature.
    Flat,
}

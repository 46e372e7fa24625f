//! How a row of either database becomes a value, and which columns that takes.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{
        Account, ApiKey, Attempt, AttemptResult, AuditEntry, AuditHead, Avatar, BegunUpload, Commit, DataKey, Delivery,
        Endpoint, EndpointStatus, ErasedGrant, Erasure, Event, EventNames, Failure, Flow, ImportFailure, InboxItem,
        Job, JobKind, Lease, LeasedUpload, Media, MetricWatch, NewWebhook, Observation, OperatorSession, PastReading,
        Picture, PostOutcome, PostRecord, PostStatus, Progress, PullFile, PullUrl, SealedSecret, SealedTokens, Seen,
        Session, Subject, Tenant, Upload, UploadLease,
    },
    store::{
        AccountCounts, AccountTraces, Cursor, DeliveryCounts, KindCounts, OutcomeCounts, RefreshFailures, StoreError,
        StoreResult,
    },
};
use patchbay_core::{
    AccountId, ApiKeyId, AuditId, DeliveryId, EndpointId, ErasureId, EventId, FlowId, GroupId, InboxId, JobId, MediaId,
    PostId, ProviderId, SessionId, TenantId,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

macro_rules! account_columns {
    () => {
        "tenant_id, id, owner, provider, client_id, remote_id, display_name, username, avatar_url, profile_url, \
         scopes, status, status_code, simulated, token_version, tokens, access_expires_at, refresh_expires_at, \
         refreshed_at, connected_at, created_at, updated_at"
    };
}

macro_rules! post_columns {
    () => {
        "tenant_id, id, account_id, provider, simulated, status, content, step, checkpoint, captured, remote_ref, \
         publication, failure, tries, cancel_requested, scheduled_at, group_id, retry_of, correlation_id, created_at, \
         updated_at, finished_at"
    };
}

macro_rules! job_columns {
    () => {
        "id, tenant_id, kind, target, status, run_at, attempts, lost, fence, last_error, correlation_id, created_at, \
         finished_at"
    };
}

macro_rules! event_columns {
    () => {
        "id, tenant_id, provider, name, account_id, post_id, occurred_at, recorded_at, payload"
    };
}

macro_rules! api_key_columns {
    () => {
        "id, tenant_id, name, public_id, secret_hash, scopes, created_at, expires_at, revoked_at, last_used_at"
    };
}

macro_rules! flow_columns {
    () => {
        "id, tenant_id, owner, provider, state_hash, cookie_hash, sealed, identities, scopes, redirect_uri, return_to, \
         activate, session_id, expires_at"
    };
}

macro_rules! session_columns {
    () => {
        "id, tenant_id, owner, provider, token_hash, scopes, account_id, return_to, origins, activate, status, \
         connected_id, also_connected, missing_scopes, code, expires_at"
    };
}

macro_rules! endpoint_columns {
    () => {
        "tenant_id, id, url, description, events, secret, secret_version, old_secret, old_secret_until, status, \
         disabled_code, disabled_at, failing_since, created_at, updated_at"
    };
}

macro_rules! delivery_columns {
    () => {
        "tenant_id, id, endpoint_id, event_id, \
         (SELECT name FROM events WHERE events.id = deliveries.event_id) AS event_name, status, attempts, \
         attempted_at, answer_status, answer_body, code, created_at, finished_at"
    };
}

macro_rules! media_columns {
    () => {
        "tenant_id, id, label, info, sha256, created_at, expires_at"
    };
}

macro_rules! watch_columns {
    () => {
        "post_id, account_id, since, next_at, unchanged, counts, read_at, missing"
    };
}

macro_rules! upload_columns {
    () => {
        "tenant_id, id, label, metadata, size_bytes, offset_bytes, digest, place, source, failure_code, \
         total_bytes, version, fence, created_at, expires_at"
    };
}

macro_rules! audit_columns {
    () => {
        "tenant_id, seq, id, at, actor, actor_key, action, target, request_id, detail, hash"
    };
}

macro_rules! erasure_columns {
    () => {
        "tenant_id, id, kind, account_id, owner, counts, requested_at, finished_at"
    };
}

pub(crate) use {
    account_columns, api_key_columns, audit_columns, delivery_columns, endpoint_columns, erasure_columns,
    event_columns, flow_columns, job_columns, media_columns, post_columns, session_columns, upload_columns,
    watch_columns,
};

/// A row of either database. `None` is NULL.
pub(crate) trait Row {
    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error>;
    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error>;
    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    fn int(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
    fn flag(&self, column: &str) -> Result<Option<bool>, sqlx::Error>;
    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error>;
    fn json(&self, column: &str) -> Result<Option<Value>, sqlx::Error>;
}

/// Reads one row of a table. A value that no version of this program writes is `Corrupt`, named by its column.
pub(crate) struct Cells<'r, R> {
    row: &'r R,
    table: &'static str,
}

impl<'r, R: Row> Cells<'r, R> {
    pub(crate) fn of(row: &'r R, table: &'static str) -> Self {
        Self { row, table }
    }

    fn corrupt(&self, column: &str, what: &str) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            what: format!("{column} {what}"),
        }
    }

    fn maybe<T>(&self, column: &str, cell: Result<Option<T>, sqlx::Error>) -> StoreResult<Option<T>> {
        // The error's own text may hold the value.
        cell.map_err(|_| self.corrupt(column, "has a wrong type"))
    }

    fn full<T>(&self, column: &str, cell: Result<Option<T>, sqlx::Error>) -> StoreResult<T> {
        self.maybe(column, cell)?.ok_or_else(|| self.corrupt(column, "is null"))
    }

    pub(crate) fn uuid(&self, column: &str) -> StoreResult<Uuid> {
        self.full(column, self.row.uuid(column))
    }

    pub(crate) fn maybe_uuid(&self, column: &str) -> StoreResult<Option<Uuid>> {
        self.maybe(column, self.row.uuid(column))
    }

    pub(crate) fn time(&self, column: &str) -> StoreResult<DateTime<Utc>> {
        self.full(column, self.row.time(column))
    }

    pub(crate) fn maybe_time(&self, column: &str) -> StoreResult<Option<DateTime<Utc>>> {
        self.maybe(column, self.row.time(column))
    }

    pub(crate) fn text(&self, column: &str) -> StoreResult<String> {
        self.full(column, self.row.text(column))
    }

    pub(crate) fn maybe_text(&self, column: &str) -> StoreResult<Option<String>> {
        self.maybe(column, self.row.text(column))
    }

    pub(crate) fn int(&self, column: &str) -> StoreResult<i64> {
        self.full(column, self.row.int(column))
    }

    fn maybe_number<T: TryFrom<i64>>(&self, column: &str) -> StoreResult<Option<T>> {
        self.maybe(column, self.row.int(column))?
            .map(|number| T::try_from(number).map_err(|_| self.corrupt(column, "is out of range")))
            .transpose()
    }

    pub(crate) fn flag(&self, column: &str) -> StoreResult<bool> {
        self.full(column, self.row.flag(column))
    }

    pub(crate) fn bytes(&self, column: &str) -> StoreResult<Vec<u8>> {
        self.full(column, self.row.bytes(column))
    }

    pub(crate) fn maybe_bytes(&self, column: &str) -> StoreResult<Option<Vec<u8>>> {
        self.maybe(column, self.row.bytes(column))
    }

    /// A number in its own type.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &str) -> StoreResult<T> {
        T::try_from(self.int(column)?).map_err(|_| self.corrupt(column, "is out of range"))
    }

    pub(crate) fn digest(&self, column: &str) -> StoreResult<[u8; 32]> {
        <[u8; 32]>::try_from(self.bytes(column)?).map_err(|_| self.corrupt(column, "is not 32 bytes"))
    }

    /// A name that has a type: a state, a platform, a URL.
    pub(crate) fn name<T: FromStr>(&self, column: &str) -> StoreResult<T> {
        self.text(column)?
            .parse()
            .map_err(|_| self.corrupt(column, "has an unknown value"))
    }

    fn maybe_name<T: FromStr>(&self, column: &str) -> StoreResult<Option<T>> {
        self.maybe_text(column)?
            .map(|text| text.parse().map_err(|_| self.corrupt(column, "has an unknown value")))
            .transpose()
    }

    fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> StoreResult<Option<T>> {
        self.maybe(column, self.row.json(column))?
            .map(|value| serde_json::from_value(value).map_err(|_| self.corrupt(column, "has an unknown shape")))
            .transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> StoreResult<T> {
        self.maybe_json(column)?.ok_or_else(|| self.corrupt(column, "is null"))
    }

    fn tenant(&self) -> StoreResult<TenantId> {
        Ok(TenantId::from_uuid(self.uuid("tenant_id")?))
    }
}

pub(crate) fn tenant(row: &impl Row) -> StoreResult<Tenant> {
    let cells = Cells::of(row, "tenants");
    Ok(Tenant {
        id: TenantId::from_uuid(cells.uuid("id")?),
        name: cells.text("name")?,
        created_at: cells.time("created_at")?,
    })
}

/// Of a key in the list of its tenant's keys.
pub(crate) fn place_of_key(key: &ApiKey) -> Cursor {
    Cursor {
        at: key.last_used_at.unwrap_or(key.created_at),
        id: key.id.as_uuid(),
    }
}

pub(crate) fn api_key(row: &impl Row) -> StoreResult<ApiKey> {
    let cells = Cells::of(row, "api_keys");
    let names: Vec<String> = cells.json("scopes")?;
    let scopes = names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    Ok(ApiKey {
        id: ApiKeyId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        name: cells.text("name")?,
        public_id: cells.text("public_id")?,
        secret_hash: cells.digest("secret_hash")?,
        scopes: scopes.map_err(|_: String| cells.corrupt("scopes", "has an unknown value"))?,
        created_at: cells.time("created_at")?,
        expires_at: cells.maybe_time("expires_at")?,
        revoked_at: cells.maybe_time("revoked_at")?,
        last_used_at: cells.maybe_time("last_used_at")?,
    })
}

pub(crate) fn operator_session(row: &impl Row) -> StoreResult<OperatorSession> {
    let cells = Cells::of(row, "operator_sessions");
    Ok(OperatorSession {
        public_id: cells.text("public_id")?,
        started_at: cells.time("started_at")?,
        seen_at: cells.time("seen_at")?,
    })
}

pub(crate) fn data_key(row: &impl Row) -> StoreResult<DataKey> {
    let cells = Cells::of(row, "data_keys");
    Ok(DataKey {
        id: cells.number("id")?,
        tenant: cells.tenant()?,
        wrapped: cells.bytes("wrapped")?,
        canary: cells.bytes("canary")?,
        state: cells.name("state")?,
    })
}

pub(crate) fn account(row: &impl Row) -> StoreResult<Account> {
    let cells = Cells::of(row, "accounts");
    let token_version = cells.int("token_version")?;
    Ok(Account {
        id: AccountId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        owner: cells.text("owner")?,
        provider: cells.name("provider")?,
        client_id: cells.text("client_id")?,
        remote_id: cells.text("remote_id")?,
        display_name: cells.maybe_text("display_name")?,
        username: cells.maybe_text("username")?,
        avatar_url: cells.maybe_name("avatar_url")?,
        profile_url: cells.maybe_name("profile_url")?,
        scopes: cells.json("scopes")?,
        status: cells.name("status")?,
        status_code: cells.maybe_text("status_code")?,
        simulated: cells.flag("simulated")?,
        token_version,
        tokens: cells.maybe_bytes("tokens")?.map(|envelope| SealedTokens {
            envelope,
            version: token_version,
        }),
        access_expires_at: cells.maybe_time("access_expires_at")?,
        refresh_expires_at: cells.maybe_time("refresh_expires_at")?,
        refreshed_at: cells.maybe_time("refreshed_at")?,
        connected_at: cells.time("connected_at")?,
        created_at: cells.time("created_at")?,
        updated_at: cells.time("updated_at")?,
    })
}

/// Of the refresh job and the newest webhook of an account.
pub(crate) fn account_traces<R: Row>(refresh: Option<&R>, webhook: Option<&R>) -> StoreResult<AccountTraces> {
    let mut traces = AccountTraces::default();
    if let Some(row) = refresh {
        let cells = Cells::of(row, "jobs");
        traces.next_refresh_at = Some(cells.time("run_at")?);
        traces.refresh_attempts = cells.number("attempts")?;
        traces.refresh_error = cells.maybe_text("last_error")?;
    }
    if let Some(row) = webhook {
        traces.last_webhook_at = Some(Cells::of(row, "events").time("recorded_at")?);
    }
    Ok(traces)
}

pub(crate) fn session(row: &impl Row) -> StoreResult<Session> {
    let cells = Cells::of(row, "sessions");
    Ok(Session {
        id: SessionId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        owner: cells.text("owner")?,
        provider: cells.name("provider")?,
        token_hash: cells.digest("token_hash")?,
        scopes: cells.json("scopes")?,
        account: cells.maybe_uuid("account_id")?.map(AccountId::from_uuid),
        return_to: cells.maybe_text("return_to")?,
        origins: cells.json("origins")?,
        activate: cells.flag("activate")?,
        status: cells.name("status")?,
        connected: connected(&cells)?,
        missing_scopes: cells.json("missing_scopes")?,
        code: cells.maybe_text("code")?,
        expires_at: cells.time("expires_at")?,
    })
}

/// The accounts that came by a session.
pub(crate) fn connected(cells: &Cells<'_, impl Row>) -> StoreResult<Vec<AccountId>> {
    let first = cells.maybe_uuid("connected_id")?.map(AccountId::from_uuid);
    let also: Vec<AccountId> = cells.json("also_connected")?;
    Ok(first.into_iter().chain(also).collect())
}

pub(crate) fn flow(row: &impl Row) -> StoreResult<Flow> {
    let cells = Cells::of(row, "flows");
    Ok(Flow {
        id: FlowId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        owner: cells.text("owner")?,
        provider: cells.name("provider")?,
        state_hash: cells.digest("state_hash")?,
        cookie_hash: cells.digest("cookie_hash")?,
        sealed: cells.bytes("sealed")?,
        identities: cells.maybe_json("identities")?,
        scopes: cells.json("scopes")?,
        redirect_uri: cells.text("redirect_uri")?,
        return_to: cells.text("return_to")?,
        activate: cells.flag("activate")?,
        session: cells.maybe_uuid("session_id")?.map(SessionId::from_uuid),
        expires_at: cells.time("expires_at")?,
    })
}

pub(crate) fn post(row: &impl Row) -> StoreResult<PostRecord> {
    let cells = Cells::of(row, "posts");
    Ok(PostRecord {
        id: PostId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        account: AccountId::from_uuid(cells.uuid("account_id")?),
        provider: cells.name("provider")?,
        simulated: cells.flag("simulated")?,
        status: cells.name("status")?,
        content: cells.json("content")?,
        step: cells.int("step")?,
        checkpoint: cells.maybe_json("checkpoint")?,
        captured: cells.maybe_bytes("captured")?,
        remote_ref: cells.maybe_text("remote_ref")?,
        publication: cells.json("publication")?,
        failure: cells.maybe_json("failure")?,
        tries: cells.number("tries")?,
        cancel_requested: cells.flag("cancel_requested")?,
        scheduled_at: cells.maybe_time("scheduled_at")?,
        group: cells.maybe_uuid("group_id")?.map(GroupId::from_uuid),
        retry_of: cells.maybe_uuid("retry_of")?.map(PostId::from_uuid),
        correlation_id: cells.text("correlation_id")?,
        created_at: cells.time("created_at")?,
        updated_at: cells.time("updated_at")?,
        finished_at: cells.maybe_time("finished_at")?,
    })
}

pub(crate) fn commit(row: &impl Row) -> StoreResult<Commit> {
    let cells = Cells::of(row, "commits");
    let status = cells.maybe("answer_status", cells.row.int("answer_status"))?;
    Ok(Commit {
        step: cells.int("step")?,
        op: cells.text("op")?,
        about_to_at: cells.time("about_to_at")?,
        answered_at: cells.maybe_time("answered_at")?,
        answer_status: status
            .map(u16::try_from)
            .transpose()
            .map_err(|_| cells.corrupt("answer_status", "is out of range"))?,
        receipt: cells.maybe_bytes("receipt")?,
    })
}

pub(crate) fn observation(row: &impl Row) -> StoreResult<Observation> {
    let cells = Cells::of(row, "observations");
    Ok(Observation {
        id: cells.uuid("id")?,
        step: cells.int("step")?,
        source: cells.name("source")?,
        outcome: cells.name("outcome")?,
        code: cells.maybe_text("code")?,
        observed_at: cells.time("observed_at")?,
    })
}

/// The row of a pull URL, joined with its file if that may still be fetched.
pub(crate) fn pull_url(row: &impl Row) -> StoreResult<PullUrl> {
    let cells = Cells::of(row, "pull_urls");
    let Some(info) = cells.maybe_json("info")? else {
        return Ok(PullUrl::Closed);
    };
    Ok(PullUrl::Open(PullFile {
        tenant: cells.tenant()?,
        media: MediaId::from_uuid(cells.uuid("media_id")?),
        info,
        sha256: cells.digest("sha256")?,
    }))
}

/// When a post's next step is due.
pub(crate) fn next_step(row: &impl Row) -> StoreResult<(PostId, DateTime<Utc>)> {
    let cells = Cells::of(row, "jobs");
    Ok((PostId::from_uuid(cells.uuid("target")?), cells.time("run_at")?))
}

pub(crate) fn inbox(row: &impl Row) -> StoreResult<InboxItem> {
    let cells = Cells::of(row, "inbox");
    Ok(InboxItem {
        webhook: NewWebhook {
            id: InboxId::from_uuid(cells.uuid("id")?),
            tenant: cells.tenant()?,
            provider: cells.name("provider")?,
            client_id: cells.text("client_id")?,
            scheme: cells.text("scheme")?,
            digest: cells.digest("digest")?,
            body: cells.bytes("body")?,
            correlation_id: cells.text("correlation_id")?,
        },
        received_at: cells.time("received_at")?,
    })
}

pub(crate) fn event(row: &impl Row) -> StoreResult<Event> {
    let cells = Cells::of(row, "events");
    Ok(Event {
        id: EventId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        provider: cells.name::<ProviderId>("provider")?,
        name: cells.text("name")?,
        account: cells.maybe_uuid("account_id")?.map(AccountId::from_uuid),
        post: cells.maybe_uuid("post_id")?.map(PostId::from_uuid),
        occurred_at: cells.time("occurred_at")?,
        recorded_at: cells.time("recorded_at")?,
        payload: cells.json("payload")?,
    })
}

pub(crate) fn endpoint(row: &impl Row) -> StoreResult<Endpoint> {
    let cells = Cells::of(row, "webhook_endpoints");
    let version = cells.int("secret_version")?;
    let old_secret = match (cells.maybe_bytes("old_secret")?, cells.maybe_time("old_secret_until")?) {
        (Some(envelope), Some(until)) => {
            let version = version - 1;
            Some((SealedSecret { envelope, version }, until))
        }
        _ => None,
    };
    let status = match cells.text("status")?.as_str() {
        "enabled" => EndpointStatus::Enabled {
            failing_since: cells.maybe_time("failing_since")?,
        },
        "disabled" => EndpointStatus::Disabled {
            code: cells.text("disabled_code")?,
            at: cells.time("disabled_at")?,
        },
        _ => return Err(cells.corrupt("status", "has an unknown value")),
    };
    Ok(Endpoint {
        id: EndpointId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        url: cells.name("url")?,
        description: cells.maybe_text("description")?,
        events: EventNames(cells.json("events")?),
        secret: SealedSecret {
            envelope: cells.bytes("secret")?,
            version,
        },
        old_secret,
        status,
        created_at: cells.time("created_at")?,
        updated_at: cells.time("updated_at")?,
    })
}

/// What of an endpoint decides which events it gets.
pub(crate) struct Taker {
    pub(crate) tenant: TenantId,
    pub(crate) endpoint: EndpointId,
    pub(crate) events: EventNames,
    /// Whether anything is sent there.
    pub(crate) is_enabled: bool,
}

pub(crate) fn taker(row: &impl Row) -> StoreResult<Taker> {
    let cells = Cells::of(row, "webhook_endpoints");
    Ok(Taker {
        tenant: cells.tenant()?,
        endpoint: EndpointId::from_uuid(cells.uuid("id")?),
        events: EventNames(cells.json("events")?),
        is_enabled: cells.text("status")? == "enabled",
    })
}

pub(crate) fn delivery(row: &impl Row) -> StoreResult<Delivery> {
    let cells = Cells::of(row, "deliveries");
    let status = cells.maybe("answer_status", cells.row.int("answer_status"))?;
    let status = status
        .map(u16::try_from)
        .transpose()
        .map_err(|_| cells.corrupt("answer_status", "is out of range"))?;
    let result = AttemptResult {
        status,
        body: cells.maybe_text("answer_body")?,
        code: cells.maybe_text("code")?,
    };
    Ok(Delivery {
        id: DeliveryId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        endpoint: EndpointId::from_uuid(cells.uuid("endpoint_id")?),
        event: EventId::from_uuid(cells.uuid("event_id")?),
        event_name: cells.text("event_name")?,
        status: cells.name("status")?,
        attempts: cells.number("attempts")?,
        last: cells.maybe_time("attempted_at")?.map(|at| Attempt { at, result }),
        created_at: cells.time("created_at")?,
        finished_at: cells.maybe_time("finished_at")?,
    })
}

pub(crate) fn avatar(row: &impl Row) -> StoreResult<Avatar> {
    let cells = Cells::of(row, "avatars");
    let picture = match cells.maybe_bytes("bytes")? {
        Some(bytes) => Some(Picture {
            mime: cells.text("mime")?,
            sha256: cells.digest("sha256")?,
            bytes,
        }),
        None => None,
    };
    Ok(Avatar {
        source: cells.text("source")?,
        looked_at: cells.time("looked_at")?,
        picture,
    })
}

pub(crate) fn media(row: &impl Row) -> StoreResult<Media> {
    let cells = Cells::of(row, "media");
    Ok(Media {
        id: MediaId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        label: cells.maybe_text("label")?,
        info: cells.json("info")?,
        sha256: cells.digest("sha256")?,
        created_at: cells.time("created_at")?,
        expires_at: cells.time("expires_at")?,
    })
}

pub(crate) fn metric_watch(row: &impl Row) -> StoreResult<MetricWatch> {
    let cells = Cells::of(row, "metric_watches");
    Ok(MetricWatch {
        post: PostId::from_uuid(cells.uuid("post_id")?),
        account: AccountId::from_uuid(cells.uuid("account_id")?),
        since: cells.time("since")?,
        next_at: cells.maybe_time("next_at")?,
        unchanged: cells.number("unchanged")?,
        counts: cells.json("counts")?,
        read_at: cells.maybe_time("read_at")?,
        missing: cells.json("missing")?,
    })
}

pub(crate) fn past_reading(row: &impl Row) -> StoreResult<PastReading> {
    let cells = Cells::of(row, "metric_readings");
    Ok(PastReading {
        id: cells.uuid("id")?,
        read_at: cells.time("read_at")?,
        counts: cells.json("counts")?,
    })
}

pub(crate) fn upload(row: &impl Row) -> StoreResult<Upload> {
    let cells = Cells::of(row, "uploads");
    Ok(Upload {
        id: MediaId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        label: cells.maybe_text("label")?,
        metadata: cells.maybe_text("metadata")?,
        size: cells.number("size_bytes")?,
        progress: Progress {
            offset: cells.number("offset_bytes")?,
            digest: cells.bytes("digest")?,
            place: cells.maybe_text("place")?,
        },
        source: cells.maybe_text("source")?,
        seen: Seen {
            total: cells.maybe_number("total_bytes")?,
            version: cells.maybe_text("version")?,
        },
        failure: cells.maybe_text("failure_code")?.map(|code| ImportFailure::read(&code)),
        created_at: cells.time("created_at")?,
        expires_at: cells.time("expires_at")?,
    })
}

/// Under which key something was asked for, and the hash of that.
pub(crate) fn request(row: &impl Row) -> StoreResult<(Option<String>, Option<Vec<u8>>)> {
    let cells = Cells::of(row, "uploads");
    Ok((cells.maybe_text("request_key")?, cells.maybe_bytes("request_hash")?))
}

pub(crate) fn known_import(row: &impl Row) -> StoreResult<BegunUpload> {
    let cells = Cells::of(row, "uploads");
    let id = MediaId::from_uuid(cells.uuid("id")?);
    Ok(BegunUpload::Known(id, cells.digest("request_hash")?))
}

pub(crate) fn leased_upload(row: &impl Row) -> StoreResult<LeasedUpload> {
    let upload = upload(row)?;
    let lease = UploadLease {
        tenant: upload.tenant,
        id: upload.id,
        fence: Cells::of(row, "uploads").int("fence")?,
    };
    Ok(LeasedUpload::Leased(Box::new(upload), lease))
}

pub(crate) fn lease(row: &impl Row) -> StoreResult<Lease> {
    let cells = Cells::of(row, "jobs");
    Ok(Lease {
        job: JobId::from_uuid(cells.uuid("id")?),
        fence: cells.int("fence")?,
    })
}

pub(crate) fn job(row: &impl Row) -> StoreResult<Job> {
    let cells = Cells::of(row, "jobs");
    Ok(Job {
        id: JobId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        kind: cells.name("kind")?,
        target: cells.uuid("target")?,
        status: cells.name("status")?,
        run_at: cells.time("run_at")?,
        attempts: cells.number("attempts")?,
        lost: cells.number("lost")?,
        fence: cells.int("fence")?,
        correlation_id: cells.text("correlation_id")?,
        created_at: cells.time("created_at")?,
        finished_at: cells.maybe_time("finished_at")?,
        last_error: cells.maybe_text("last_error")?,
    })
}

pub(crate) fn audit_entry(row: &impl Row) -> StoreResult<AuditEntry> {
    let cells = Cells::of(row, "audit");
    Ok(AuditEntry {
        tenant: cells.tenant()?,
        seq: cells.int("seq")?,
        id: AuditId::from_uuid(cells.uuid("id")?),
        at: cells.time("at")?,
        actor: cells.text("actor")?,
        actor_key: cells.maybe_uuid("actor_key")?.map(ApiKeyId::from_uuid),
        action: cells.text("action")?,
        target: cells.maybe_text("target")?,
        request_id: cells.text("request_id")?,
        detail: cells.text("detail")?,
        hash: cells.digest("hash")?,
    })
}

pub(crate) fn audit_head(row: &impl Row) -> StoreResult<AuditHead> {
    let cells = Cells::of(row, "audit_heads");
    Ok(AuditHead {
        tenant: cells.tenant()?,
        seq: cells.int("seq")?,
        hash: cells.digest("hash")?,
    })
}

pub(crate) fn erasure(row: &impl Row, grants: Vec<ErasedGrant>) -> StoreResult<Erasure> {
    let cells = Cells::of(row, "erasures");
    let kind = cells.text("kind")?;
    let subject = match kind.as_str() {
        "tenant" => Subject::Tenant,
        "owner" => Subject::Owner(cells.maybe_text("owner")?),
        "account" => Subject::Account(AccountId::from_uuid(cells.uuid("account_id")?)),
        _ => return Err(cells.corrupt("kind", "has an unknown value")),
    };
    Ok(Erasure {
        id: ErasureId::from_uuid(cells.uuid("id")?),
        tenant: cells.tenant()?,
        subject,
        counts: counts(row)?,
        grants,
        requested_at: cells.time("requested_at")?,
        finished_at: cells.maybe_time("finished_at")?,
    })
}

pub(crate) fn counts(row: &impl Row) -> StoreResult<BTreeMap<String, u64>> {
    Cells::of(row, "erasures").json("counts")
}

pub(crate) fn erased_grant(row: &impl Row) -> StoreResult<ErasedGrant> {
    let cells = Cells::of(row, "erased_grants");
    Ok(ErasedGrant {
        account: AccountId::from_uuid(cells.uuid("account_id")?),
        provider: cells.name("provider")?,
        end: cells.name("outcome")?,
        code: cells.maybe_text("code")?,
        at: cells.time("at")?,
    })
}

pub(crate) fn account_counts(row: &impl Row) -> StoreResult<AccountCounts> {
    let cells = Cells::of(row, "accounts");
    Ok(AccountCounts {
        pending: cells.number("pending")?,
        active: cells.number("active")?,
        reauth_required: cells.number("reauth_required")?,
        revoked: cells.number("revoked")?,
    })
}

pub(crate) fn outcome_counts(row: &impl Row) -> StoreResult<OutcomeCounts> {
    let cells = Cells::of(row, "posts");
    Ok(OutcomeCounts {
        published: cells.number("published")?,
        delivered: cells.number("delivered")?,
        failed: cells.number("failed")?,
        unconfirmed: cells.number("unconfirmed")?,
        cancelled: cells.number("cancelled")?,
        read: cells.number("read")?,
    })
}

pub(crate) fn kind_counts(row: &impl Row) -> StoreResult<KindCounts> {
    let cells = Cells::of(row, "jobs");
    let at = cells.time("at")?;
    // The least of both, by hand: MIN of a column and LEAST are not one thing in both databases.
    let oldest = [cells.maybe_time("oldest")?, cells.maybe_time("oldest_lease")?];
    Ok(KindCounts {
        due: cells.number("due")?,
        later: cells.number("later")?,
        running: cells.number("running")?,
        stalled: cells.number("stalled")?,
        lag: oldest
            .into_iter()
            .flatten()
            .min()
            .map(|oldest| (at - oldest).to_std().unwrap_or_default()),
    })
}

pub(crate) fn dead_counts(row: &impl Row) -> StoreResult<Vec<(JobKind, u64)>> {
    let cells = Cells::of(row, "jobs");
    JobKind::ALL
        .into_iter()
        .map(|kind| Ok((kind, cells.number(kind.as_str())?)))
        .collect()
}

pub(crate) fn delivery_counts(row: &impl Row) -> StoreResult<DeliveryCounts> {
    let cells = Cells::of(row, "deliveries");
    Ok(DeliveryCounts {
        pending: cells.number("pending")?,
        delivered: cells.number("delivered")?,
        failed: cells.number("failed")?,
        held: cells.number("held")?,
    })
}

pub(crate) fn time_taken(row: &impl Row) -> StoreResult<Duration> {
    let cells = Cells::of(row, "jobs");
    let taken = cells.time("finished_at")? - cells.time("created_at")?;
    Ok(taken.to_std().unwrap_or_default())
}

pub(crate) fn refresh_failures(row: &impl Row) -> StoreResult<RefreshFailures> {
    let cells = Cells::of(row, "events");
    Ok(RefreshFailures {
        reauth_required: cells.number("reauth_required")?,
        given_up: cells.number("given_up")?,
    })
}

pub(crate) fn post_outcome(row: &impl Row) -> StoreResult<PostOutcome> {
    let cells = Cells::of(row, "posts");
    let status = cells.name::<PostStatus>("status")?;
    // A post that goes on after a fault has that fault too.
    let failure: Option<Failure> = cells.maybe_json("failure")?;
    Ok(PostOutcome {
        status,
        failure: failure
            .filter(|_| status == PostStatus::Failed)
            .map(|failure| failure.code),
        created_at: cells.time("created_at")?,
        scheduled_at: cells.maybe_time("scheduled_at")?,
        finished_at: cells.maybe_time("finished_at")?,
    })
}

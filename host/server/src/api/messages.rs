//! What is sent to webhook endpoints, for the document: its section `webhooks` is made of these types, and tests read what
//! really comes as them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::{
    ToSchema,
    openapi::{
        Content, HttpMethod, ObjectBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Type,
        path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder},
        request_body::RequestBodyBuilder,
        schema::Schema,
        security::SecurityRequirement,
    },
};

/// What an endpoint gets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message<P> {
    /// Name of the event.
    #[serde(rename = "type")]
    #[schema(example = "post.published")]
    pub name: String,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// The event, as `GET /api/events` shows it.
    pub data: MessageData<P>,
}

/// An event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageData<P> {
    /// Id: the `webhook-id` of every attempt.
    #[schema(example = "evt_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Provider; `patchbay` for a test.
    pub provider: String,
    /// Account, if it could be told.
    pub account_id: Option<String>,
    /// Post, if it could be told.
    pub post_id: Option<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Its fields; `null` if the whole would be longer than 20 KiB: then read it with `GET /api/events`.
    pub payload: Option<P>,
}

/// An account was connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountConnected {
    /// What was granted, in the platform's words.
    pub scopes: Vec<String>,
    /// Your id of the end user.
    pub owner: String,
}

/// An account was connected, and waits until its connect session is completed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPending {
    /// What was granted, in the platform's words.
    pub scopes: Vec<String>,
    /// Your id of the end user.
    pub owner: String,
}

/// Not all was granted that was asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountMissingScopes {
    /// What was not granted, in the platform's words.
    pub missing_scopes: Vec<String>,
    /// Your id of the end user.
    pub owner: String,
}

/// An account was disconnected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountDisconnected {
    /// `tenant`: by you; `expiry`: nobody had taken it.
    #[schema(example = "tenant")]
    pub by: String,
}

/// The platform has ended the access to an account: it must be connected again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountReauthRequired {
    /// The platform's code.
    pub code: String,
}

/// A post has come to an outcome.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostOutcome {
    /// State of the post, as its event's name says.
    #[schema(example = "published")]
    pub status: String,
    /// Account.
    pub account_id: String,
    /// The platform's ids of what is visible, as far as they are known.
    pub remote_ids: Option<Vec<String>>,
    /// Why it is not published.
    pub failure: Option<PostFailure>,
}

/// Why a post is not published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostFailure {
    /// `retryable`, `rate_limited`, `reauth_required`, `invalid_request`, `permanent` or `outcome_unknown`.
    pub kind: String,
    /// The platform's code.
    pub code: String,
    /// What to do, in a fixed sentence.
    pub advice: String,
    /// Who must act.
    pub who_acts: String,
}

/// A post waits: for a place in a quota, or for its account to be connected again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostWaiting {
    /// Account.
    pub account_id: String,
    /// What it waits for: `quota` or `account_not_active`.
    pub failure: PostFailure,
}

/// A post that had failed for want of access goes on, since its account is connected again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostRevived {
    /// Account.
    pub account_id: String,
}

/// A draft was published: it is queued, and begins when its time comes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostQueued {
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// A post was changed before it began.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostEdited {
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// A post was stopped: by request before it began (`by`), or under way (the other fields).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostCancelled {
    /// By whom.
    #[schema(example = "tenant")]
    pub by: Option<String>,
    /// State of the post.
    #[schema(example = "cancelled")]
    pub status: Option<String>,
    /// Account.
    pub account_id: Option<String>,
    /// The platform's ids of what is visible.
    pub remote_ids: Option<Vec<String>>,
    /// Why it is not published.
    pub failure: Option<PostFailure>,
}

/// A media file was fetched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaImported {
    /// The media file.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub media_id: String,
    /// What you called it.
    pub name: Option<String>,
    /// Type by its content.
    #[schema(example = "video/mp4")]
    pub mime: String,
    /// Size.
    pub size_bytes: Option<u64>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}

/// A media file could not be fetched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaImportFailed {
    /// Id of the import.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub media_id: String,
    /// What you called it.
    pub name: Option<String>,
    /// Why, as `GET /api/media/imports/{id}` says.
    #[schema(example = "http_status")]
    pub code: String,
    /// The status that the server answered with, if it is that.
    pub http_status: Option<u16>,
    /// What is wrong and what to do, in a fixed sentence.
    pub advice: String,
}

/// A reading of a post's numbers brought news.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostMetricsUpdated {
    /// Its numbers, by the names of `GET /api/posts/{id}/metrics`.
    #[schema(example = json!({ "views": 1000, "likes": 12 }))]
    pub counts: std::collections::BTreeMap<String, u64>,
    /// When they were read.
    pub read_at: DateTime<Utc>,
}

/// A stored media file has come to the end of its time and is deleted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaExpired {
    /// The media file. Nothing can be posted with it any more.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub media_id: String,
    /// What you called it.
    pub name: Option<String>,
}

/// An erasure that you have asked for has come to its end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureFinished {
    /// The erasure: `GET /api/erasures/{id}` shows its receipt.
    #[schema(example = "era_0199f0a2b3c47d8e9f00112233445566")]
    pub erasure_id: String,
    /// What was erased: `owner` or `account`. Who that was is forgotten.
    #[schema(example = "owner")]
    pub of: String,
}

/// An endpoint of yours is turned off, since it has failed for days or has said that it is gone. Others learn of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEndpointDisabled {
    /// The endpoint.
    #[schema(example = "ep_0199f0a2b3c47d8e9f00112233445566")]
    pub endpoint_id: String,
    /// Why, as `disabled_code` of the endpoint says.
    #[schema(example = "gone")]
    pub code: String,
}

/// An endpoint is tried out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTest {
    /// The endpoint.
    pub endpoint_id: String,
}

/// An event that Patchbay makes.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// When it is made.
    about: &'static str,
    describe: fn(&mut Schemas) -> RefOr<Schema>,
    /// Reads a message as documented.
    ///
    /// # Errors
    /// It has another form.
    pub check: fn(&str) -> Result<(), serde_json::Error>,
}

type Schemas = BTreeMap<String, RefOr<Schema>>;

const fn kind<P: ToSchema + DeserializeOwned>(name: &'static str, about: &'static str) -> Kind {
    Kind {
        name,
        about,
        describe: describe::<P>,
        check: |text| serde_json::from_str::<Message<P>>(text).map(drop),
    }
}

/// All that Patchbay makes. Events of platforms come under the platforms' own names.
pub const KINDS: &[Kind] = &[
    kind::<AccountConnected>("account.connected", "An account was connected"),
    kind::<AccountPending>(
        "account.pending",
        "An account waits until its connect session is completed",
    ),
    kind::<AccountMissingScopes>(
        "account.missing_scopes",
        "An account was connected without all that was asked for",
    ),
    kind::<AccountDisconnected>("account.disconnected", "An account was disconnected here"),
    kind::<AccountReauthRequired>("account.reauth_required", "An account must be connected again"),
    kind::<PostOutcome>("post.published", "A post is published"),
    kind::<PostOutcome>("post.inbox_delivered", "A draft has reached the person's inbox"),
    kind::<PostOutcome>("post.failed", "A post has failed"),
    kind::<PostOutcome>("post.unconfirmed", "It is not known whether a post was published"),
    kind::<PostWaiting>(
        "post.waiting",
        "A post waits for a place in a quota, or for its account to be connected again",
    ),
    kind::<PostRevived>(
        "post.revived",
        "A post that had failed for want of access goes on: its account is connected again",
    ),
    kind::<PostQueued>("post.queued", "A draft was published: it is queued"),
    kind::<PostEdited>("post.edited", "A post was changed before it began"),
    kind::<PostCancelled>("post.cancelled", "A post was stopped"),
    kind::<MediaImported>("media.imported", "A media file was fetched by its URL"),
    kind::<MediaImportFailed>("media.import_failed", "A media file could not be fetched by its URL"),
    kind::<PostMetricsUpdated>(
        "post.metrics_updated",
        "Numbers of a post have changed; sent only to endpoints that name it or take all (`*`)",
    ),
    kind::<MediaExpired>(
        "media.expired",
        "A stored media file is deleted, since its time is over",
    ),
    kind::<ErasureFinished>("erasure.finished", "An erasure of an owner or an account has ended"),
    kind::<WebhookEndpointDisabled>(
        "webhook_endpoint.disabled",
        "An endpoint is turned off, since it has failed for too long or is gone",
    ),
    kind::<WebhookTest>("webhook.test", "An endpoint is tried out"),
];

/// Puts the schemas of a message into the document, and refers to them.
fn describe<P: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    let mut found = Vec::new();
    <Message<P> as ToSchema>::schemas(&mut found);
    // The type has one name, whatever its payload.
    let name = format!("Message_{}", P::name());
    found.push((name.clone(), <Message<P> as utoipa::PartialSchema>::schema()));
    schemas.extend(found);
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Adds the section `webhooks`.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let mut paths = PathsBuilder::new();
    for kind in KINDS {
        let schema = (kind.describe)(&mut components.schemas);
        paths = paths.path(kind.name, sent(kind.name, kind.about, schema));
    }
    document.webhooks = Some(paths.build());
}

fn sent(name: &str, about: &str, schema: RefOr<Schema>) -> PathItem {
    let body = RequestBodyBuilder::new()
        .content("application/json", Content::new(Some(schema)))
        .required(Some(Required::True))
        .build();
    let header = |name: &str, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build()
    };
    let taken = "It was taken. Any other answer, and none within 15 seconds, is a failure, and it is sent again";
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("on_{}", name.replace('.', "_"))))
        .tag("webhook_endpoints")
        .summary(Some(about))
        .parameter(header("webhook-id", "Id of the event, the same at every attempt."))
        .parameter(header("webhook-timestamp", "Time of the attempt, in seconds since 1970."))
        .parameter(header(
            "webhook-signature",
            "`v1,` and the Base64 of the HMAC-SHA-256 of `id.timestamp.body`; several, with a space between, while secrets are \
             exchanged.",
        ))
        .request_body(Some(body))
        .response("2XX", ResponseBuilder::new().description(taken).build())
        .security(SecurityRequirement::default());
    PathItem::new(HttpMethod::Post, operation)
}

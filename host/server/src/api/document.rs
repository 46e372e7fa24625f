//! The OpenAPI document beside its operations: its frame, and what all operations share.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Bytes, extract::State, http::header, routing::get};
use patchbay_app::registry::Registry;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components, Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{messages, problem};
use crate::host::Host;

/// The document without its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Patchbay",
        description = "One API to connect social accounts, publish media, follow its status and receive webhooks.\n\n\
            Every path works for every provider listed by `GET /api/platforms`. Ids are prefixed \
            (`acc_`, `post_`, `med_`), times are RFC 3339 in UTC, lists are `{data, next_cursor}`, errors are \
            `application/problem+json` (RFC 9457) with a stable `code`, `retry` and `who_acts`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "This host")),
    modifiers(&Common),
    security(("api_key" = [])),
    tags(
        (name = "platforms", description = "Providers and what they can do"),
        (name = "connect", description = "Connecting and disconnecting accounts"),
        (name = "accounts", description = "Connected accounts"),
        (name = "media", description = "Media files"),
        (name = "posts", description = "Publishing and following posts"),
        (name = "webhooks", description = "Webhooks of platforms"),
        (name = "events", description = "What happened to accounts and posts"),
        (name = "webhook_endpoints", description = "Events pushed to you: endpoints, deliveries, redelivery"),
        (name = "tenants", description = "Tenants and their API keys, for the operator"),
        (name = "audit", description = "Who did what that bears on security"),
        (name = "erasures", description = "Erasing for good, and the receipts of it"),
        (name = "exports", description = "What a tenant has, as JSON lines"),
        (name = "operator", description = "The whole installation for its operator: numbers, and the state of each tenant's \
            accounts, posts, work and deliveries; never what is posted"),
        (name = "statistics", description = "What became of posts, in numbers"),
        (name = "dead_letters", description = "Work that was given up, to be looked at and run again"),
        (name = "compatible", description = "The paths of the integration that users migrate from"),
        (name = "operation", description = "Running the host")
    ),
    components(schemas(problem::ProblemBody))
)]
pub(super) struct Frame;

/// The document of a host: of all its operations, and the providers that it has at this moment.
pub(super) fn routes() -> Router<Host> {
    let served = Arc::new(Served::default());
    let serve = async move |State(host): State<Host>| {
        // Making it takes milliseconds.
        let made = tokio::task::spawn_blocking(move || served.now(&host.app.registry)).await;
        ([(header::CONTENT_TYPE, "application/json")], made.unwrap_or_default())
    };
    Router::new().route("/api/openapi.json", get(serve))
}

/// The document as it was made last, with the count of changes that it was made at.
#[derive(Default)]
struct Served(Mutex<Option<(u64, Bytes)>>);

impl Served {
    fn now(&self, registry: &Registry) -> Bytes {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = registry.changes();
        if let Some((at, document)) = &*served
            && *at == changes
        {
            return document.clone();
        }
        let providers = registry.all();
        let manifests: Vec<_> = providers.iter().map(|registered| registered.manifest()).collect();
        let document = Bytes::from(super::openapi_of(&manifests).to_json().unwrap_or_default());
        *served = Some((changes, document.clone()));
        document
    }
}

/// What all operations share: how callers prove who they are, and problems that any may answer.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let mut key = Http::new(HttpAuthScheme::Bearer);
        key.description = Some(
            "An API key, made by `patchbay keys create`, or by the operator with `POST /api/tenants/{id}/keys`."
                .to_owned(),
        );
        components.add_security_scheme("api_key", SecurityScheme::Http(key));
        let cookie = "Of an operator's browser, from `POST /api/operator/session`. Over https its name begins with `__Host-`. \
            Beside it goes `X-CSRF-Token`.";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("patchbay_operator", cookie));
        components.add_security_scheme("operator_session", SecurityScheme::ApiKey(cookie));
        let token = "What `GET /api/operator/session` tells, to be sent beside the cookie.";
        let token = ApiKey::Header(ApiKeyValue::with_description("X-CSRF-Token", token));
        components.add_security_scheme("operator_csrf", SecurityScheme::ApiKey(token));
        let mut worker = Http::new(HttpAuthScheme::Bearer);
        worker.description = Some("The worker secret of this installation.".to_owned());
        components.add_security_scheme("worker_secret", SecurityScheme::Http(worker));
        for (name, status, description) in COMMON_PROBLEMS {
            let problem = RefOr::T(common_problem(status, description));
            components.responses.insert(name.to_owned(), problem);
        }
    }
}

/// Gives every operation what all share, and a name.
pub(super) fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_default();
    for path in document.paths.paths.values_mut() {
        let operations = [
            &mut path.get,
            &mut path.post,
            &mut path.put,
            &mut path.patch,
            &mut path.delete,
            &mut path.head,
            &mut path.options,
        ];
        for operation in operations.into_iter().flatten() {
            open_to_operators(operation);
            name_by_resource(operation);
            part_summary(operation);
            add_common_problems(operation);
            describe_answers(operation, components);
        }
    }
    messages::complete(&mut document);
    document
}

/// Answers that any operation may give, beside those of its own: name in the document, status, and what it says.
const COMMON_PROBLEMS: [(&str, u16, &str); 5] = [
    ("BadRequest", 400, "The body is no JSON, or broke off"),
    ("TooLarge", 413, "The body is over its cap"),
    (
        "TooManyRequests",
        429,
        "This key, or this address with wrong keys, sends too fast; `Retry-After` says when to go on",
    ),
    (
        "Internal",
        500,
        "A fault of Patchbay; the operator finds it by `request_id`",
    ),
    (
        "Unavailable",
        503,
        "The database cannot be reached, or the host is stopping; send the request again",
    ),
];

/// What a status says where an operation has no words of its own.
const STATUSES: [(&str, &str); 18] = [
    ("204", "Done"),
    ("400", "A parameter or the body is not well formed"),
    (
        "401",
        "Nothing proves who sends this, or it is not good: an API key, a secret, a signature",
    ),
    ("403", "The key may not do this"),
    ("404", "There is no such thing, or it belongs to another"),
    (
        "409",
        "The state of things does not allow it; `code` says what is in the way",
    ),
    ("410", "It was here, and is gone"),
    ("412", "It is not as the request supposes"),
    ("413", "The body is over its cap"),
    ("415", "The body has a type or an encoding that is not taken"),
    ("416", "The file has no such range"),
    ("422", "A field has a value that is not allowed; `errors` names it"),
    (
        "423",
        "Somebody else is writing it just now; `Retry-After` says when to try again",
    ),
    ("429", "Too many at once; `code` says of what"),
    ("460", "The bytes do not add up to the checksum, and none was kept"),
    ("502", "The platform refused or failed; `provider_code` is its own code"),
    ("503", "It cannot be done now; send the request again"),
    ("507", "There is no space left for it"),
];

fn common_problem(status: u16, description: &str) -> Response {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem);
    if matches!(status, 429 | 503) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        response = response.header("Retry-After", header(seconds, "Seconds until it may work."));
    }
    let mut response = response.build();
    if status == 429 {
        tell_limits(&mut response);
    }
    response
}

fn header(schema: ObjectBuilder, description: &str) -> Header {
    let mut header = Header::new(schema);
    header.description = Some(description.to_owned());
    header
}

fn add_common_problems(operation: &mut Operation) {
    let has_tag = |name: &str| operation.tags.iter().flatten().any(|tag| tag == name);
    // Health says what it finds in a body of its own.
    if has_tag("operation") && operation.security.as_ref().is_some_and(is_open) {
        return;
    }
    // `None`: with an API key, as the whole document says.
    let takes_key = operation.security.as_ref().is_none_or(|all| all.contains(&api_key()));
    if takes_key {
        for (status, response) in &mut operation.responses.responses {
            if let (true, RefOr::T(response)) = (status.starts_with('2'), response) {
                tell_limits(response);
            }
        }
    }
    let has_body = operation.request_body.is_some();
    for (name, status, _) in COMMON_PROBLEMS {
        let may = match status {
            400 | 413 => has_body,
            429 => takes_key,
            _ => true,
        };
        if may {
            let problem = RefOr::Ref(Ref::from_response_name(name));
            operation
                .responses
                .responses
                .entry(status.to_string())
                .or_insert(problem);
        }
    }
}

/// Every answer says what it is: a problem by its status, another by what its body is.
fn describe_answers(operation: &mut Operation, components: &Components) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            let by_status = STATUSES.iter().find(|(known, _)| known == status);
            let said = by_status.map(|(_, said)| (*said).to_owned());
            response.description = said.or_else(|| body_of(response, components)).unwrap_or_default();
        }
    }
}

/// What the body of an answer is, by the first sentence of its schema.
fn body_of(response: &Response, components: &Components) -> Option<String> {
    let RefOr::T(content) = response.content.values().next()? else {
        return None;
    };
    let RefOr::Ref(reference) = content.schema.as_ref()? else {
        return None;
    };
    let (_, name) = reference.ref_location.rsplit_once('/')?;
    let description = match components.schemas.get(name)? {
        RefOr::T(Schema::Object(schema)) => schema.description.as_ref(),
        RefOr::T(Schema::AllOf(schema)) => schema.description.as_ref(),
        _ => None,
    };
    let (first, _) = sentences(description?);
    Some(first.trim_end_matches('.').to_owned())
}

/// See [`super::rate_limit`]. Other answers have these headers too.
fn tell_limits(response: &mut Response) {
    let headers = [
        (
            "RateLimit-Policy",
            "Limits: the key's, and the platform's that count here; `\"key\";q=400;w=2` is 400 requests in 2 seconds.",
        ),
        (
            "RateLimit",
            "What they leave: `\"key\";r=399;t=1` is 399 requests, and one more in a second.",
        ),
    ];
    for (name, description) in headers {
        let text = ObjectBuilder::new().schema_type(Type::String);
        response
            .headers
            .insert(name.to_owned(), RefOr::T(header(text, description)));
    }
}

fn is_open(required: &Vec<SecurityRequirement>) -> bool {
    *required == [SecurityRequirement::default()]
}

fn api_key() -> SecurityRequirement {
    SecurityRequirement::new("api_key", <[&str; 0]>::default())
}

/// What an operator's key opens, its browser opens too.
fn open_to_operators(operation: &mut Operation) {
    let is_operators = |tag: &String| ["operator", "tenants"].contains(&tag.as_str());
    if operation.security.is_none() && operation.tags.iter().flatten().any(is_operators) {
        let browser = SecurityRequirement::new("operator_session", <[&str; 0]>::default());
        let browser = browser.add("operator_csrf", <[&str; 0]>::default());
        operation.security = Some(vec![api_key(), browser]);
    }
}

/// Ids must be unique in the whole document, and clients are generated with methods of these names. A handler is only
/// unique within its resource.
fn name_by_resource(operation: &mut Operation) {
    let resource = operation.tags.iter().flatten().next();
    if let (Some(resource), Some(id)) = (resource, &mut operation.operation_id) {
        *id = format!("{resource}_{id}");
    }
}

/// A summary is one line, for lists. What a handler's documentation says beyond its first sentence is the description.
fn part_summary(operation: &mut Operation) {
    let Some(whole) = &operation.summary else { return };
    let (first, more) = sentences(whole);
    if operation.description.is_none() && !more.is_empty() {
        operation.description = Some(more);
    }
    operation.summary = Some(first);
}

/// A text's first sentence and the others, each in one line.
fn sentences(text: &str) -> (String, String) {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.split_once(". ") {
        Some((first, more)) => (format!("{first}."), more.to_owned()),
        None => (line, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::api;

    #[test]
    fn every_operation_says_what_it_is() {
        let document = serde_json::to_value(api::openapi()).unwrap();
        let tags: Vec<_> = document["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| &tag["name"])
            .collect();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(
                    !summary.is_empty() && !summary.contains('\n'),
                    "{method} {path}: {summary:?}"
                );
                assert!(operation["operationId"].is_string(), "{method} {path}");
                assert!(tags.contains(&&operation["tags"][0]), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let said = answer["$ref"].as_str().or(answer["description"].as_str());
                    assert!(said.is_some_and(|said| !said.is_empty()), "{method} {path}: {status}");
                }
                for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                    let json = media_type == "application/json";
                    assert!(
                        !json || has_example(&document, content),
                        "{method} {path} has no example"
                    );
                }
            }
        }
    }

    /// Whether a body shows what to send: itself, or by its schema.
    fn has_example(document: &Value, content: &Value) -> bool {
        let schema = &content["schema"];
        // An optional body may be null too.
        let alternatives = schema["oneOf"].as_array().into_iter().flatten();
        let mut schemas = std::iter::once(schema).chain(alternatives);
        !content["example"].is_null()
            || schemas.any(|schema| {
                let pointer = schema["$ref"].as_str().unwrap_or_default().trim_start_matches('#');
                document
                    .pointer(pointer)
                    .is_some_and(|named| !named["example"].is_null())
            })
    }
}

//! The OpenAPI document beside its operations: its frame, and what all operations share.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{messages, problem};

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
        (name = "dead_letters", description = "Work that was given up, to be looked at and run again"),
        (name = "compatible", description = "The paths of the integration that users migrate from"),
        (name = "operation", description = "Running the host")
    ),
    components(schemas(problem::ProblemBody))
)]
pub(super) struct Frame;

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
    for path in document.paths.paths.values_mut() {
        let operations = [
            &mut path.get,
            &mut path.post,
            &mut path.put,
            &mut path.patch,
            &mut path.delete,
        ];
        for operation in operations.into_iter().flatten() {
            name_by_resource(operation);
            add_common_problems(operation);
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

/// Ids must be unique in the whole document, and clients are generated with methods of these names. A handler is only
/// unique within its resource.
fn name_by_resource(operation: &mut Operation) {
    let resource = operation.tags.iter().flatten().next();
    if let (Some(resource), Some(id)) = (resource, &mut operation.operation_id) {
        *id = format!("{resource}_{id}");
    }
}

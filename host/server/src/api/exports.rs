//! Everything that a tenant has, as JSON lines.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use patchbay_app::{
    model::{AuditAction, KeyScope},
    problem::{Problem, ProblemKind},
    store::{AccountFilter, AuditFilter, Cursor, DeliveryFilter, EventFilter, PageRequest, PostFilter},
};
use patchbay_core::{AccountId, EndpointId, MediaId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    accounts::AccountBody,
    audit::AuditBody,
    auth::Caller,
    deliveries::DeliveryBody,
    events::EventBody,
    extract::id,
    media::MediaBody,
    posts::{self, journal, metrics},
    problem::{ApiResult, ProblemBody},
    webhook_endpoints::EndpointBody,
};
use crate::host::Host;

/// Rows that are read and sent together.
const PAGE: u32 = 100;

/// What to export. Without any field: all that the tenant has.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of the accounts of this end user.
    pub owner: Option<String>,
    /// Of this account.
    pub account_id: Option<String>,
}

/// One line. `data` is what the API shows of such a thing: no token, and no secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportLine {
    /// What it is.
    #[serde(rename = "type")]
    #[schema(value_type = LineType, example = "post")]
    pub kind: &'static str,
    /// The thing itself.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub data: Value,
}

/// What a line is.
#[derive(ToSchema)]
#[schema(as = ExportLineType)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum LineType {
    /// The first line: whose export, and when it began.
    export,
    /// An account.
    account,
    /// A post, with its journal and its numbers.
    post,
    /// An event. Those of a post are its timeline.
    event,
    /// An uploaded file, without its bytes.
    media,
    /// A webhook endpoint.
    webhook_endpoint,
    /// A delivery to an endpoint.
    delivery,
    /// A row of the audit log.
    audit,
    /// The last line, with the number of lines of each type. Without it the export is not whole.
    end,
}

/// Exports what a tenant has as JSON lines (`application/jsonl`), one thing a line: all of it, or that of one end user or
/// account. It is read page by page while it is sent, so what changes meanwhile may be there as before or after. Uploaded files,
/// webhook endpoints and deliveries are there only if all is exported.
#[utoipa::path(get, path = "/api/exports", tag = "exports", params(Wanted), responses(
    (status = 200, body = ExportLine, content_type = "application/jsonl", description = "Lines, each of this form"),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn export(State(host): State<Host>, caller: Caller, Query(wanted): Query<Wanted>) -> ApiResult<Response> {
    caller.may(KeyScope::Read)?;
    let tenant = caller.tenant;
    let (of, first) = scope(&host, tenant, wanted).await?;
    let audit = caller
        .by
        .did(&host.app.env, AuditAction::ExportMade, tenant)
        .saying(json!({ "of": of }));
    host.app.store.add_audit(&audit).await?;
    let begun = json!({ "tenant_id": tenant, "of": of, "at": host.app.env.now() });
    let lines = Lines {
        host,
        tenant,
        todo: first.into(),
        counts: BTreeMap::new(),
    };
    let head = line("export", &begun).map(Bytes::from);
    let rest = stream::try_unfold(lines, |mut lines| async move {
        let Some(part) = lines.todo.pop_front() else {
            return Ok(None);
        };
        let text = lines.page(part).await.map_err(|problem| {
            tracing::warn!(code = problem.kind.code(), "An export broke off");
            io::Error::other("the export broke off")
        })?;
        Ok::<_, io::Error>(Some((Bytes::from(text), lines)))
    });
    let all = futures_util::StreamExt::chain(stream::iter([head.map_err(io::Error::other)]), rest);
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((kind, Body::from_stream(all)).into_response())
}

/// What is to be read, in order.
enum Part {
    Accounts(AccountFilter, Option<Cursor>),
    Account(AccountId),
    Posts(Option<AccountId>, Option<Cursor>),
    Events(Option<AccountId>, Option<Cursor>),
    Media(Option<MediaId>),
    Endpoints(Option<Cursor>),
    Deliveries(EndpointId, Option<Cursor>),
    Audit(Option<AccountId>, Option<Cursor>),
    End,
}

async fn scope(host: &Host, tenant: TenantId, wanted: Wanted) -> Result<(&'static str, Vec<Part>), Problem> {
    match (wanted.owner, wanted.account_id) {
        (Some(_), Some(_)) => Err(Problem::new(
            ProblemKind::BadRequest,
            "Name an owner or an account, not both.",
        )),
        (Some(owner), None) => {
            if owner.contains('\0') {
                return Err(Problem::not_found("owner"));
            }
            let filter = AccountFilter {
                owner: Some(owner),
                ..AccountFilter::default()
            };
            let one = PageRequest { after: None, limit: 1 };
            if host.app.store.accounts(tenant, &filter, one).await?.items.is_empty() {
                return Err(Problem::not_found("owner"));
            }
            Ok(("owner", vec![Part::Accounts(filter, None), Part::End]))
        }
        (None, Some(account)) => {
            let account = id::<AccountId>(&account, "account")?;
            if host.app.store.account(tenant, account).await?.is_none() {
                return Err(Problem::not_found("account"));
            }
            Ok(("account", vec![Part::Account(account), Part::End]))
        }
        (None, None) => {
            let all = vec![
                Part::Accounts(AccountFilter::default(), None),
                Part::Posts(None, None),
                Part::Events(None, None),
                Part::Media(None),
                Part::Endpoints(None),
                Part::Audit(None, None),
                Part::End,
            ];
            Ok(("tenant", all))
        }
    }
}

struct Lines {
    host: Host,
    tenant: TenantId,
    todo: VecDeque<Part>,
    counts: BTreeMap<&'static str, u64>,
}

impl Lines {
    /// Reads one page of a part, and puts what follows from it to the front.
    async fn page(&mut self, part: Part) -> Result<String, Problem> {
        let (host, tenant) = (self.host.clone(), self.tenant);
        let store = &host.app.store;
        let from = |after| PageRequest { after, limit: PAGE };
        let mut text = String::new();
        match part {
            Part::Accounts(filter, after) => {
                let found = store.accounts(tenant, &filter, from(after)).await?;
                let whole = filter.owner.is_none();
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Accounts(filter, Some(next)));
                }
                for account in found.items {
                    if whole {
                        self.put(&mut text, "account", &AccountBody::from(account))?;
                    } else {
                        self.todo.push_front(Part::Account(account.id));
                    }
                }
            }
            Part::Account(id) => {
                if let Some(account) = store.account(tenant, id).await? {
                    self.put(&mut text, "account", &AccountBody::from(account))?;
                }
                self.todo.push_front(Part::Audit(Some(id), None));
                self.todo.push_front(Part::Events(Some(id), None));
                self.todo.push_front(Part::Posts(Some(id), None));
            }
            Part::Posts(account, after) => {
                let filter = PostFilter {
                    account,
                    ..PostFilter::default()
                };
                let found = store.posts(tenant, &filter, from(after)).await?;
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Posts(account, Some(next)));
                }
                let ids: Vec<_> = found.items.iter().map(|post| post.id).collect();
                let shown = posts::show_all(&host, tenant, found.items).await?;
                for (id, post) in ids.into_iter().zip(shown) {
                    let mut post = value(&post)?;
                    post["journal"] = value(&journal::read(&host, tenant, id).await?)?;
                    post["metrics"] = value(&metrics::export(&host, tenant, id).await?)?;
                    self.put(&mut text, "post", &post)?;
                }
            }
            Part::Events(account, after) => {
                let filter = EventFilter {
                    account,
                    ..EventFilter::default()
                };
                let found = store.events(tenant, &filter, from(after)).await?;
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Events(account, Some(next)));
                }
                for event in found.items {
                    self.put(&mut text, "event", &EventBody::from(event))?;
                }
            }
            Part::Media(after) => {
                let found = store.tenant_media(tenant, after, PAGE).await?;
                if let Some(last) = found.last() {
                    self.todo.push_front(Part::Media(Some(*last)));
                }
                for id in found {
                    // None: it has expired.
                    if let Some(media) = store.media(tenant, id).await? {
                        self.put(&mut text, "media", &MediaBody::from(media))?;
                    }
                }
            }
            Part::Endpoints(after) => {
                let found = store.endpoints(tenant, from(after)).await?;
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Endpoints(Some(next)));
                }
                for endpoint in found.items {
                    self.todo.push_front(Part::Deliveries(endpoint.id, None));
                    let shown = EndpointBody::of(endpoint, host.app.env.now());
                    self.put(&mut text, "webhook_endpoint", &shown)?;
                }
            }
            Part::Deliveries(endpoint, after) => {
                let all = DeliveryFilter::default();
                let found = store.deliveries(tenant, endpoint, all, from(after)).await?;
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Deliveries(endpoint, Some(next)));
                }
                for delivery in found.items {
                    self.put(&mut text, "delivery", &DeliveryBody::from(delivery))?;
                }
            }
            Part::Audit(account, after) => {
                let filter = AuditFilter {
                    target: account.map(|id| id.to_string()),
                    ..AuditFilter::default()
                };
                let found = store.audit(tenant, &filter, from(after)).await?;
                if let Some(next) = found.next {
                    self.todo.push_front(Part::Audit(account, Some(next)));
                }
                for entry in found.items {
                    self.put(&mut text, "audit", &AuditBody::from(entry))?;
                }
            }
            Part::End => text = line("end", &json!({ "lines": self.counts }))?,
        }
        Ok(text)
    }

    fn put(&mut self, text: &mut String, kind: &'static str, data: &impl Serialize) -> Result<(), Problem> {
        text.push_str(&line(kind, data)?);
        *self.counts.entry(kind).or_default() += 1;
        Ok(())
    }
}

fn value(data: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(data)
        .map_err(|error| Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error))
}

fn line(kind: &'static str, data: &impl Serialize) -> Result<String, Problem> {
    let line = value(&ExportLine {
        kind,
        data: value(data)?,
    })?;
    Ok(format!("{line}\n"))
}

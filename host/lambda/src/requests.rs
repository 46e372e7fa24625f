//! HTTP requests, as API Gateway, function URLs and load balancers hand them over.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use lambda_http::{Body as EventBody, Request, RequestExt, request::RequestContext};
use patchbay_app::problem::{Problem, ProblemKind};
use patchbay_server::api::{
    problem::{self, ApiProblem},
    request_id::{self, RequestId},
};
use tokio::time;
use tower::ServiceExt;

use crate::function::Deadline;

/// Answers a request, or says in time that it cannot.
pub async fn answer(router: &Router, request: Request, deadline: Deadline) -> Response {
    let peer = peer(&request);
    let id = RequestId(format!("lambda_{}", request.lambda_context().request_id));
    let mut request = request.map(body);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 0)));
    match time::timeout_at(deadline.work_ends_at(), router.clone().oneshot(request)).await {
        Ok(Ok(response)) => response,
        // What the request had begun is dropped where it stands, as if the caller had hung up.
        Err(_) => {
            let late = "The function's time is up. Send the request again.";
            let problem = Problem::new(ProblemKind::Unavailable, late);
            let mut response = problem::render(ApiProblem::from(problem).into_response(), &id);
            if let Ok(id) = id.0.try_into() {
                response.headers_mut().insert(request_id::NAME, id);
            }
            response
        }
    }
}

/// The bytes as they were sent: signatures are made over them. Base64 is already undone.
fn body(body: EventBody) -> Body {
    match body {
        EventBody::Text(text) => Body::from(text),
        EventBody::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    }
}

/// Who called, as the gateway saw it: what a client says of itself counts for nothing.
fn peer(request: &Request) -> IpAddr {
    let told = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        Some(RequestContext::Alb(_)) => last_forwarded(request.headers()),
        _ => None,
    };
    told.and_then(|text| text.parse().ok())
        .unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// A load balancer appends the address that it sees; what stands before it may be made up.
fn last_forwarded(headers: &HeaderMap) -> Option<String> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?;
    Some(last.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_forwarded_address_is_the_load_balancers_own() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_forwarded(&headers), None);
        headers.append("x-forwarded-for", "127.0.0.1, 203.0.113.7".parse().unwrap());
        assert_eq!(last_forwarded(&headers).as_deref(), Some("203.0.113.7"));
        headers.append("x-forwarded-for", "198.51.100.9".parse().unwrap());
        assert_eq!(last_forwarded(&headers).as_deref(), Some("198.51.100.9"));
    }
}

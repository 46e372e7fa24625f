//! The step from hyper to the application: the peer's address goes in, the request body gets its deadlines, and the
//! request counts as in flight until the last byte of its response.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::activity::{Activity, InFlight};
use super::body::PacedBody;
use super::{App, Limits};

#[derive(Clone)]
pub(super) struct Entry<A> {
    pub app: A,
    pub peer: SocketAddr,
    pub limits: Arc<Limits>,
    pub activity: Arc<Activity>,
}

impl<A: App> hyper::service::Service<Request<Incoming>> for Entry<A> {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut in_flight, refusal) = self.activity.begin();
        if let Some(status) = refusal.or_else(|| refuse(&request, &self.limits)) {
            in_flight.answered();
            return Box::pin(std::future::ready(Ok(refused(status, request.version(), in_flight))));
        }
        let version = request.version();
        let body_failed = Arc::<AtomicBool>::default();
        let mut request = request.map(|body| Body::new(PacedBody::new(body, &self.limits, body_failed.clone())));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let app = self.app.clone();
        Box::pin(async move {
            let mut response = app.oneshot(request).await?;
            in_flight.answered();
            if body_failed.load(Ordering::Relaxed) {
                say_close(&mut response, version);
            }
            Ok(response.map(|inner| TrackedBody::new(inner, in_flight)))
        })
    }
}

/// What the reader of HTTP/1 heads has already made sure of, for HTTP/2. hyper itself bounds the bytes of headers.
fn refuse(request: &Request<Incoming>, limits: &Limits) -> Option<StatusCode> {
    if request.version() != Version::HTTP_2 {
        return None;
    }
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path > limits.uri_bytes {
        return Some(StatusCode::URI_TOO_LONG);
    }
    if request.headers().len() > limits.header_count {
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if repeats(request.headers(), header::CONTENT_LENGTH) || repeats(request.headers(), header::HOST) {
        return Some(StatusCode::BAD_REQUEST);
    }
    (request.method() == http::Method::CONNECT).then_some(StatusCode::NOT_IMPLEMENTED)
}

fn repeats(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn refused(status: StatusCode, version: Version, in_flight: InFlight) -> Response<TrackedBody> {
    let mut response = Response::new(TrackedBody::new(Body::empty(), in_flight));
    *response.status_mut() = status;
    say_close(&mut response, version);
    response
}

/// hyper closes by itself after an unreadable request, but does not announce it.
fn say_close<B>(response: &mut Response<B>, version: Version) {
    // HTTP/2 has no such header; there only the stream ends.
    if version != Version::HTTP_2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A response body that tells whose turn it is: ours to make more of it, or the client's to read.
///
/// Large frames go out in parts. Otherwise hyper would take them whole, the response would count as over, and a
/// client on a slow line would have only the idle time to read it.
pub(super) struct TrackedBody {
    inner: Body,
    /// What is left of the frame that is going out.
    rest: Bytes,
    in_flight: InFlight,
}

const PART_BYTES: usize = 64 * 1024;

impl TrackedBody {
    fn new(inner: Body, in_flight: InFlight) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            in_flight,
        }
    }

    fn next_part(&mut self) -> Frame<Bytes> {
        let len = self.rest.len().min(PART_BYTES);
        Frame::data(self.rest.split_to(len))
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => {
                    this.in_flight.waits_for_us();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended @ Poll::Ready(_) => return ended,
            }
        }
        this.in_flight.waits_for_client();
        Poll::Ready(Some(Ok(this.next_part())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

//! One invocation: an event comes in, and before it is answered everything that it began has ended.

use std::time::Duration;

use axum::{Router, response::Response};
use lambda_http::{Error, Request, RequestExt, request::RequestContext};
use patchbay_server::{api, host::Host, worker};
use tokio::time::{self, Instant};
use tracing::error;

use crate::{requests, schedule};

/// Work ends so long before Lambda would end the process. It is for the answer, and for a last refresh.
const MARGIN: Duration = Duration::from_secs(2);
/// At this point before the end, even a refresh is waited for no longer.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// What Lambda invokes.
#[derive(Clone)]
pub struct Function {
    host: Host,
    router: Router,
}

/// When an invocation must be over.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// Lambda ends the process.
    killed_at: Instant,
}

impl Deadline {
    /// Work must have ended.
    pub fn work_ends_at(self) -> Instant {
        self.killed_at.checked_sub(MARGIN).unwrap_or(self.killed_at)
    }
}

impl Function {
    pub fn new(host: Host) -> Self {
        let router = api::router(host.clone());
        Self { host, router }
    }

    /// Answers one event.
    ///
    /// # Errors
    /// A scheduled pass failed, or the event is none of ours. Lambda or its caller tries again.
    pub async fn invoke(self, event: Request) -> Result<Response, Error> {
        let deadline = self.deadline_of(&event);
        // Since the last invocation this process may have slept for an hour.
        worker::set_clock(&self.host).await;
        let outcome = match event.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(_) | RequestContext::Alb(_)) => {
                Ok(requests::answer(&self.router, event, deadline).await)
            }
            _ => schedule::run(&self.host, event.body(), deadline).await,
        };
        let end = deadline
            .killed_at
            .checked_sub(LAST_MOMENT)
            .unwrap_or(deadline.killed_at);
        // A token that was spent must be stored, and a frozen process stores nothing.
        if time::timeout_at(end, self.host.app.refreshes_done()).await.is_err() {
            error!("A token refresh did not end in time");
        }
        outcome
    }

    fn deadline_of(&self, event: &Request) -> Deadline {
        let at = event.lambda_context_ref().map_or(0, |context| context.deadline);
        let now = self.host.wall.now().timestamp_millis();
        let left = Duration::from_millis(at.saturating_sub(u64::try_from(now).unwrap_or_default()));
        Deadline {
            killed_at: Instant::now() + left,
        }
    }
}

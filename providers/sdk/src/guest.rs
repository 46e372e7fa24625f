//! The exports of a component, by the traits of `patchbay-core`.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use patchbay_core::{
    AccountView, AppCredentials, Ctx, ErrorKind, HttpRequest, HttpResponse, HttpTransport, ProviderError,
    TransportError,
};
pub use patchbay_core::{Provider, Settings, SettingsError};

#[allow(unsafe_code, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../core/wit",
        world: "provider",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "patchbay_provider_sdk::guest::bindings",
    });
}

#[path = "../../../core/wit/cross.rs"]
mod cross;

pub use bindings::export;
use bindings::{
    exports::patchbay::provider::{meta, oauth, publisher, webhooks},
    patchbay::provider::{http, log, types as wit},
};
use cross::{Cross, Malformed};

/// How a component makes its provider.
pub trait Build: 'static {
    /// See [`crate::component`].
    ///
    /// # Errors
    /// The settings cannot be used.
    fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError>;
}

static PROVIDER: OnceLock<Arc<dyn Provider>> = OnceLock::new();

fn provider() -> &'static dyn Provider {
    PROVIDER.get().expect("the host calls open first").as_ref()
}

/// The host calls nothing that the provider has not.
fn must<T>(part: Option<T>) -> T {
    part.expect("the host calls what `describe` has named")
}

/// Runs a call. The only thing that it can wait for is the host, which answers before the call returns.
fn run<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a provider in a component can wait for nothing but Ctx::send"),
    }
}

struct Host;

#[async_trait]
impl HttpTransport for Host {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let strange = |error: Malformed| TransportError::Blocked(error.to_string());
        match http::send(&request.cross().map_err(strange)?) {
            Ok(response) => response.cross().map_err(strange),
            Err(error) => Err(error.cross().map_err(strange)?),
        }
    }
}

/// What a call works with, in the types of the traits.
struct Call {
    now: chrono::DateTime<chrono::Utc>,
    app: AppCredentials,
    account: Option<AccountView>,
}

impl Call {
    fn of(context: wit::Context) -> Result<Self, Malformed> {
        Ok(Self {
            now: context.now.cross()?,
            app: context.app.cross()?,
            account: context.account.cross()?,
        })
    }

    fn ctx(&self) -> Ctx<'_> {
        Ctx::new(&Host, self.now, &self.app, self.account.as_ref())
    }
}

fn out<T: Cross<U>, U>(value: Result<T, ProviderError>) -> Result<U, wit::ProviderError> {
    match value {
        Ok(value) => Ok(value.cross()?),
        Err(error) => Err(must(error.cross().ok())),
    }
}

/// A value that does not cross is a bug on one of the sides.
impl From<Malformed> for wit::ProviderError {
    fn from(error: Malformed) -> Self {
        let error = ProviderError::new(ErrorKind::Retryable, "component_value", error.to_string());
        must(error.cross().ok())
    }
}

impl<T: Build> meta::Guest for T {
    fn open(settings: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
        let settings = settings.cross().map_err(|error| format!("the settings are {error}"))?;
        let provider = T::build(&Settings(settings)).map_err(|error| error.to_string())?;
        let _ = PROVIDER.set(provider);
        Ok(())
    }

    fn describe() -> (wit::Manifest, wit::Capabilities) {
        let provider = provider();
        let capabilities = wit::Capabilities {
            oauth: provider.oauth().is_some(),
            publisher: provider.publisher().is_some(),
            webhooks: provider.webhooks().is_some(),
        };
        let manifest = must(provider.manifest().clone().cross().ok());
        (manifest, capabilities)
    }
}

impl<T: Build> oauth::Guest for T {
    fn redirect_issues(redirect_uri: String) -> Vec<String> {
        must(provider().oauth()).redirect_issues(&must(redirect_uri.cross().ok()))
    }

    fn check_app(ctx: wit::Context) -> Result<wit::AppCheck, wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().oauth()).check_app(&call.ctx())))
    }

    fn authorize(ctx: wit::Context, request: wit::AuthorizeRequest) -> Result<wit::Authorize, wit::ProviderError> {
        let (call, request) = (Call::of(ctx)?, request.cross()?);
        out(run(must(provider().oauth()).authorize(&call.ctx(), &request)))
    }

    fn exchange(ctx: wit::Context, callback: wit::Callback) -> Result<wit::Grant, wit::ProviderError> {
        let (call, callback) = (Call::of(ctx)?, callback.cross()?);
        out(run(must(provider().oauth()).exchange(&call.ctx(), &callback)))
    }

    fn refresh(ctx: wit::Context) -> Result<wit::Credentials, wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().oauth()).refresh(&call.ctx())))
    }

    fn identity(ctx: wit::Context) -> Result<wit::Identity, wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().oauth()).identity(&call.ctx())))
    }

    fn revoke(ctx: wit::Context) -> Result<(), wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().oauth()).revoke(&call.ctx())))
    }
}

impl<T: Build> publisher::Guest for T {
    fn options(ctx: wit::Context) -> Result<wit::PublishOptions, wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().publisher()).options(&call.ctx())))
    }

    fn validate(post: wit::Post) -> Vec<wit::FieldIssue> {
        let issues = must(provider().publisher()).validate(&must(post.cross().ok()));
        must(issues.cross().ok())
    }

    fn advance(
        ctx: wit::Context,
        post: wit::Post,
        at: Option<wit::Checkpoint>,
    ) -> Result<wit::Progress, wit::ProviderError> {
        let (call, post, at) = step(ctx, post, at)?;
        out(run(must(provider().publisher()).advance(
            &call.ctx(),
            &post,
            at.as_ref(),
        )))
    }

    fn reconcile(
        ctx: wit::Context,
        post: wit::Post,
        at: Option<wit::Checkpoint>,
        known_as: Option<String>,
    ) -> Result<wit::Reconciled, wit::ProviderError> {
        let (call, post, at) = step(ctx, post, at)?;
        let (ctx, publisher) = (call.ctx(), must(provider().publisher()));
        out(run(publisher.reconcile(&ctx, &post, at.as_ref(), known_as.as_deref())))
    }

    fn cancel(
        ctx: wit::Context,
        post: wit::Post,
        at: Option<wit::Checkpoint>,
    ) -> Result<wit::Cancelled, wit::ProviderError> {
        let (call, post, at) = step(ctx, post, at)?;
        out(run(must(provider().publisher()).cancel(
            &call.ctx(),
            &post,
            at.as_ref(),
        )))
    }

    fn metrics(ctx: wit::Context, remote_ids: Vec<String>) -> Result<Vec<wit::PostMetrics>, wit::ProviderError> {
        let call = Call::of(ctx)?;
        out(run(must(provider().publisher()).metrics(&call.ctx(), &remote_ids)))
    }
}

fn step(
    ctx: wit::Context,
    post: wit::Post,
    at: Option<wit::Checkpoint>,
) -> Result<(Call, patchbay_core::Post, Option<patchbay_core::Checkpoint>), Malformed> {
    Ok((Call::of(ctx)?, post.cross()?, at.cross()?))
}

impl<T: Build> webhooks::Guest for T {
    fn auth() -> wit::WebhookAuth {
        must(must(provider().webhooks()).auth().cross().ok())
    }

    fn parse(raw: wit::WebhookRequest) -> Result<Vec<wit::IncomingEvent>, wit::ProviderError> {
        let raw = raw.cross()?;
        out(run(must(provider().webhooks()).parse(&raw)))
    }
}

//! `patchbay:provider@0.1` as the traits of `patchbay-core`.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use patchbay_core::{
    AppCheck, Authorize, AuthorizeRequest, Callback, Cancelled, Checkpoint, Credentials, Ctx, Effect, ErrorKind,
    FieldIssue, Grant, Identity, IncomingEvent, Manifest, OAuthProvider, Post, PostForm, PostMetrics, Progress,
    Provider, ProviderError, PublishOptions, Publisher, Reconciled, Settings, TransportError, WebhookAuth,
    WebhookRequest, WebhookSource, WhoActs,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use url::Url;
use wasmtime::{Store, Trap};

use crate::{
    background::Work,
    bindings,
    cross::{Cross, Malformed},
    engine::{Entered, Shared},
    limits::{MAX_CODE_BYTES, MAX_MANIFEST_BYTES, MAX_MESSAGE_BYTES},
    load::{Component, Refused, check_manifest},
    state::{Ask, Limit, State},
    wit,
};

/// A component with its settings: a provider.
pub struct Guest {
    opening: Opening,
    manifest: Manifest,
    capabilities: wit::Capabilities,
    auth: Option<WebhookAuth>,
}

/// What each instance begins with.
#[derive(Clone)]
struct Opening {
    component: Component,
    name: Arc<str>,
    settings: Arc<String>,
}

type Guesting<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

impl Guest {
    pub(crate) async fn open(component: Component, settings: &Settings) -> Result<Self, Refused> {
        let mut guest = Self {
            opening: Opening {
                name: format!("component {:.8}", component.digest().to_string()).into(),
                settings: Arc::new(serde_json::Value::Object(settings.0.clone()).to_string()),
                component,
            },
            // Until it has said what it is.
            manifest: nothing(),
            capabilities: wit::Capabilities {
                oauth: false,
                publisher: false,
                webhooks: false,
            },
            auth: None,
        };
        let (manifest, capabilities) = guest
            .call(None, |guest, store| {
                Box::pin(guest.patchbay_provider_meta().call_describe(store))
            })
            .await
            .map_err(refused)?;
        guest.manifest = manifest.cross().map_err(strange)?;
        guest.opening.name = guest.manifest.id.as_str().into();
        let length = serde_json::to_vec(&guest.manifest).map_or(usize::MAX, |json| json.len());
        if length > MAX_MANIFEST_BYTES {
            return Err(Refused::new(
                "manifest",
                format!("its manifest has {length} bytes as JSON, and {MAX_MANIFEST_BYTES} are allowed"),
                "Shorten its texts",
            ));
        }
        check_manifest(&guest.manifest)?;
        if capabilities.webhooks {
            let auth = guest
                .call(None, |guest, store| {
                    Box::pin(guest.patchbay_provider_webhooks().call_auth(store))
                })
                .await
                .map_err(refused)?;
            guest.auth = Some(auth.cross().map_err(strange)?);
        }
        guest.capabilities = capabilities;
        Ok(guest)
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.opening.component
    }

    fn engine(&self) -> &Arc<Shared> {
        &self.opening.component.0.engine.0
    }

    /// Makes one call in an instance of its own. It runs where it is waited for, until it is found to compute long; its
    /// requests are always made here.
    async fn call<T: Send + 'static>(
        &self,
        ctx: Option<&Ctx<'_>>,
        call: impl for<'a> FnOnce(&'a bindings::Provider, &'a mut Store<State>) -> Guesting<'a, T> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let entered = self.engine().enter().await?;
        let (asks, mut asked) = mpsc::channel(1);
        let asks = ctx.map(|_| asks);
        let long = Arc::new(Notify::new());
        let opening = self.opening.clone();
        let mut running: Work<_> = Box::pin(opening.run(entered, asks, Some(long.clone()), call));
        let mut deadline = Instant::now() + self.engine().limits.wall;
        let mut committed = false;
        let ended = loop {
            let ask = tokio::select! {
                biased;
                ended = &mut running => break ended,
                Some(ask) = asked.recv() => ask,
                () = long.notified() => {
                    let Shared { background, limits, .. } = &**self.engine();
                    running = background.take_over(running, limits.patience());
                    continue;
                }
                () = sleep_until(deadline) => break Err(Ended::Wall),
            };
            let Some(ctx) = ctx else { continue };
            let Ask { request, answer } = ask;
            let commits = self
                .manifest
                .op(&request.op)
                .is_some_and(|op| op.effect == Effect::Commit);
            let sent = Instant::now();
            let response = ctx.transport().send(request).await;
            committed |= commits && matches!(response, Ok(_) | Err(TransportError::Lost { .. }));
            deadline += sent.elapsed();
            // If nobody waits for it, the call has ended.
            let _ = answer.send(response);
        };
        ended.map_err(|ended| ended.error(committed))
    }

    /// Makes a call that the host cannot wait for. It holds this thread, so it has little time.
    fn call_inline<T: Send>(
        &self,
        call: impl for<'a> FnOnce(&'a bindings::Provider, &'a mut Store<State>) -> Guesting<'a, T> + Send,
    ) -> Result<T, ProviderError> {
        let entered = self.engine().enter_inline();
        let running = pin!(self.opening.clone().run(entered, None, None, call));
        match running.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => ended.map_err(|ended| ended.error(false)),
            Poll::Pending => Err(Ended::Wall.error(false)),
        }
    }
}

impl Opening {
    /// A whole call: it may be polled by anyone, and holds all that it needs.
    async fn run<T: Send>(
        self,
        entered: Entered,
        asks: Option<mpsc::Sender<Ask>>,
        long: Option<Arc<Notify>>,
        call: impl for<'a> FnOnce(&'a bindings::Provider, &'a mut Store<State>) -> Guesting<'a, T> + Send,
    ) -> Result<T, Ended> {
        let loaded = &self.component.0;
        let shared = &loaded.engine.0;
        let state = State::new(self.name.clone(), loaded.rate.clone(), &shared.limits, long);
        let mut store = Store::new(&shared.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(shared.limits.hostcall_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| store.data_mut().tick());
        let guest = loaded.pre.instantiate_async(&mut store).await.map_err(Ended::Trap)?;
        let opened = guest
            .patchbay_provider_meta()
            .call_open(&mut store, &self.settings)
            .await;
        opened.map_err(Ended::Trap)?.map_err(Ended::Settings)?;
        if let Some(asks) = asks {
            store.data_mut().allow_http(asks);
        }
        let result = call(&guest, &mut store).await.map_err(Ended::Trap);
        // Not before the instance is gone: its place is counted.
        drop(store);
        drop(entered);
        result
    }
}

/// How a call ended that gave no result.
enum Ended {
    Trap(wasmtime::Error),
    Settings(String),
    Wall,
}

impl Ended {
    /// A guest that was stopped says nothing of the platform. So it is run again later, when it may have been mended; but
    /// after a commit in the same call, only a look at the platform can tell.
    fn error(self, committed: bool) -> ProviderError {
        let (code, message) = match self {
            Self::Settings(message) => ("component_settings", message),
            Self::Wall => ("component_time_limit", "it ran longer than a call may".to_owned()),
            Self::Trap(error) => (cause(&error), format!("{error:#}")),
        };
        let kind = if committed {
            ErrorKind::OutcomeUnknown
        } else {
            ErrorKind::Retryable
        };
        ProviderError::new(kind, code, message).for_who(WhoActs::Operator)
    }
}

fn cause(error: &wasmtime::Error) -> &'static str {
    if let Some(limit) = error.downcast_ref::<Limit>() {
        return match limit {
            Limit::Cpu => "component_cpu_limit",
            Limit::Memory => "component_memory_limit",
            Limit::Table => "component_table_limit",
            Limit::HttpCalls => "component_http_limit",
        };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return "component_busy";
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "component_stack_limit",
        Some(_) => "component_trap",
        // Values that are too large, or that are no values of their types.
        None => "component_value",
    }
}

fn refused(error: ProviderError) -> Refused {
    let message = error.message.into_string();
    if error.code == "component_settings" {
        return Refused::new("settings", message, "Mend [providers.<id>.settings]");
    }
    Refused::new(
        "describe",
        format!("asked what it is, it failed ({}): {message}", error.code),
        "Mend the provider: what it says of itself needs neither HTTP nor much time",
    )
}

fn strange(error: Malformed) -> Refused {
    Refused::new(
        "manifest",
        format!("its manifest holds something that is {error}"),
        "Mend its manifest",
    )
}

fn nothing() -> Manifest {
    Manifest {
        id: patchbay_core::ProviderId::patchbay(),
        display_name: "",
        version: "",
        docs_url: "",
        scopes: Vec::new(),
        needs: Vec::new(),
        ops: Vec::new(),
        buckets: Vec::new(),
        quotas: Vec::new(),
        kinds: Vec::new(),
        options: Vec::new(),
        form: PostForm::default(),
        browser_hosts: Vec::new(),
    }
}

impl From<Malformed> for ProviderError {
    fn from(error: Malformed) -> Self {
        let message = format!("the component gave something that is {error}");
        Self::new(ErrorKind::Retryable, "component_value", message).for_who(WhoActs::Operator)
    }
}

impl Guest {
    /// A failed call in the host's terms. The guest cannot name a quota that its manifest has not.
    fn failed(&self, error: wit::ProviderError) -> ProviderError {
        let quota = error.quota.as_deref();
        let quota = quota.and_then(|name| self.manifest.quotas.iter().find(|quota| quota.name == name));
        let kind: Result<ErrorKind, Malformed> = error.kind.cross();
        // Codes are labels of metrics and branches of callers, so they are names.
        let is_name = |code: &str| {
            let name = |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.');
            (1..=MAX_CODE_BYTES).contains(&code.len()) && code.bytes().all(name)
        };
        let code = if is_name(&error.code) {
            error.code
        } else {
            "component_code".to_owned()
        };
        let mut out = ProviderError::new(kind.unwrap_or(ErrorKind::Permanent), code, cut(error.message));
        out.advice = error.advice.map(|advice| cut(advice).into());
        out.who = error.who.and_then(|who| who.cross().ok());
        out.retry_after = error.retry_after.map(std::time::Duration::from_millis);
        out.quota = quota.map(|quota| quota.name);
        out
    }

    fn result<T: Cross<U>, U>(&self, result: Result<T, wit::ProviderError>) -> Result<U, ProviderError> {
        match result {
            Ok(value) => Ok(value.cross()?),
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
    text
}

fn context(ctx: &Ctx<'_>) -> Result<wit::Context, Malformed> {
    Ok(wit::Context {
        now: ctx.now.cross()?,
        app: ctx.app.clone().cross()?,
        account: ctx.account().ok().cloned().cross()?,
    })
}

impl Provider for Guest {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        self.capabilities.oauth.then_some(self)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        self.capabilities.publisher.then_some(self)
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        self.auth.is_some().then_some(self)
    }
}

/// Calls an export with the context of the call: `call!(self, ctx, interface.function(argument, …))`.
macro_rules! call {
    ($self:ident, $ctx:ident, $interface:ident.$function:ident($($argument:expr),*)) => {{
        let context = context($ctx)?;
        let result = $self
            .call(Some($ctx), |guest, store| Box::pin(async move {
                guest.$interface().$function(store, &context, $($argument),*).await
            }))
            .await?;
        $self.result(result)
    }};
}

#[async_trait]
impl OAuthProvider for Guest {
    fn redirect_issues(&self, redirect_uri: &Url) -> Vec<String> {
        let issues = self.call_inline(|guest, store| {
            let (uri, oauth) = (redirect_uri.to_string(), guest.patchbay_provider_oauth());
            Box::pin(async move { oauth.call_redirect_issues(store, &uri).await })
        });
        issues.unwrap_or_else(|error| vec![format!("the provider could not look at it ({})", error.code)])
    }

    async fn check_app(&self, ctx: &Ctx<'_>) -> Result<AppCheck, ProviderError> {
        call!(self, ctx, patchbay_provider_oauth.call_check_app())
    }

    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        let request = request.clone().cross()?;
        call!(self, ctx, patchbay_provider_oauth.call_authorize(&request))
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let callback = callback.clone().cross()?;
        call!(self, ctx, patchbay_provider_oauth.call_exchange(&callback))
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        call!(self, ctx, patchbay_provider_oauth.call_refresh())
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        call!(self, ctx, patchbay_provider_oauth.call_identity())
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        call!(self, ctx, patchbay_provider_oauth.call_revoke())
    }
}

#[async_trait]
impl Publisher for Guest {
    async fn options(&self, ctx: &Ctx<'_>) -> Result<PublishOptions, ProviderError> {
        call!(self, ctx, patchbay_provider_publisher.call_options())
    }

    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        let validated = || -> Result<Vec<FieldIssue>, ProviderError> {
            let post = post.clone().cross()?;
            let issues = self.call_inline(|guest, store| {
                Box::pin(async move { guest.patchbay_provider_publisher().call_validate(store, &post).await })
            })?;
            Ok(issues.cross()?)
        };
        validated().unwrap_or_else(|error| {
            let message = format!("The provider could not look at this post ({}).", error.code);
            vec![FieldIssue::new("", error.code, message)]
        })
    }

    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        let (post, at) = (post.clone().cross()?, at.cloned().cross()?);
        call!(self, ctx, patchbay_provider_publisher.call_advance(&post, at.as_ref()))
    }

    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        at: Option<&Checkpoint>,
        known_as: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        let (post, at) = (post.clone().cross()?, at.cloned().cross()?);
        let known_as = known_as.map(ToOwned::to_owned);
        call!(
            self,
            ctx,
            patchbay_provider_publisher.call_reconcile(&post, at.as_ref(), known_as.as_deref())
        )
    }

    async fn cancel(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Cancelled, ProviderError> {
        let (post, at) = (post.clone().cross()?, at.cloned().cross()?);
        call!(self, ctx, patchbay_provider_publisher.call_cancel(&post, at.as_ref()))
    }

    async fn metrics(&self, ctx: &Ctx<'_>, remote_ids: &[String]) -> Result<Vec<PostMetrics>, ProviderError> {
        let remote_ids = remote_ids.to_vec();
        call!(self, ctx, patchbay_provider_publisher.call_metrics(&remote_ids))
    }
}

#[async_trait]
impl WebhookSource for Guest {
    fn auth(&self) -> WebhookAuth {
        self.auth.clone().unwrap_or(WebhookAuth { schemes: Vec::new() })
    }

    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError> {
        let raw = raw.clone().cross()?;
        let result = self
            .call(None, |guest, store| {
                Box::pin(async move { guest.patchbay_provider_webhooks().call_parse(store, &raw).await })
            })
            .await?;
        self.result(result)
    }
}

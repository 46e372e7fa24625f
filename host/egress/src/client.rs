//! The client itself: two connection pools with different rules. One dials public addresses by https; the other dials
//! the loopback addresses of simulators by http, and nothing else.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use patchbay_app::wire::{Wire, WireBody, WireError, WireRequest, WireResponse, WireStream};
use patchbay_core::ProviderId;
use tracing::Instrument;
use url::{Position, Url};

use crate::{
    address::{AddressFilter, Cidr},
    body::{BodyHandle, ExactBody},
    limits::{Deadline, MAX_ANSWER_HEADERS, lost, read_answer, stream_answer},
    observe,
    policy::{self, Blocked, Policy},
    redact,
    resolve::{Lookup, NoNames, SystemLookup, Vetted},
};

/// Settings of the client.
#[derive(Debug, Clone)]
pub struct Config {
    /// Parts of the private ranges that may be dialled. Loopback and link-local addresses cannot be opened.
    pub open_cidrs: Vec<Cidr>,
    /// Time for resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Most time for a call, whatever it asks for. With a streamed body: most time without progress.
    pub total_timeout: Duration,
    /// Most time for a call whose body is streamed, either way, however steadily it moves.
    pub stream_timeout: Duration,
    /// Added to the time for the answer after a streamed body: its end is then still in the socket's buffer.
    pub drain_timeout: Duration,
    /// Simulator mode: per provider, real host to the simulator's loopback address. See also [`Egress::simulate`].
    pub simulators: HashMap<ProviderId, HashMap<String, SocketAddr>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open_cidrs: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(120),
            stream_timeout: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_secs(30),
            simulators: HashMap::new(),
        }
    }
}

/// The client cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Loopback, link-local, or not a private range at all.
    #[error("{0} cannot be opened: only private ranges can, never loopback or link-local")]
    CidrNotOpenable(Cidr),
    /// Simulators speak plain http, so nothing may overhear them.
    #[error("the simulator at {0} is not on a loopback address")]
    SimulatorNotLoopback(SocketAddr),
    /// Most often: this machine has no trusted certificates.
    #[error("the HTTP client cannot be built (are the system's CA certificates installed?)")]
    Client(#[source] reqwest::Error),
}

/// The one HTTP client. Dropping a call's future ends the call; what was sent by then may have arrived.
pub struct Egress {
    public: reqwest::Client,
    loopback: reqwest::Client,
    policy: Arc<Policy>,
    simulators: RwLock<Simulators>,
    config: Config,
}

type Simulators = HashMap<ProviderId, HashMap<String, SocketAddr>>;

fn on_loopback(hosts: HashMap<String, SocketAddr>) -> Result<HashMap<String, SocketAddr>, ConfigError> {
    if let Some(address) = hosts.values().find(|address| !address.ip().is_loopback()) {
        return Err(ConfigError::SimulatorNotLoopback(*address));
    }
    Ok(hosts
        .into_iter()
        .map(|(host, address)| (host.to_ascii_lowercase(), address))
        .collect())
}

impl Egress {
    /// A client that resolves names as the operating system does.
    ///
    /// # Errors
    /// A setting is not acceptable, or the machine trusts no certificate authority.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_lookup(config, Arc::new(SystemLookup))
    }

    /// A client with its own way to resolve names. Its results are checked all the same.
    ///
    /// # Errors
    /// As [`Egress::new`].
    pub fn with_lookup(config: Config, lookup: Arc<dyn Lookup>) -> Result<Self, ConfigError> {
        let filter = AddressFilter::new(config.open_cidrs.clone()).map_err(ConfigError::CidrNotOpenable)?;
        Self::build(config, Policy::new(filter), lookup, None)
    }

    /// `only_root` replaces the system's certificate authorities, for tests.
    pub(crate) fn build(
        mut config: Config,
        policy: Policy,
        lookup: Arc<dyn Lookup>,
        only_root: Option<reqwest::Certificate>,
    ) -> Result<Self, ConfigError> {
        let mut simulators = HashMap::new();
        for (provider, hosts) in std::mem::take(&mut config.simulators) {
            simulators.insert(provider, on_loopback(hosts)?);
        }
        // Fails if a provider is installed already, which is then the one to use.
        rustls::crypto::ring::default_provider().install_default().ok();
        observe::describe();
        let policy = Arc::new(policy);
        let resolver = Arc::new(Vetted {
            lookup,
            policy: Arc::clone(&policy),
        });
        let public = || {
            builder(&config)
                .https_only(true)
                .tls_version_min(reqwest::tls::Version::TLS_1_2)
                .dns_resolver(Arc::clone(&resolver))
        };
        let public = match only_root {
            Some(root) => public().tls_certs_only([root]).build(),
            None => match public().build() {
                // Enough for a demo in a bare container. The client then trusts nobody, and every call fails.
                Err(_) if !simulators.is_empty() => {
                    tracing::warn!("No trusted CA certificates found: only simulators can be called");
                    public().tls_certs_only([]).build()
                }
                built => built,
            },
        };
        let loopback = builder(&config).tls_certs_only([]).dns_resolver(NoNames).build();
        Ok(Self {
            public: public.map_err(ConfigError::Client)?,
            loopback: loopback.map_err(ConfigError::Client)?,
            policy,
            simulators: RwLock::new(simulators),
            config,
        })
    }

    /// Sends calls of a provider to a simulator from now on: real host to loopback address. Without hosts, to the
    /// platform.
    ///
    /// # Errors
    /// An address is not on loopback. Nothing has changed then.
    pub fn simulate(&self, provider: ProviderId, hosts: HashMap<String, SocketAddr>) -> Result<(), ConfigError> {
        let hosts = on_loopback(hosts)?;
        let mut simulators = self.simulators.write().unwrap_or_else(PoisonError::into_inner);
        simulators.insert(provider, hosts);
        Ok(())
    }

    fn simulator(&self, provider: &ProviderId, url: &Url) -> Option<SocketAddr> {
        let simulators = self.simulators.read().unwrap_or_else(PoisonError::into_inner);
        simulators.get(provider)?.get(url.host_str()?).copied()
    }

    /// Checks a request and puts it into the library's form. Nothing is dialled yet.
    fn prepare(&self, request: WireRequest) -> Result<Prepared, Blocked> {
        let mut url = self.policy.parse(request.url.expose())?;
        url.set_fragment(None);
        let body_len = match &request.body {
            WireBody::Empty => 0,
            WireBody::Bytes(bytes) => bytes.len() as u64,
            WireBody::Stream { len, .. } => *len,
        };
        let mut headers = policy::headers(&request.headers, body_len)?;
        let client = match self.simulator(&request.provider, &url) {
            Some(address) => {
                let host = &url[Position::BeforeHost..Position::AfterPort];
                headers.insert(
                    header::HOST,
                    HeaderValue::from_str(host).map_err(|_| Blocked::HostName)?,
                );
                url = at_simulator(&url, address);
                &self.loopback
            }
            None => &self.public,
        };
        let deadline = Deadline::new(request.timeout.min(self.config.total_timeout));
        let mut handle = None;
        let method = policy::method(&request.method)?;
        let mut call = client.request(method.clone(), url);
        match request.body {
            WireBody::Stream { len, stream } if len > 0 => {
                let (body, given) = ExactBody::new(len, stream, Arc::clone(&deadline), self.config.drain_timeout);
                handle = Some(given);
                // Without it the library would send chunks, which platforms refuse for uploads.
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
                call = call.body(reqwest::Body::wrap_stream(body));
            }
            WireBody::Bytes(bytes) => call = call.body(bytes),
            // Said aloud, because some servers answer 411 to a bare POST.
            WireBody::Empty | WireBody::Stream { .. }
                if matches!(method, Method::POST | Method::PUT | Method::PATCH) =>
            {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            WireBody::Empty | WireBody::Stream { .. } => {}
        }
        Ok(Prepared {
            client: client.clone(),
            request: call.headers(headers).build().map_err(|_| Blocked::Request)?,
            body: handle,
            deadline,
            max_answer_bytes: request.max_answer_bytes,
        })
    }
}

#[async_trait]
impl Wire for Egress {
    async fn send(&self, request: WireRequest) -> Result<WireResponse, WireError> {
        let call = observe::Call::start(&request);
        let result = match self.prepare(request) {
            Ok(prepared) => {
                prepared
                    .run(self.config.stream_timeout)
                    .instrument(call.span.clone())
                    .await
            }
            Err(blocked) => Err(WireError::Blocked(blocked.to_string())),
        };
        call.finish(result.as_ref().map(|answer| answer.status));
        result
    }

    async fn open(&self, request: WireRequest) -> Result<WireStream, WireError> {
        let call = observe::Call::start(&request);
        let stall = request.timeout.min(self.config.total_timeout);
        let result = match self.prepare(request) {
            Ok(prepared) => {
                let opening = prepared.open(stall, self.config.stream_timeout);
                opening.instrument(call.span.clone()).await
            }
            Err(blocked) => Err(WireError::Blocked(blocked.to_string())),
        };
        call.finish(result.as_ref().map(|answer| answer.status));
        result
    }

    fn user_url(&self, text: &str) -> Result<Url, WireError> {
        // The raw text: the parser drops tabs and line breaks.
        let url = self.policy.parse(text);
        let checked = url.and_then(|url| self.policy.check_user_url(&url).map(|()| url));
        checked.map_err(|blocked| WireError::Blocked(blocked.to_string()))
    }

    fn browser_url(&self, provider: &ProviderId, url: &Url) -> Url {
        match self.simulator(provider, url) {
            Some(address) if url.scheme() == "https" => at_simulator(url, address),
            _ => url.clone(),
        }
    }
}

struct Prepared {
    client: reqwest::Client,
    request: reqwest::Request,
    /// Of a streamed body.
    body: Option<BodyHandle>,
    deadline: Arc<Deadline>,
    max_answer_bytes: usize,
}

impl Prepared {
    async fn run(self, limit: Duration) -> Result<WireResponse, WireError> {
        let deadline = Arc::clone(&self.deadline);
        tokio::select! {
            result = self.exchange() => result,
            () = deadline.passed() => Err(lost("timed out")),
            () = tokio::time::sleep(limit) => Err(lost("timed out")),
        }
    }

    async fn open(self, stall: Duration, limit: Duration) -> Result<WireStream, WireError> {
        let answer = tokio::select! {
            answer = self.client.execute(self.request) => answer.map_err(|error| redact::call_error(&error))?,
            () = self.deadline.passed() => return Err(lost("timed out")),
        };
        stream_answer(answer, stall, limit)
    }

    async fn exchange(self) -> Result<WireResponse, WireError> {
        let answer = match self.client.execute(self.request).await {
            Ok(answer) => answer,
            Err(error) => {
                return Err(match self.body.as_ref().and_then(BodyHandle::fault) {
                    Some(fault) => WireError::Lost(fault.to_string()),
                    None => redact::call_error(&error),
                });
            }
        };
        if self.body.is_some() {
            self.deadline.push(Duration::ZERO);
        }
        read_answer(answer, self.max_answer_bytes).await
    }
}

/// What both pools have in common.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that builds HTTP clients"
)]
fn builder(config: &Config) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .referer(false)
        // One call is one send: whether it may be repeated is for the caller to decide.
        .retry(reqwest::retry::never())
        .connect_timeout(config.connect_timeout)
        // One call per connection, so a fault hits one call. No platform needs more.
        .http1_only()
        .http1_max_headers(MAX_ANSWER_HEADERS)
        // Shorter than servers keep idle connections, so that a request seldom meets a closing one and gets lost.
        .pool_idle_timeout(Duration::from_secs(15))
        .pool_max_idle_per_host(8);
    // Frees connections whose peer has stopped reading: the library tries to flush them before it closes them.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(config.total_timeout);
    builder
}

/// The same URL at a simulator.
fn at_simulator(url: &Url, address: SocketAddr) -> Url {
    let mut simulated = url.clone();
    // https to http, address and port of a socket: none of these can be refused.
    let set = simulated.set_scheme("http").is_ok()
        && simulated.set_ip_host(address.ip()).is_ok()
        && simulated.set_port(Some(address.port())).is_ok();
    debug_assert!(set, "an https URL takes any host and port");
    simulated
}

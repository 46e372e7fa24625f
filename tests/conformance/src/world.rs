//! One simulator, one app, one account: what a trial plays in.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use patchbay_core::{
    AccountId, AccountView, AppCredentials, Authorize, AuthorizeRequest, Callback, CredentialLifetimes, Credentials,
    Ctx, ErrorKind, Grant, Op, PkceChallenge, Provider, ProviderError, SecretRef,
};
use patchbay_simkit::{Clock, lock, outbound, serve, stand::StandConfig};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use crate::{
    Case, Platform,
    case::MEDIA_HOST,
    law::Breach,
    transport::{Faults, Sent, Transport},
};

/// Public id of the kit's app.
pub const CLIENT_ID: &str = "conformance-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "conformance-canary-client-secret";
/// Where the platform sends browsers back to.
pub const REDIRECT_URI: &str = "https://patchbay.example/api/callback";
const STATE: &str = "conformance-state-0123456789";
const VERIFIER: &str = "conformance-canary-verifier-0123456789-abcdefgh";

/// A webhook as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Vec<u8>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A running simulator with a provider and a host around it.
pub struct World {
    /// The provider's factory.
    case: Case,
    /// The simulator.
    pub platform: Box<dyn Platform>,
    pub(crate) hosts: BTreeMap<String, SocketAddr>,
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Clock,
    pub(crate) app: AppCredentials,
    pub(crate) secrets: Mutex<BTreeMap<SecretRef, String>>,
    /// Files of the post under trial.
    pub(crate) files: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) inbox: Arc<Mutex<Vec<Received>>>,
    /// What goes wrong.
    pub faults: Faults,
    /// Everything that was sent.
    pub(crate) log: Mutex<Vec<Sent>>,
    account: Mutex<Option<Account>>,
    stop: watch::Sender<bool>,
}

struct Account {
    view: AccountView,
    lifetimes: CredentialLifetimes,
    since: DateTime<Utc>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl World {
    /// Starts the simulator of a case.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(case: &Case) -> Result<Self, Breach> {
        let (stop, stopped) = watch::channel(false);
        let inbox: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&inbox);
        let clock: Arc<Mutex<Option<Clock>>> = Arc::default();
        let time = Arc::clone(&clock);
        let served: BTreeMap<String, (String, Bytes)> = case
            .posts
            .iter()
            .flat_map(|sample| sample.post.media.iter().map(move |media| (sample, media)))
            .filter_map(|(sample, media)| {
                let bytes = sample.files.get(&media.id)?.clone();
                (media.origin.is_fetched()).then(|| (media.id.to_string(), (media.info.mime.clone(), bytes)))
            })
            .collect();
        let router = Router::new()
            .route(
                "/webhook",
                post(async move |headers: HeaderMap, body: Bytes| {
                    let at = lock(&time).as_ref().map_or(DateTime::UNIX_EPOCH, Clock::now);
                    let headers = headers
                        .iter()
                        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
                        .collect();
                    lock(&kept).push(Received {
                        headers,
                        body: body.to_vec(),
                        at,
                    });
                }),
            )
            .route(
                "/{file}",
                get(async move |Path(file): Path<String>| match served.get(&file) {
                    Some((mime, bytes)) => Ok(([(header::CONTENT_TYPE, mime.clone())], bytes.clone())),
                    None => Err(StatusCode::NOT_FOUND),
                }),
            );
        let broken = |what: String| Breach(format!("the kit cannot begin: {what}"));
        let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into())
            .await
            .map_err(|error| broken(error.to_string()))?;
        serve::spawn(listener, router, stopped);
        let config = StandConfig {
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            redirect_uri: REDIRECT_URI.to_owned(),
            webhook_url: Some(format!("http://{address}/webhook")),
            media_hosts: [(MEDIA_HOST.to_owned(), address)].into(),
            first_port: None,
        };
        let platform = (case.simulator)(config).await.map_err(broken)?;
        let hosts: BTreeMap<String, SocketAddr> = platform.hosts().into_iter().collect();
        // Said once and here: without it, each call would fail in words of its own.
        if let Some(op) = (case.provider)()
            .manifest()
            .ops
            .iter()
            .find(|op| is_played_nowhere(op, &hosts))
        {
            let (name, wanted) = (op.name, op.hosts.join(" or "));
            return Err(broken(format!(
                "the simulator plays no host {wanted}, where the op {name} goes: src/manifest.rs and the simulator are to name \
                 the same"
            )));
        }
        *lock(&clock) = Some(platform.clock());
        let app = AppCredentials {
            client_id: CLIENT_ID.to_owned(),
            client_secret: SecretRef::app("client_secret"),
        };
        let secrets = BTreeMap::from([
            (app.client_secret.clone(), CLIENT_SECRET.to_owned()),
            (SecretRef::call("pkce_verifier"), VERIFIER.to_owned()),
        ]);
        Ok(Self {
            case: case.clone(),
            hosts,
            clock: platform.clock(),
            platform,
            client: outbound::loopback_client(Duration::from_secs(30)).map_err(|error| broken(error.to_string()))?,
            app,
            secrets: Mutex::new(secrets),
            files: Mutex::default(),
            inbox,
            faults: Faults::default(),
            log: Mutex::default(),
            account: Mutex::default(),
            stop,
        })
    }

    /// The same, with an account connected.
    ///
    /// # Errors
    /// It cannot be connected.
    pub async fn connected(case: &Case) -> Result<Self, Breach> {
        let world = Self::start(case).await?;
        let grant = world.connect().await?;
        world.adopt(&grant)?;
        lock(&world.log).clear();
        Ok(world)
    }

    /// A new instance of the provider.
    #[must_use]
    pub fn provider(&self) -> Arc<dyn Provider> {
        (self.case.provider)()
    }

    /// What was sent so far.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.log).clone()
    }

    /// Webhooks that came so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.inbox).clone()
    }

    /// Moves time, and lets happen what is due.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.platform.settle().await;
    }

    /// The connected account.
    ///
    /// # Errors
    /// None is.
    pub fn account(&self) -> Result<AccountView, Breach> {
        let account = lock(&self.account);
        let account = account.as_ref().ok_or_else(|| Breach::new("no account is connected"))?;
        Ok(account.view.clone())
    }

    /// What a connect begins with.
    #[must_use]
    pub fn authorize_request(&self, provider: &dyn Provider) -> AuthorizeRequest {
        AuthorizeRequest {
            redirect_uri: Url::parse(REDIRECT_URI).expect("a fixed URL"),
            state: STATE.to_owned(),
            scopes: provider.manifest().default_scopes().map(str::to_owned).collect(),
            pkce: PkceChallenge {
                digest: Sha256::digest(VERIFIER).into(),
            },
            force_consent: false,
        }
    }

    /// Begins a connect.
    ///
    /// # Errors
    /// The provider refuses.
    pub async fn authorize(&self) -> Result<Authorize, Breach> {
        let provider = self.provider();
        let oauth = provider
            .oauth()
            .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
        let transport = Transport::looking(self, &*provider);
        let ctx = Ctx::new(&transport, self.clock.now(), &self.app, None);
        let request = self.authorize_request(&*provider);
        guarded(oauth.authorize(&ctx, &request))
            .await?
            .map_err(|error| Breach(format!("authorize refuses: {error}")))
    }

    /// A person agrees; what the browser brings back.
    ///
    /// # Errors
    /// The platform does not send them back with a code.
    pub async fn callback(&self) -> Result<Callback, Breach> {
        let redirect_uri = Url::parse(REDIRECT_URI).expect("a fixed URL");
        let mut callback = Callback {
            params: BTreeMap::new(),
            code: SecretRef::call("code"),
            pkce_verifier: SecretRef::call("pkce_verifier"),
            redirect_uri,
            pending: serde_json::Value::Null,
        };
        match self.authorize().await? {
            Authorize::Redirect { url, pending } => {
                callback.pending = pending;
                let local = self.on_loopback(&url)?;
                let back = self
                    .platform
                    .consent(local.as_str())
                    .await
                    .map_err(|error| Breach(format!("the simulator's authorize page refuses: {error}")))?;
                let back = Url::parse(&back).map_err(|_| Breach(format!("sent back to {back}, which is no URL")))?;
                callback.params = back.query_pairs().into_owned().collect();
                let code = callback.params.remove("code");
                let code = code.ok_or_else(|| Breach(format!("sent back without a code: {:?}", callback.params)))?;
                if callback.params.remove("state").as_deref() != Some(STATE) {
                    return Err(Breach::new("sent back with another state"));
                }
                lock(&self.secrets).insert(callback.code.clone(), code);
            }
            Authorize::Form { fields, pending } => {
                callback.pending = pending;
                for field in fields {
                    let value = self.case.form.get(&*field.name).cloned();
                    let value = value.ok_or_else(|| Breach(format!("Case.form has no {}", field.name)))?;
                    if field.secret {
                        lock(&self.secrets).insert(SecretRef::call(&field.name), value);
                    } else {
                        callback.params.insert(field.name.to_string(), value);
                    }
                }
            }
        }
        Ok(callback)
    }

    /// The whole connect.
    ///
    /// # Errors
    /// As its parts.
    pub async fn connect(&self) -> Result<Grant, Breach> {
        let callback = self.callback().await?;
        self.exchange(&callback)
            .await?
            .map_err(|error| Breach(format!("exchange refuses: {error}")))
    }

    /// Ends a connect.
    ///
    /// # Errors
    /// The provider panics; inside, its own error.
    pub async fn exchange(&self, callback: &Callback) -> Result<Result<Grant, ProviderError>, Breach> {
        let provider = self.provider();
        let oauth = provider
            .oauth()
            .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
        let transport = Transport::looking(self, &*provider);
        let ctx = Ctx::new(&transport, self.clock.now(), &self.app, None);
        guarded(oauth.exchange(&ctx, callback)).await
    }

    /// Keeps a grant, as the host would.
    ///
    /// # Errors
    /// It names nobody, or a handle that nothing stands behind.
    pub fn adopt(&self, grant: &Grant) -> Result<(), Breach> {
        let identity = grant
            .identities
            .first()
            .ok_or_else(|| Breach::new("the grant names no identity"))?;
        let credentials = self.store(&grant.credentials)?;
        *lock(&self.account) = Some(Account {
            view: AccountView {
                id: AccountId::from_uuid(Uuid::from_u128(1)),
                remote_id: identity.remote_id.clone(),
                scopes: grant.scopes.clone(),
                credentials,
            },
            lifetimes: grant.credentials.lifetimes,
            since: self.clock.now(),
        });
        Ok(())
    }

    /// Renews the credentials and keeps what came back.
    ///
    /// # Errors
    /// The provider panics, or gives a handle that nothing stands behind; inside, its own error.
    pub async fn refresh(&self) -> Result<Result<Credentials, ProviderError>, Breach> {
        let provider = self.provider();
        let oauth = provider
            .oauth()
            .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
        let account = self.account()?;
        let transport = Transport::looking(self, &*provider);
        let ctx = Ctx::new(&transport, self.clock.now(), &self.app, Some(&account));
        let fresh = guarded(oauth.refresh(&ctx)).await?;
        if let Ok(fresh) = &fresh {
            let credentials = self.store(fresh)?;
            if let Some(account) = lock(&self.account).as_mut() {
                account.view.credentials = credentials;
                account.lifetimes = fresh.lifetimes;
                account.since = self.clock.now();
            }
        }
        Ok(fresh)
    }

    /// Renews them where they are about to die, as the host does before a step.
    pub(crate) async fn keep_fresh(&self) -> Result<(), Breach> {
        let due = lock(&self.account).as_ref().is_some_and(|account| {
            let margin = TimeDelta::minutes(10);
            let life = account.lifetimes.access.and_then(|life| TimeDelta::from_std(life).ok());
            life.is_some_and(|life| self.clock.now() - account.since + margin >= life)
        });
        if due {
            self.faults.be_quiet(true);
            let fresh = self.refresh().await;
            self.faults.be_quiet(false);
            fresh?.map_err(|error| Breach(format!("refresh refuses a fresh token: {error}")))?;
        }
        Ok(())
    }

    /// Writes values under the account's own names.
    fn store(&self, credentials: &Credentials) -> Result<Credentials, Breach> {
        let mut secrets = lock(&self.secrets);
        let mut kept = Credentials {
            lifetimes: credentials.lifetimes,
            ..Credentials::default()
        };
        let mut values = Vec::new();
        for (name, handle) in &credentials.secrets {
            let value = secrets.get(handle).cloned();
            let value = value.ok_or_else(|| Breach(format!("credential {name}: nothing stands behind {handle:?}")))?;
            kept.secrets.insert(name.clone(), SecretRef::account(name));
            values.push((SecretRef::account(name), value));
        }
        secrets.extend(values);
        Ok(kept)
    }

    /// The loopback address of a page, for a browser.
    fn on_loopback(&self, url: &Url) -> Result<Url, Breach> {
        let host = url.host_str().unwrap_or_default();
        let address = self
            .hosts
            .get(host)
            .ok_or_else(|| Breach(format!("the simulator plays no host {host}")))?;
        let mut local = Url::parse(&format!("http://{address}")).expect("an address is a host");
        local.set_path(url.path());
        local.set_query(url.query());
        Ok(local)
    }

    /// The first secret value that a text holds, by its handle.
    #[must_use]
    pub fn secret_in(&self, text: &str) -> Option<SecretRef> {
        let secrets = lock(&self.secrets);
        let found = secrets
            .iter()
            .find(|(_, value)| value.len() >= 8 && text.contains(value.as_str()));
        found.map(|(handle, _)| handle.clone())
    }
}

/// Whether a row names its hosts whole, and the simulator plays none of them.
fn is_played_nowhere(op: &Op, played: &BTreeMap<String, SocketAddr>) -> bool {
    let may_be_played = |host: &&str| host.starts_with('*') || played.contains_key(*host);
    !op.hosts.is_empty() && !op.hosts.iter().any(may_be_played)
}

/// A call into a provider: a panic is a breach.
pub(crate) async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, Breach> {
    AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Breach(format!("the provider panics: {}", text.unwrap_or_default()))
    })
}

/// Whether an error says that the connect is over.
pub(crate) fn ends_grant(error: &ProviderError) -> bool {
    error.kind == ErrorKind::ReauthRequired
}

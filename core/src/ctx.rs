//! What a call gets from the host: HTTP, the time, the app's registration, and the account it works for.

use chrono::{DateTime, Utc};

use crate::{
    AccountId, Credentials, Effect, ErrorKind, HttpRequest, HttpResponse, HttpTransport, ProviderError, SecretRef,
    TransportError,
};

/// The app as registered in the platform's developer portal.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// Public id of the app (`client_id`, or what the platform calls it).
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretRef,
}

/// The account that a call works for.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// Our id.
    pub id: AccountId,
    /// The platform's id.
    pub remote_id: String,
    /// Scopes that were granted.
    pub scopes: Vec<String>,
    /// Handles of its credentials.
    pub credentials: Credentials,
}

/// The context of one call into a provider.
pub struct Ctx<'a> {
    http: &'a dyn HttpTransport,
    /// The time of this call. It does not move while the call runs.
    pub now: DateTime<Utc>,
    /// The app.
    pub app: &'a AppCredentials,
    account: Option<&'a AccountView>,
}

impl<'a> Ctx<'a> {
    /// A context. Made by the host and by test kits.
    pub fn new(
        http: &'a dyn HttpTransport,
        now: DateTime<Utc>,
        app: &'a AppCredentials,
        account: Option<&'a AccountView>,
    ) -> Self {
        Self {
            http,
            now,
            app,
            account,
        }
    }

    /// The account that this call works for.
    ///
    /// # Errors
    /// `Permanent`, when the host calls without one: a bug, not a state.
    pub fn account(&self) -> Result<&'a AccountView, ProviderError> {
        self.account
            .ok_or_else(|| ProviderError::new(ErrorKind::Permanent, "no_account", "this call needs an account"))
    }

    /// The transport behind [`Ctx::send`], for an adapter that hands a whole call on, and its answers as they are.
    #[must_use]
    pub fn transport(&self) -> &'a dyn HttpTransport {
        self.http
    }

    /// Sends a request. The only way out of a provider, and the only place where a transport fault becomes an error:
    /// nothing sent, or an answer lost to a repeatable call, is `Retryable`; an answer lost to a `Commit` is
    /// `OutcomeUnknown`; a forbidden call is `Permanent`.
    ///
    /// # Errors
    /// As above. An answer of any status is `Ok`.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let op = request.op.clone();
        self.http.send(request).await.map_err(|error| {
            let message = format!("{op}: {error}");
            match error {
                TransportError::NotSent(_) => ProviderError::new(ErrorKind::Retryable, "not_sent", message),
                TransportError::Lost {
                    effect: Effect::Commit, ..
                }
                | TransportError::EarlierUnknown => {
                    ProviderError::new(ErrorKind::OutcomeUnknown, "answer_lost", message)
                }
                TransportError::Lost { .. } => ProviderError::new(ErrorKind::Retryable, "answer_lost", message),
                TransportError::Blocked(_) => ProviderError::new(ErrorKind::Permanent, "blocked", message),
                TransportError::MissingScope(_) => {
                    ProviderError::new(ErrorKind::ReauthRequired, "missing_scope", message).advise(
                        "The account did not grant a permission that this needs. Connect it again and agree to it.",
                    )
                }
                TransportError::NoSlot { wait, .. } => {
                    ProviderError::new(ErrorKind::RateLimited, "rate_slot", message).after(wait)
                }
            }
        })
    }
}

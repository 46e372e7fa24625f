//! What every v2 call goes through first: token, scope, rate window; and how a body is read.

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::account::Account;
use crate::answer::ApiError;
use crate::world::World;

/// An admitted caller.
pub(crate) struct Caller {
    pub account: Account,
    scopes: Vec<String>,
}

impl Caller {
    pub(crate) fn may(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }

    pub(crate) fn must(&self, scope: &str) -> Result<(), ApiError> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(ApiError::new("scope_not_authorized"))
        }
    }
}

impl World {
    /// Token, then scope (any of these), then the rate window of this operation.
    pub(crate) fn admit(&self, headers: &HeaderMap, op: &'static str, any_of: &[&str]) -> Result<Caller, ApiError> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(ApiError::new("access_token_invalid"))?;
        let now = self.clock.now();
        let mut state = self.state();
        let bearer = state
            .grants
            .bearer(token, now)
            .ok_or(ApiError::new("access_token_invalid"))?;
        let account = state
            .account(&bearer.open_id)
            .cloned()
            .ok_or(ApiError::new("access_token_invalid"))?;
        let caller = Caller {
            account,
            scopes: bearer.scopes,
        };
        if !any_of.iter().any(|scope| caller.may(scope)) {
            return Err(ApiError::new("scope_not_authorized"));
        }
        state.rates.admit(op, token, now)?;
        Ok(caller)
    }
}

/// Reads a JSON body; `application/json` with or without a charset.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if kind != Some("application/json") {
        return Err(ApiError::params("Content-Type must be application/json"));
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| ApiError::params("The body is not JSON"))?;
    // The library's text names the field and repeats no value of ours.
    serde_json::from_value(value).map_err(|error| ApiError::params(error.to_string()))
}

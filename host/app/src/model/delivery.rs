//! Events on their way to the endpoints that tenants have registered.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use patchbay_core::{DeliveryId, EndpointId, EventId, TenantId};
use url::Url;

use super::Event;

/// Where a tenant wants its events to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Id.
    pub id: EndpointId,
    /// Whose.
    pub tenant: TenantId,
    /// Address.
    pub url: Url,
    /// Label.
    pub description: Option<String>,
    /// Which events.
    pub events: EventNames,
    /// Signs what is sent.
    pub secret: SealedSecret,
    /// The secret before, and until when it signs too.
    pub old_secret: Option<(SealedSecret, DateTime<Utc>)>,
    /// Whether anything is sent there.
    pub status: EndpointStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Last change by the tenant.
    pub updated_at: DateTime<Utc>,
}

/// A secret that signs, sealed for its endpoint and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Raised with each new secret; the first is 1.
    pub version: i64,
}

/// Whether anything is sent to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointStatus {
    /// It is.
    Enabled {
        /// Since when nothing but failures came back.
        failing_since: Option<DateTime<Utc>>,
    },
    /// Its events are held.
    Disabled {
        /// Why: one of [`EndpointStatus::BY_TENANT`], [`EndpointStatus::GONE`], [`EndpointStatus::FAILING`].
        code: String,
        /// Since when.
        at: DateTime<Utc>,
    },
}

impl EndpointStatus {
    /// The tenant has disabled it.
    pub const BY_TENANT: &'static str = "by_tenant";
    /// It has answered 410.
    pub const GONE: &'static str = "gone";
    /// It has failed for long.
    pub const FAILING: &'static str = "failing";

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Enabled { .. } => "enabled",
            Self::Disabled { .. } => "disabled",
        }
    }

    /// Whether anything is sent.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        matches!(self, Self::Enabled { .. })
    }
}

/// Which events an endpoint gets: names (`post.published`), beginnings of names (`post.*`), or all (`*`). Without any,
/// it gets all that Patchbay itself has made, and none of the platforms' own. One of [`EventNames::QUIET`] is had by its whole
/// name, or with all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventNames(pub Vec<String>);

impl EventNames {
    /// Events that come often and are news to few.
    pub const QUIET: [&'static str; 1] = ["post.metrics_updated"];

    /// Whether it gets an event of this name. `is_own`: Patchbay made it.
    #[must_use]
    pub fn take(&self, name: &str, is_own: bool) -> bool {
        if is_own && Self::QUIET.contains(&name) {
            return self.0.iter().any(|wanted| wanted == name || wanted == "*");
        }
        if self.0.is_empty() {
            return is_own;
        }
        self.0.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == wanted,
        })
    }
}

/// An endpoint to be stored, enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Id.
    pub id: EndpointId,
    /// Whose.
    pub tenant: TenantId,
    /// Address.
    pub url: Url,
    /// Label.
    pub description: Option<String>,
    /// Which events.
    pub events: EventNames,
    /// Signs what is sent.
    pub secret: SealedSecret,
}

/// What a tenant changes about an endpoint. `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Address. It has a clean slate: what failed before was another.
    pub url: Option<Url>,
    /// Label, or to have none.
    pub description: Option<Option<String>>,
    /// Which events.
    pub events: Option<EventNames>,
    /// Whether anything is sent there.
    pub enabled: Option<bool>,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Is sent, again and again, until it succeeds.
    Pending,
    /// The endpoint has taken it.
    Delivered,
    /// Given up.
    Failed,
    /// Its endpoint is disabled.
    Held,
}

impl DeliveryStatus {
    /// All.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Held];

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

impl FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("no delivery status {text}"))
    }
}

/// An event for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Id.
    pub id: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// Where to.
    pub endpoint: EndpointId,
    /// What.
    pub event: EventId,
    /// The event's name.
    pub event_name: String,
    /// State.
    pub status: DeliveryStatus,
    /// Attempts whose end is known, those before it was redelivered included.
    pub attempts: i32,
    /// The last one.
    pub last: Option<Attempt>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it left [`DeliveryStatus::Pending`].
    pub finished_at: Option<DateTime<Utc>>,
}

/// An attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How.
    pub result: AttemptResult,
}

/// How an attempt to deliver ended. Nothing is kept of an address that must not be dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptResult {
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Beginning of its body.
    pub body: Option<String>,
    /// Why it is no success; `None`: it is one.
    pub code: Option<String>,
}

/// A delivery with all that sending it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The delivery.
    pub delivery: Delivery,
    /// Where to.
    pub endpoint: Endpoint,
    /// What.
    pub event: Event,
}

/// What became of a claimed delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEnd {
    /// How the attempt went; `None`: there was none.
    pub attempt: Option<AttemptResult>,
    /// What comes next.
    pub next: NextDelivery,
    /// Disable the endpoint, with this code.
    pub disable: Option<&'static str>,
    /// The endpoint's last change, as the attempt has seen it: what is said of it is true of no other.
    pub seen: DateTime<Utc>,
}

/// See [`DeliveryEnd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextDelivery {
    /// Nothing: it was delivered.
    Delivered,
    /// Another attempt.
    Again(DateTime<Utc>),
    /// Nothing: it is given up.
    Failed,
    /// Nothing until somebody says so: the endpoint is disabled.
    Held,
}

impl NextDelivery {
    /// Where the delivery is then.
    #[must_use]
    pub fn status(self) -> DeliveryStatus {
        match self {
            Self::Delivered => DeliveryStatus::Delivered,
            Self::Again(_) => DeliveryStatus::Pending,
            Self::Failed => DeliveryStatus::Failed,
            Self::Held => DeliveryStatus::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gets_what_it_names() {
        let names = |names: &[&str]| EventNames(names.iter().map(|name| (*name).to_owned()).collect());
        assert!(names(&[]).take("post.published", true) && !names(&[]).take("post.published", false));
        let some = names(&["post.*", "account.connected"]);
        for (name, wanted) in [
            ("post.published", true),
            ("posted", false),
            ("account.connected", true),
            ("account.connected.twice", false),
            ("account.disconnected", false),
        ] {
            assert_eq!(some.take(name, true), wanted, "{name}");
        }
        assert!(names(&["*"]).take("anything", false));
        for quiet in EventNames::QUIET {
            assert!(names(&[quiet]).take(quiet, true) && names(&["*"]).take(quiet, true));
            assert!(!names(&[]).take(quiet, true) && !names(&["post.*"]).take(quiet, true));
        }
    }
}

//! Typed ids. Each is a UUIDv7 with a prefixed text form (`acc_0198…`, 32 hexadecimal digits), so that an id in a log
//! says what it names and an id of the wrong kind does not parse. Ids are made by the host; providers only carry them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Prefix of the text form, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that the host made or read from its store.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare UUID, as stored.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { prefix: $prefix };
                let hex = text.strip_prefix(concat!($prefix, "_")).ok_or(error.clone())?;
                // Only the lower-case simple form: one id has one spelling.
                if hex.len() != 32 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(error);
                }
                Uuid::try_parse(hex).map(Self).map_err(|_| error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant: one product team, whose rows nobody else sees.
    TenantId = "ten";
    /// A connected account of one platform.
    AccountId = "acc";
    /// A post, from intent to outcome.
    PostId = "post";
    /// Posts that were asked for together, one for each target.
    GroupId = "grp";
    /// An event that happened to an account or a post.
    EventId = "evt";
    /// A webhook as received, before it was understood.
    InboxId = "inb";
    /// A unit of background work.
    JobId = "job";
    /// A media file, uploaded or named by URL.
    MediaId = "med";
    /// One connect attempt, from the redirect to the callback.
    FlowId = "flow";
    /// A link with which one end user connects an account, and what came of it.
    SessionId = "ses";
    /// An API key.
    ApiKeyId = "key";
    /// A place in a rate-limit window.
    SlotId = "slot";
    /// Where a tenant wants its events to be sent.
    EndpointId = "ep";
    /// An event on its way to an endpoint.
    DeliveryId = "dlv";
    /// A row of the audit log.
    AuditId = "aud";
    /// An erasure, and the receipt of it.
    ErasureId = "era";
}

impl TenantId {
    /// The tenant that exists from the first migration on.
    pub const DEFAULT: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001));
}

/// Name of a provider in URLs, configuration and the store. One to 32 of `a-z`, `0-9` and `-`, starting
/// with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ProviderId(String);

impl ProviderId {
    /// Checks the form.
    ///
    /// # Errors
    /// The text is not a provider id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let well_formed = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { prefix: "provider" })
        }
    }

    /// Patchbay itself, where no platform has a part.
    #[must_use]
    pub fn patchbay() -> Self {
        Self("patchbay".to_owned())
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProviderId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for ProviderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text_form_and_only_its_own_kind_parses() {
        let id = PostId::from_uuid(Uuid::from_u128(0xab));
        let text = id.to_string();
        assert_eq!(text, "post_000000000000000000000000000000ab");
        assert_eq!(text.parse::<PostId>(), Ok(id));
        for wrong in [
            "post_000000000000000000000000000000AB",
            "acc_000000000000000000000000000000ab",
            "post_ab",
            "",
        ] {
            assert!(wrong.parse::<PostId>().is_err(), "{wrong} parsed");
        }
    }

    #[test]
    fn provider_ids_are_plain_names() {
        assert!(ProviderId::parse("my-place2").is_ok());
        for wrong in ["", "MyPlace", "9gag", "a/b", "a b", &"x".repeat(33)] {
            assert!(ProviderId::parse(wrong).is_err(), "{wrong} parsed");
        }
    }
}

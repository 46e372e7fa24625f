//! How values cross between a host and a component: every type of `provider.wit` with its counterpart in
//! `patchbay-core`, field by field. Host and guest SDK compile this one file, each with its own bindings as `wit`, so
//! that they cannot disagree; a field that one side lacks does not compile.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use patchbay_core as core;

use super::wit;

/// A value that has another form on the other side.
pub(crate) trait Cross<T> {
    /// Its form there.
    ///
    /// # Errors
    /// It has none: a text that is no URL, no JSON, no id.
    fn cross(self) -> Result<T, Malformed>;
}

/// A value that does not mean what its type asks for. Its text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub(crate) struct Malformed(pub &'static str);

// -- leaves

macro_rules! same {
    ($($type:ty),*) => {$(
        impl Cross<$type> for $type {
            fn cross(self) -> Result<$type, Malformed> {
                Ok(self)
            }
        }
    )*};
}

same!((), String, bool, u16, u32, u64, i64, f64);

impl<T: Cross<U>, U> Cross<Option<U>> for Option<T> {
    fn cross(self) -> Result<Option<U>, Malformed> {
        self.map(Cross::cross).transpose()
    }
}

impl<T: Cross<U>, U> Cross<Vec<U>> for Vec<T> {
    fn cross(self) -> Result<Vec<U>, Malformed> {
        self.into_iter().map(Cross::cross).collect()
    }
}

impl<A: Cross<C>, B: Cross<D>, C, D> Cross<(C, D)> for (A, B) {
    fn cross(self) -> Result<(C, D), Malformed> {
        Ok((self.0.cross()?, self.1.cross()?))
    }
}

impl<K: Cross<L>, V: Cross<W>, L, W> Cross<Vec<(L, W)>> for BTreeMap<K, V> {
    fn cross(self) -> Result<Vec<(L, W)>, Malformed> {
        self.into_iter().map(Cross::cross).collect()
    }
}

impl<K: Cross<L>, V: Cross<W>, L: Ord, W> Cross<BTreeMap<L, W>> for Vec<(K, V)> {
    fn cross(self) -> Result<BTreeMap<L, W>, Malformed> {
        self.into_iter().map(Cross::cross).collect()
    }
}

macro_rules! texts {
    ($($type:ty: $out:expr, $back:expr;)*) => {$(
        impl Cross<String> for $type {
            fn cross(self) -> Result<String, Malformed> {
                let out: fn($type) -> String = $out;
                Ok(out(self))
            }
        }

        impl Cross<$type> for String {
            fn cross(self) -> Result<$type, Malformed> {
                let back: fn(String) -> Result<$type, Malformed> = $back;
                back(self)
            }
        }
    )*};
}

texts! {
    &'static str: |text| text.to_owned(), |text| Ok(keep(text));
    Cow<'static, str>: Cow::into_owned, |text| Ok(Cow::Owned(text));
    Box<str>: String::from, |text| Ok(text.into_boxed_str());
    url::Url: |url| url.to_string(), |text| text.parse().map_err(|_| Malformed("a URL"));
    serde_json::Value: |json| json.to_string(), |text| serde_json::from_str(&text).map_err(|_| Malformed("JSON"));
    serde_json::Map<String, serde_json::Value>: |map| serde_json::Value::Object(map).to_string(),
        |text| serde_json::from_str(&text).map_err(|_| Malformed("a JSON object"));
    core::SecretRef: |secret| secret.as_str().to_owned(),
        |text| core::SecretRef::parse(&text).ok_or(Malformed("the handle of a secret"));
    core::ProviderId: |id| id.to_string(), |text| text.parse().map_err(|_| Malformed("a provider's id"));
    core::AccountId: |id| id.to_string(), |text| text.parse().map_err(|_| Malformed("an account's id"));
    core::PostId: |id| id.to_string(), |text| text.parse().map_err(|_| Malformed("a post's id"));
    core::MediaId: |id| id.to_string(), |text| text.parse().map_err(|_| Malformed("a media file's id"));
}

macro_rules! numbers {
    ($($type:ty = $number:ty: $out:expr, $back:expr;)*) => {$(
        impl Cross<$number> for $type {
            fn cross(self) -> Result<$number, Malformed> {
                let out: fn($type) -> Result<$number, Malformed> = $out;
                out(self)
            }
        }

        impl Cross<$type> for $number {
            fn cross(self) -> Result<$type, Malformed> {
                let back: fn($number) -> Result<$type, Malformed> = $back;
                back(self)
            }
        }
    )*};
}

numbers! {
    usize = u64: |n| u64::try_from(n).map_err(|_| Malformed("a size")),
        |n| usize::try_from(n).map_err(|_| Malformed("a size"));
    // As milliseconds; what does not fit is as good as for ever.
    Duration = u64: |time| Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        |millis| Ok(Duration::from_millis(millis));
    chrono::DateTime<chrono::Utc> = i64: |time| Ok(time.timestamp_micros()),
        |micros| chrono::DateTime::from_timestamp_micros(micros).ok_or(Malformed("a time"));
}

/// The text for as long as the process lives, kept once however often it comes. Manifests hold such texts: a component
/// that is loaded again adds only what is new in it.
fn keep(text: String) -> &'static str {
    static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.get(text.as_str()) {
        Some(text) => text,
        None => {
            let text: &'static str = text.leak();
            kept.insert(text);
            text
        }
    }
}

// -- records, and enums without values

macro_rules! records {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl Cross<wit::$name> for core::$name {
            fn cross(self) -> Result<wit::$name, Malformed> {
                Ok(wit::$name { $($field: self.$field.cross()?),* })
            }
        }

        impl Cross<core::$name> for wit::$name {
            fn cross(self) -> Result<core::$name, Malformed> {
                Ok(core::$name { $($field: self.$field.cross()?),* })
            }
        }
    )*};
}

records! {
    FieldIssue { pointer, code, message }
    AppCredentials { client_id, client_secret }
    CredentialLifetimes { access, refresh, refresh_not_before }
    Credentials { secrets, server, lifetimes }
    AccountView { id, remote_id, scopes, credentials }
    ByteRange { start, end }
    MediaUrl { pointer, media }
    BodySecret { pointer, secret }
    HttpRequest { op, target, query, headers, auth, body, media_urls, body_secrets }
    MediaInfo { kind, mime, size_bytes, duration_ms, width, height, frame_rate, codec }
    PostMedia { id, origin, info }
    Post { id, kind, mode, title, text, media, options }
    ByteProgress { done, total }
    Checkpoint { phase, state, remote_ref, progress }
    Publication { remote_ids, url }
    FollowUp { checkpoint, wake_after }
    Creator { username, nickname, avatar_url }
    FieldState { name, allowed, forced }
    PublishOptions { can_post, creator, fields, max_video_seconds }
    PostMetrics { remote_id, url, counts, created_at }
    AuthorizeRequest { redirect_uri, state, scopes, pkce, force_consent }
    FormField { name, title, secret, required }
    Callback { params, code, pkce_verifier, redirect_uri, pending }
    Identity { remote_id, display_name, username, avatar_url, profile_url }
    Grant { credentials, identities, scopes }
    SignatureScheme { name, header, format, signed, encoding, tolerance }
    WebhookAuth { schemes }
    IncomingEvent { name, kind, remote_account, remote_ref, dedupe_key, occurred_at, payload }
    SecretField { pointer, name }
    Op { name, method, hosts, account_server, effect, buckets, scopes, secrets, timeout, max_answer_bytes }
    Bucket { name, limit, window, scope }
    Quota { name, mode, limit, window, frees_when_done }
    Scope { name, purpose, default }
    Need { capability, scopes }
    TextRule { max, count }
    MediaRule {
        kind, min_count, max_count, mimes, max_bytes, transfers, codecs, side_pixels, frame_rate, max_duration,
    }
    KindRule { kind, modes, title, text, media, metrics }
    OptionField { name, title, description, kind, posts, modes, required, opposite, labels }
    Is { option, value }
    Notice { when, text }
    OptionGroup { title, description, options, switch, notices }
    Exclusion { one, other, code, message }
    Declaration { modes, when, text, links }
    Translation { language, texts }
    PostForm { one_text, groups, exclusions, declarations, afterwards, translations }
    Manifest {
        id, display_name, version, docs_url, scopes, needs, ops, buckets, quotas, kinds, options, form, browser_hosts,
    }
}

macro_rules! enums {
    ($($name:ident { $($case:ident),* } $(else $other:expr)?;)*) => {$(
        impl Cross<wit::$name> for core::$name {
            fn cross(self) -> Result<wit::$name, Malformed> {
                match self {
                    $(Self::$case => Ok(wit::$name::$case),)*
                    // Newer than this version of the package.
                    $(_ => $other,)?
                }
            }
        }

        impl Cross<core::$name> for wit::$name {
            fn cross(self) -> Result<core::$name, Malformed> {
                match self {
                    $(Self::$case => Ok(core::$name::$case),)*
                }
            }
        }
    )*};
}

enums! {
    ErrorKind { Retryable, RateLimited, ReauthRequired, InvalidRequest, Permanent, OutcomeUnknown }
        else Ok(wit::ErrorKind::Permanent);
    WhoActs { Nobody, AccountOwner, Caller, Operator };
    Effect { Observe, Prepare, Commit };
    Metric { Views, Likes, Comments, Shares, Reposts, Quotes } else Err(Malformed("a metric that components know"));
    NoMetric { NotGiven, NotYet, MissingScope, ReconnectRequired, NotAvailable, Refused }
        else Ok(wit::NoMetric::Refused);
    MediaKind { Video, Image };
    PostKind { Text, Video, Images } else Err(Malformed("a kind of post that components know"));
    PostMode { Direct, Draft };
    Cancelled { Stopped, TooLate, Requested };
    MacEncoding { Hex, Base64 };
    BucketScope { Account, App };
    TextCount { Utf16, CodePoint, Grapheme };
    Capability { PublishDirect, PublishDraft, Metrics };
    AppCheck { Accepted, NotOffered };
    Transfer { Upload, PullUrl, PullHosted };
}

// -- enums with values. Cases with one value are listed; those with named fields have a record of their own.

macro_rules! variants {
    ($($name:ident { $($unit:ident),*; $($one:ident),*; $($case:ident: $record:ident { $($field:ident),* }),* }
        $(else $other:expr)?;)*) => {$(
        impl Cross<wit::$name> for core::$name {
            fn cross(self) -> Result<wit::$name, Malformed> {
                Ok(match self {
                    $(Self::$unit => wit::$name::$unit,)*
                    $(Self::$one(value) => wit::$name::$one(value.cross()?),)*
                    $(Self::$case { $($field),* } => {
                        wit::$name::$case(wit::$record { $($field: $field.cross()?),* })
                    })*
                    // Newer than this version of the package.
                    $(_ => $other,)?
                })
            }
        }

        impl Cross<core::$name> for wit::$name {
            fn cross(self) -> Result<core::$name, Malformed> {
                Ok(match self {
                    $(Self::$unit => core::$name::$unit,)*
                    $(Self::$one(value) => core::$name::$one(value.cross()?),)*
                    $(Self::$case(wit::$record { $($field),* }) => {
                        core::$name::$case { $($field: $field.cross()?),* }
                    })*
                })
            }
        }
    )*};
}

variants! {
    Value { ; Text, Secret; };
    Target { ; Url, Secret; };
    Auth { None, AccountBearer; Bearer, AccountQuery; };
    TransportError {
        EarlierUnknown; NotSent, Blocked, MissingScope; Lost: Lost { effect, reason }, NoSlot: NoSlot { bucket, wait }
    } else wit::TransportError::Blocked("a fault that this version of the package does not know".to_owned());
    Count { ; Of, Missing; };
    MediaOrigin { Stored, Hosted; Url; };
    Progress {
        ; ;
        Continue: FollowUp { checkpoint, wake_after },
        Delivered: Delivered { checkpoint, wake_after },
        Published: Published { publication, follow_up }
    };
    CanPost { Yes; ; No: Refusal { code, advice } };
    Authorize { ; ; Redirect: Redirect { url, pending }, Form: Form { fields, pending } };
    SignedPart { Timestamp, Body; Literal; };
}

// -- those that differ

/// Bytes are moved, never copied one by one.
macro_rules! with_bytes {
    ($($name:ident { $($field:ident),*; $bytes:ident });*) => {$(
        impl Cross<wit::$name> for core::$name {
            fn cross(self) -> Result<wit::$name, Malformed> {
                Ok(wit::$name { $bytes: self.$bytes.into(), $($field: self.$field.cross()?),* })
            }
        }

        impl Cross<core::$name> for wit::$name {
            fn cross(self) -> Result<core::$name, Malformed> {
                Ok(core::$name { $bytes: self.$bytes.into(), $($field: self.$field.cross()?),* })
            }
        }
    )*};
}

with_bytes! {
    HttpResponse { status, headers, received_at; body };
    WebhookRequest { scheme, received_at, client_id; body }
}

impl Cross<wit::Body> for core::Body {
    fn cross(self) -> Result<wit::Body, Malformed> {
        Ok(match self {
            Self::Empty => wit::Body::Empty,
            Self::Json(json) => wit::Body::Json(json.cross()?),
            Self::Form(fields) => wit::Body::Form(fields.cross()?),
            Self::Bytes { content_type, bytes } => wit::Body::Bytes(wit::BytesBody {
                content_type: content_type.cross()?,
                bytes: bytes.into(),
            }),
            Self::Media {
                media,
                range,
                content_type,
            } => wit::Body::Media(wit::MediaBody {
                media: media.cross()?,
                range: range.cross()?,
                content_type: content_type.cross()?,
            }),
        })
    }
}

impl Cross<core::Body> for wit::Body {
    fn cross(self) -> Result<core::Body, Malformed> {
        Ok(match self {
            Self::Empty => core::Body::Empty,
            Self::Json(json) => core::Body::Json(json.cross()?),
            Self::Form(fields) => core::Body::Form(fields.cross()?),
            Self::Bytes(body) => core::Body::Bytes {
                content_type: body.content_type.cross()?,
                bytes: body.bytes.into(),
            },
            Self::Media(body) => core::Body::Media {
                media: body.media.cross()?,
                range: body.range.cross()?,
                content_type: body.content_type.cross()?,
            },
        })
    }
}

impl Cross<wit::Reconciled> for core::Reconciled {
    fn cross(self) -> Result<wit::Reconciled, Malformed> {
        Ok(match self {
            Self::Happened { progress } => wit::Reconciled::Happened(progress.cross()?),
            Self::DidNotHappen { checkpoint } => wit::Reconciled::DidNotHappen(checkpoint.cross()?),
            Self::Unknown => wit::Reconciled::Unknown,
        })
    }
}

impl Cross<core::Reconciled> for wit::Reconciled {
    fn cross(self) -> Result<core::Reconciled, Malformed> {
        Ok(match self {
            Self::Happened(progress) => core::Reconciled::Happened {
                progress: progress.cross()?,
            },
            Self::DidNotHappen(checkpoint) => core::Reconciled::DidNotHappen {
                checkpoint: checkpoint.cross()?,
            },
            Self::Unknown => core::Reconciled::Unknown,
        })
    }
}

impl Cross<wit::PkceChallenge> for core::PkceChallenge {
    fn cross(self) -> Result<wit::PkceChallenge, Malformed> {
        Ok(wit::PkceChallenge {
            digest: self.digest.to_vec(),
        })
    }
}

impl Cross<core::PkceChallenge> for wit::PkceChallenge {
    fn cross(self) -> Result<core::PkceChallenge, Malformed> {
        let digest = self.digest.try_into().map_err(|_| Malformed("a digest of 32 bytes"))?;
        Ok(core::PkceChallenge { digest })
    }
}

impl Cross<wit::SignatureFormat> for core::SignatureFormat {
    fn cross(self) -> Result<wit::SignatureFormat, Malformed> {
        Ok(match self {
            Self::TimestampAndMac { timestamp, mac } => wit::SignatureFormat::TimestampAndMac(wit::TimestampAndMac {
                timestamp: timestamp.cross()?,
                mac: mac.cross()?,
            }),
            Self::Bare { prefix } => wit::SignatureFormat::Bare(prefix.cross()?),
        })
    }
}

impl Cross<core::SignatureFormat> for wit::SignatureFormat {
    fn cross(self) -> Result<core::SignatureFormat, Malformed> {
        Ok(match self {
            Self::TimestampAndMac(keys) => core::SignatureFormat::TimestampAndMac {
                timestamp: keys.timestamp.cross()?,
                mac: keys.mac.cross()?,
            },
            Self::Bare(prefix) => core::SignatureFormat::Bare {
                prefix: prefix.cross()?,
            },
        })
    }
}

impl Cross<wit::OptionKind> for core::OptionKind {
    fn cross(self) -> Result<wit::OptionKind, Malformed> {
        Ok(match self {
            Self::Bool => wit::OptionKind::Boolean,
            Self::Choice { values } => wit::OptionKind::Choice(values.cross()?),
            Self::Integer { min, max } => wit::OptionKind::Integer((min, max)),
            Self::Text { max } => wit::OptionKind::Text(max.cross()?),
        })
    }
}

impl Cross<core::OptionKind> for wit::OptionKind {
    fn cross(self) -> Result<core::OptionKind, Malformed> {
        Ok(match self {
            Self::Boolean => core::OptionKind::Bool,
            Self::Choice(values) => core::OptionKind::Choice {
                values: values.cross()?,
            },
            Self::Integer((min, max)) => core::OptionKind::Integer { min, max },
            Self::Text(max) => core::OptionKind::Text { max: max.cross()? },
        })
    }
}

impl Cross<wit::EventKind> for core::EventKind {
    fn cross(self) -> Result<wit::EventKind, Malformed> {
        Ok(match self {
            Self::PostProgress => wit::EventKind::PostProgress,
            Self::PostVisible { remote_ids } => wit::EventKind::PostVisible(remote_ids),
            Self::PostHidden { remote_ids } => wit::EventKind::PostHidden(remote_ids),
            Self::AuthorizationRemoved { reason } => wit::EventKind::AuthorizationRemoved(reason),
            // Also what is newer than this version of the package.
            _ => wit::EventKind::Other,
        })
    }
}

impl Cross<core::EventKind> for wit::EventKind {
    fn cross(self) -> Result<core::EventKind, Malformed> {
        Ok(match self {
            Self::PostProgress => core::EventKind::PostProgress,
            Self::PostVisible(remote_ids) => core::EventKind::PostVisible { remote_ids },
            Self::PostHidden(remote_ids) => core::EventKind::PostHidden { remote_ids },
            Self::AuthorizationRemoved(reason) => core::EventKind::AuthorizationRemoved { reason },
            Self::Other => core::EventKind::Other,
        })
    }
}

impl Cross<wit::ProviderError> for core::ProviderError {
    fn cross(self) -> Result<wit::ProviderError, Malformed> {
        Ok(wit::ProviderError {
            kind: self.kind.cross()?,
            code: self.code.cross()?,
            message: self.message.cross()?,
            advice: self.advice.cross()?,
            who: self.who.cross()?,
            retry_after: self.retry_after.cross()?,
            quota: self.quota.cross()?,
        })
    }
}

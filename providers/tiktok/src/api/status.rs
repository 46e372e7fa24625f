//! Post status and cancel.

use patchbay_core::{Body, HttpRequest, HttpResponse, ProviderError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{api_url, exact_id, read};
use crate::manifest::op;

pub(crate) fn request(publish_id: &str) -> HttpRequest {
    HttpRequest::new(op::POST_STATUS, api_url("/v2/post/publish/status/fetch/"))
        .as_account()
        .with_body(Body::Json(json!({ "publish_id": publish_id })))
}

/// How an attempt stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub stage: Stage,
    /// Bytes that TikTok holds of an upload, or has fetched. Absent counters are empty ones.
    pub uploaded_bytes: Option<u64>,
    pub downloaded_bytes: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `PROCESSING_UPLOAD`, `PROCESSING_DOWNLOAD`, and any word that is not known: the end will be a known one.
    Processing,
    /// `SEND_TO_USER_INBOX`.
    InInbox,
    /// `PUBLISH_COMPLETE`, with the ids that TikTok tells: only of public posts, and often minutes later.
    Complete { ids: Vec<String> },
    /// `FAILED`.
    Failed { reason: Option<String> },
}

pub(crate) fn parse(response: &HttpResponse) -> Result<Status, ProviderError> {
    let data: Data = read(op::POST_STATUS, response)?;
    let stage = match data.status.as_str() {
        "SEND_TO_USER_INBOX" => Stage::InInbox,
        "PUBLISH_COMPLETE" => Stage::Complete {
            // An id that is not exact is left out: no id is better than a wrong one, and the post is there either way.
            ids: data.post_ids.unwrap_or_default().iter().filter_map(exact_id).collect(),
        },
        "FAILED" => Stage::Failed {
            reason: data.fail_reason.filter(|reason| !reason.is_empty()),
        },
        _ => Stage::Processing,
    };
    Ok(Status {
        stage,
        uploaded_bytes: data.uploaded_bytes,
        downloaded_bytes: data.downloaded_bytes,
    })
}

pub(crate) fn cancel(publish_id: &str) -> HttpRequest {
    HttpRequest::new(op::POST_CANCEL, api_url("/v2/post/publish/cancel/"))
        .as_account()
        .with_body(Body::Json(json!({ "publish_id": publish_id })))
}

pub(crate) fn parse_cancel(response: &HttpResponse) -> Result<(), ProviderError> {
    read::<serde::de::IgnoredAny>(op::POST_CANCEL, response).map(|_| ())
}

#[derive(Deserialize)]
struct Data {
    status: String,
    fail_reason: Option<String>,
    // TikTok's own spelling.
    #[serde(rename = "publicaly_available_post_id", alias = "publicly_available_post_id")]
    post_ids: Option<Vec<Value>>,
    uploaded_bytes: Option<u64>,
    downloaded_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::answer;

    fn read(data: &str) -> Status {
        parse(&answer(200, &format!(r#"{{"data":{data},"error":{{"code":"ok"}}}}"#))).unwrap()
    }

    #[test]
    fn absent_fields_are_empty_ones() {
        let status = read(r#"{"status":"PUBLISH_COMPLETE"}"#);
        assert_eq!(status.stage, Stage::Complete { ids: Vec::new() });
        let status = read(r#"{"downloaded_bytes":5,"status":"PROCESSING_DOWNLOAD"}"#);
        assert_eq!((status.stage, status.downloaded_bytes), (Stage::Processing, Some(5)));
        assert_eq!(read(r#"{"status":"FAILED"}"#).stage, Stage::Failed { reason: None });
        assert_eq!(read(r#"{"status":"SOMETHING_NEW"}"#).stage, Stage::Processing);
    }

    #[test]
    fn post_ids_keep_every_digit() {
        let ids = |list: &str| match read(&format!(
            r#"{{"status":"PUBLISH_COMPLETE","publicaly_available_post_id":{list}}}"#
        ))
        .stage
        {
            Stage::Complete { ids } => ids,
            other => panic!("{other:?}"),
        };
        assert_eq!(ids("[7678907398077074696]"), ["7678907398077074696"]);
        assert_eq!(
            ids(r#"["7678907398077074697", 7678907398077074698]"#),
            ["7678907398077074697", "7678907398077074698"]
        );
        assert!(ids("[]").is_empty() && ids("null").is_empty());
        assert!(ids("[76789073980770746961234]").is_empty());
    }
}

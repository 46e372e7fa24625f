//! Events in the form in which AWS documents them.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// An HTTP request on its way to the function.
pub struct Http {
    method: &'static str,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<Vec<u8>>,
    source_ip: &'static str,
}

impl Http {
    pub fn new(method: &'static str, path: &str) -> Self {
        let this = Self {
            method,
            path: path.to_owned(),
            headers: BTreeMap::new(),
            body: None,
            source_ip: "203.0.113.7",
        };
        this.with("host", "patchbay.example.com")
            .with("user-agent", "a test")
            .with("x-forwarded-for", "127.0.0.1, 203.0.113.7")
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.with("authorization", format!("Bearer {key}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.with("content-type", "application/json")
    }

    pub fn from(mut self, source_ip: &'static str) -> Self {
        self.source_ip = source_ip;
        self
    }

    /// As an HTTP API or a function URL hands it over (payload format 2.0). Text may come as it is or in Base64.
    pub fn api_gateway(&self, base64: bool) -> Value {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": self.headers,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "api-id",
                "domainName": "patchbay.example.com",
                "domainPrefix": "patchbay",
                "http": {
                    "method": self.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": self.source_ip,
                    "userAgent": "a test",
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "$default",
                "stage": "$default",
                "time": "12/Mar/2026:19:03:58 +0000",
                "timeEpoch": 1_773_342_238_000_u64,
            },
            "isBase64Encoded": base64,
        });
        if let Some(body) = &self.body {
            event["body"] = encoded(body, base64);
        }
        event
    }

    /// As an application load balancer hands it over.
    pub fn load_balancer(&self, base64: bool) -> Value {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let body = self.body.as_deref().unwrap_or_default();
        json!({
            "requestContext": {
                "elb": {
                    "targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/patchbay/6d0ecf831eec9f09",
                },
            },
            "httpMethod": self.method,
            "path": path,
            "queryStringParameters": query,
            "headers": self.headers,
            "body": encoded(body, base64),
            "isBase64Encoded": base64,
        })
    }
}

fn encoded(body: &[u8], base64: bool) -> Value {
    if base64 {
        STANDARD.encode(body).into()
    } else {
        std::str::from_utf8(body).unwrap().into()
    }
}

/// What a rule of EventBridge sends every minute.
pub fn scheduled() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-10-08T16:53:06Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:events:eu-central-1:123456789012:rule/every-minute"],
        "detail": {},
    })
}

/// A schedule's own input, for some of the work.
pub fn scheduled_for(only: &[&str]) -> Value {
    json!({ "detail-type": "Scheduled Event", "detail": { "only": only } })
}

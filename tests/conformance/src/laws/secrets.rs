//! Secrets stay where they belong.

use std::sync::Arc;

use serde_json::Value;

use super::{
    errors::{Outcome, PAGE, provoke},
    manifest::offences,
    trial::{self, small},
};
use crate::{
    Case,
    driver::Habits,
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Offence, Raw},
    world::World,
};

pub(super) const LAWS: &[Law] = &[
    law!("secrets::fields_declared", fields_declared,
        why: "a secret that its op row does not name reaches the provider, its checkpoints and its logs",
        change: "src/manifest.rs: Op::secret(pointer, name) for this field"),
    law!("secrets::not_in_requests", not_in_requests,
        why: "a secret that a provider writes into a request itself is one that it has read",
        change: "src/api.rs: place the SecretRef; src/manifest.rs: name every field that holds the secret"),
    law!("secrets::not_in_checkpoints", not_in_checkpoints,
        why: "checkpoints are shown to operators: they hold handles, which the host seals",
        change: "src/publish.rs: keep the SecretRef, not the value"),
    law!("secrets::not_in_errors", not_in_errors,
        why: "errors are logged and shown: what the platform answered must not be repeated in them",
        change: "src/error.rs: name the place and never the text"),
];

/// Names of fields that hold secrets on every platform.
const TELLING: [&str; 4] = ["token", "secret", "password", "credential"];

async fn fields_declared(case: &Case) -> Found {
    let world = World::start(case).await?;
    if (case.provider)().oauth().is_some() {
        // Where the connect fails for it, the field that fails it is still told.
        if let Ok(grant) = world.connect().await {
            world.adopt(&grant)?;
            world.refresh().await?.ok();
        }
    }
    let mut all = world.sent();
    for sample in small(case) {
        all.extend(
            trial::run(case, sample, Habits::default(), None)
                .await
                .map(|ran| ran.sent)
                .unwrap_or_default(),
        );
    }
    for sent in &all {
        let Some(answer) = &sent.answer else { continue };
        if let Ok(json) = serde_json::from_slice(answer)
            && let Some(pointer) = bare_secret(&json, "")
        {
            return Err(Breach(format!(
                "{}: the answer's field {pointer} comes to the provider as it is",
                sent.request.op
            )));
        }
        if let Some(handle) = world.secret_in(&String::from_utf8_lossy(answer)) {
            return Err(Breach(format!(
                "{}: the answer still holds the value of {handle:?}",
                sent.request.op
            )));
        }
    }
    Ok(Held::Tried(all.len()))
}

/// Pointer to a text that by its name is a secret, and is no handle.
fn bare_secret(json: &Value, at: &str) -> Option<String> {
    match json {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let pointer = format!("{at}/{name}");
            let telling = TELLING.iter().any(|word| name.to_ascii_lowercase().ends_with(word));
            match value {
                Value::String(text) if telling && text.len() >= 8 && !text.starts_with("secret:") => Some(pointer),
                other => bare_secret(other, &pointer),
            }
        }),
        Value::Array(list) => list.iter().find_map(|value| bare_secret(value, at)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

async fn not_in_requests(case: &Case) -> Found {
    offences(case, |offence| match offence {
        Offence::Secret(what) => Some(what.clone()),
        Offence::Row(_) | Offence::Range(_) | Offence::SecondCommit(_) | Offence::NotALook(_) => None,
    })
    .await
}

async fn not_in_checkpoints(case: &Case) -> Found {
    let mut tried = 0;
    for sample in small(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        for checkpoint in &ran.checkpoints {
            if let Some(handle) = ran.world.secret_in(checkpoint) {
                return Err(Breach(format!(
                    "{}: a checkpoint holds the value of {handle:?}",
                    sample.name
                )));
            }
            tried += 1;
        }
    }
    Ok(Held::Tried(tried))
}

async fn not_in_errors(case: &Case) -> Found {
    let page: fn() -> Raw = || Raw::new(502, PAGE);
    let ok_page: fn() -> Raw = || Raw::new(200, PAGE);
    let token: fn() -> Raw = || {
        Raw::new(
            200,
            r#"{"access_token":"conformance-canary-token","id":["conformance-canary-token"],"data":"conformance-canary-token"}"#,
        )
    };
    let mut tried = 0;
    for make in [page, ok_page, token] {
        let struck = provoke(case, &|_| Fault::Instead(Arc::new(move |_| make()))).await?;
        for struck in &struck {
            if let Outcome::Error(error) = &struck.outcome {
                let text = format!("{error} {error:?}");
                hold!(
                    !text.contains("conformance-canary"),
                    "{}: the error repeats the answer: {error}",
                    struck.sent.request.op
                );
                tried += 1;
            }
        }
    }
    Ok(Held::Tried(tried))
}

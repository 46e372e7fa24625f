//! Components that behave.

use std::sync::Arc;

use patchbay_core::{Progress, Provider, Settings, SettingsError, WebhookSource};
use patchbay_wasm::{Cache, Engine};

use super::{Platform, advance, component, engine, patient};

#[tokio::test]
async fn a_component_is_the_provider_that_it_was_compiled_from() {
    same("patchbay-component-tiktok", patchbay_provider_tiktok::build).await;
    // With a server for each account, a form to connect, and no webhooks.
    same("patchbay-component-bluesky", patchbay_provider_bluesky::build).await;
}

async fn same(name: &str, build: fn(&Settings) -> Result<Arc<dyn Provider>, SettingsError>) {
    let component = engine().load(component(name)).await.unwrap();
    let guest = component.build(&Settings::default()).await.unwrap();
    let native = build(&Settings::default()).unwrap();
    assert_eq!(guest.manifest(), native.manifest());
    assert_eq!(guest.oauth().is_some(), native.oauth().is_some());
    assert_eq!(guest.publisher().is_some(), native.publisher().is_some());
    let auth = |provider: &dyn Provider| provider.webhooks().map(WebhookSource::auth);
    assert_eq!(auth(&guest), auth(&*native));
    assert_eq!(component.wit_version(), "0.1.0");
}

#[tokio::test]
async fn the_template_works() {
    let component = engine().load(component("patchbay-example-provider")).await.unwrap();
    let guest = component.build(&Settings::default()).await.unwrap();
    let platform = Platform::default();
    let error = advance(&guest, &platform, "hello").await.unwrap_err();
    assert_eq!(
        error.code, "unexpected_answer",
        "the platform answered nothing of use: {error}"
    );
    let asked = platform.asked.lock().unwrap();
    let [request] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (&*request.op, &request.body),
        (
            "note.create",
            &patchbay_core::Body::Json(serde_json::json!({ "text": "hello" }))
        )
    );
}

#[tokio::test]
async fn a_thousand_calls_at_once_are_served() {
    let guest = super::hostile().await;
    let platform = Platform::default();
    let calls = (0..1000).map(|n| {
        let (guest, platform) = (&guest, &platform);
        async move {
            let how = n.to_string();
            let progress = advance(guest, platform, &how).await.unwrap();
            matches!(progress, Progress::Published { publication, .. } if publication.remote_ids == [how])
        }
    });
    assert!(
        futures_util::future::join_all(calls)
            .await
            .into_iter()
            .all(|right| right)
    );
}

#[tokio::test]
async fn compiled_code_is_kept_and_taken_only_from_this_host() {
    let dir = tempfile::tempdir().unwrap();
    let load = async |key: u8| {
        let cache = Cache::new(dir.path().to_owned(), [key; 32]);
        let engine = Engine::new(patient(), Some(cache)).unwrap();
        engine
            .load(component("patchbay-hostile"))
            .await
            .unwrap()
            .build(&Settings::default())
            .await
            .unwrap();
    };
    let kept = || {
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    };
    load(1).await;
    let written = std::fs::read(kept()).unwrap();
    load(1).await;
    assert_eq!(std::fs::read(kept()).unwrap(), written, "taken as it was");

    // One bit, anywhere; another host's key; half a file: compiled again, and written anew.
    for at in [0, 40, written.len() / 2, written.len() - 1] {
        let mut bent = written.clone();
        bent[at] ^= 1;
        std::fs::write(kept(), &bent).unwrap();
        load(1).await;
        assert_ne!(std::fs::read(kept()).unwrap(), bent, "byte {at}");
    }
    load(2).await;
    assert_ne!(std::fs::read(kept()).unwrap()[..32], written[..32]);
    std::fs::write(kept(), &written[..written.len() / 2]).unwrap();
    load(1).await;
    assert_eq!(std::fs::read(kept()).unwrap().len(), written.len());
}

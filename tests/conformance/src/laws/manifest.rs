//! The manifest says what is so.

use patchbay_core::{Bucket, MediaOrigin};

use super::trial;
use crate::{
    Case,
    driver::Habits,
    law::{Breach, Found, Held, Law, hold, law},
    transport::Offence,
    world::World,
};

pub(super) const LAWS: &[Law] = &[
    law!("manifest::sound", sound,
        why: "the host refuses to start with a manifest that contradicts itself",
        change: "src/manifest.rs"),
    law!("manifest::same_at_every_call", same_at_every_call,
        why: "the host pins the manifest at its start: effects and limits that move later are not enforced",
        change: "src/lib.rs, Provider::manifest: build it once"),
    law!("manifest::samples_fit", samples_fit,
        why: "limits that refuse what the platform takes, or kinds that nothing tries, are limits that nobody has checked",
        change: "src/manifest.rs, kinds and options; or Case.posts in tests/conformance.rs"),
    law!("manifest::requests_match_rows", requests_match_rows,
        why: "the host refuses every call that is not as its op row says",
        change: "src/manifest.rs, ops; or the request in src/api.rs"),
    law!("manifest::one_commit_a_step", one_commit_a_step,
        why: "the journal keeps one irreversible call a step: the host refuses a second one",
        change: "src/publish.rs, Publisher::advance: return Continue between two commits"),
];

async fn sound(case: &Case) -> Found {
    let provider = (case.provider)();
    let manifest = provider.manifest();
    manifest.check().map_err(|error| Breach(error.to_string()))?;
    hold!(!manifest.ops.is_empty(), "the op table is empty: nothing can be sent");
    hold!(
        !manifest.display_name.is_empty() && !manifest.version.is_empty(),
        "it has no name or version"
    );
    hold!(
        manifest.docs_url.starts_with("https://"),
        "docs_url is {:?}, which is no https URL",
        manifest.docs_url
    );
    hold!(
        manifest.kinds.is_empty() == provider.publisher().is_none(),
        "kinds of post and a Publisher go together: {} kinds, Publisher: {}",
        manifest.kinds.len(),
        provider.publisher().is_some()
    );
    for bucket in &manifest.buckets {
        let (name, same) = (bucket.name, |other: &&Bucket| other.name == bucket.name);
        hold!(
            manifest.buckets.iter().filter(same).count() == 1,
            "two buckets are named {name}"
        );
        let is_used = manifest.ops.iter().any(|op| op.buckets.contains(&name));
        hold!(is_used, "no op takes a place in the bucket {name}");
    }
    if let Some(webhooks) = provider.webhooks() {
        let schemes = webhooks.auth().schemes;
        hold!(!schemes.is_empty(), "webhooks have no signature scheme");
        let lower = |scheme: &patchbay_core::SignatureScheme| *scheme.header == scheme.header.to_ascii_lowercase();
        hold!(
            schemes.iter().all(lower),
            "headers of signature schemes are in lower case"
        );
    }
    Ok(Held::Tried(1))
}

async fn same_at_every_call(case: &Case) -> Found {
    let provider = (case.provider)();
    let first = provider.manifest().clone();
    hold!(
        *provider.manifest() == first,
        "two calls of manifest() give two manifests"
    );
    hold!(
        *(case.provider)().manifest() == first,
        "two instances of the provider have two manifests"
    );
    Ok(Held::Tried(2))
}

async fn samples_fit(case: &Case) -> Found {
    let provider = (case.provider)();
    let manifest = provider.manifest();
    let Some(publisher) = provider.publisher() else {
        return Ok(Held::NotApplicable("there is no Publisher"));
    };
    for sample in &case.posts {
        let mut issues = manifest.check_post(&sample.post);
        issues.extend(publisher.validate(&sample.post));
        hold!(issues.is_empty(), "sample {:?} is refused: {issues:?}", sample.name);
    }
    for rule in &manifest.kinds {
        for mode in &rule.modes {
            let tried = case
                .posts
                .iter()
                .any(|s| s.post.kind == rule.kind && s.post.mode == *mode);
            hold!(tried, "no sample is of kind {} and mode {mode:?}", rule.kind.as_str());
        }
        for transfer in rule.media.iter().flat_map(|media| &media.transfers) {
            let wanted = |origin: &MediaOrigin| match transfer {
                patchbay_core::Transfer::Upload => *origin == MediaOrigin::Stored,
                patchbay_core::Transfer::PullHosted => *origin == MediaOrigin::Hosted,
                patchbay_core::Transfer::PullUrl => matches!(origin, MediaOrigin::Url(_)),
            };
            let mut kind = case.posts.iter().filter(|s| s.post.kind == rule.kind);
            let tried = kind.any(|s| s.post.media.iter().any(|media| wanted(&media.origin)));
            hold!(
                tried,
                "no sample of kind {} has media by {transfer:?}",
                rule.kind.as_str()
            );
        }
    }
    Ok(Held::Tried(case.posts.len()))
}

async fn requests_match_rows(case: &Case) -> Found {
    offences(case, |offence| match offence {
        Offence::Row(what) | Offence::Range(what) => Some(what.clone()),
        Offence::SecondCommit(_) | Offence::NotALook(_) | Offence::Secret(_) => None,
    })
    .await
}

async fn one_commit_a_step(case: &Case) -> Found {
    offences(case, |offence| match offence {
        Offence::SecondCommit(what) => Some(what.clone()),
        Offence::NotALook(what) => Some(what.clone()),
        Offence::Row(_) | Offence::Range(_) | Offence::Secret(_) => None,
    })
    .await
}

/// Everything that a provider sends while all is well, and what of it breaks a rule.
pub(super) async fn offences(case: &Case, pick: fn(&Offence) -> Option<String>) -> Found {
    let mut sent = Vec::new();
    let world = World::start(case).await?;
    let grant = world.connect().await;
    sent.extend(world.sent());
    if let Ok(grant) = grant {
        world.adopt(&grant)?;
        world.refresh().await.ok();
        sent.extend(world.sent());
        for sample in trial::small(case) {
            let world = World::connected(case).await?;
            let mut driver = crate::driver::Driver::new(&world, sample, Habits::default());
            driver.run().await.ok();
            sent.extend(world.sent());
        }
    }
    let breaches: Vec<String> = sent.iter().filter_map(|sent| pick(sent.offence.as_ref()?)).collect();
    match breaches.first() {
        Some(first) => Err(Breach(format!("{first} ({} such calls)", breaches.len()))),
        None => Ok(Held::Tried(sent.len())),
    }
}

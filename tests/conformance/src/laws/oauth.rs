//! Connecting, and staying connected.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use patchbay_core::{Authorize, Body, Ctx, Identity, Value};
use url::Url;

use super::errors;
use crate::{
    Case,
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Raw, Stop, Transport},
    world::{CLIENT_ID, World, ends_grant},
};

pub(super) const LAWS: &[Law] = &[
    law!("oauth::authorize_url", authorize_url,
        why: "without state and PKCE a stolen code connects somebody else's account",
        change: "src/oauth.rs, OAuthProvider::authorize"),
    law!("oauth::authorize_without_secret", authorize_without_secret,
        why: "the URL is seen by the browser, its history, and every server on the way",
        change: "src/oauth.rs, OAuthProvider::authorize"),
    law!("oauth::exchange", exchange,
        why: "the host stores the account from the grant alone: who it is, what it may, and its credentials",
        change: "src/oauth.rs, OAuthProvider::exchange"),
    law!("oauth::rotation_kept", rotation_kept,
        why: "a refresh token dies when it is used: whoever keeps the old one is locked out at the next renewal",
        change: "src/oauth.rs, OAuthProvider::refresh: give back every credential, the new one or else the one at hand"),
    law!("oauth::identity_stable", identity_stable,
        why: "the platform's id is the account's key: another one is another account",
        change: "src/oauth.rs, exchange and identity: remote_id"),
    law!("oauth::revoke_twice", revoke_twice,
        why: "the host asks again when it did not hear the answer: a grant that is gone is what was asked for",
        change: "src/oauth.rs, OAuthProvider::revoke"),
    law!("oauth::fault_keeps_grant", fault_keeps_grant,
        why: "a proxy's 401 or an outage must not ask thousands of people to connect again",
        change: "src/oauth.rs, refresh: ReauthRequired only for a code that the platform documents as final"),
];

const NONE: Held = Held::NotApplicable("there is no OAuthProvider");

fn has_none(case: &Case) -> bool {
    (case.provider)().oauth().is_none()
}

async fn authorize_url(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::start(case).await?;
    let provider = world.provider();
    let Authorize::Redirect { url, .. } = world.authorize().await? else {
        return Ok(Held::NotApplicable("the connect is a form"));
    };
    let request = world.authorize_request(&*provider);
    let host = url.host_str().unwrap_or_default();
    hold!(url.scheme() == "https", "the URL is {}:, not https:", url.scheme());
    hold!(
        provider.manifest().browser_hosts.contains(&host),
        "{host} is not in the manifest's browser_hosts {:?}",
        provider.manifest().browser_hosts
    );
    // With a pushed request the parameters are in the body of a call.
    let mut values: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
    for sent in world.sent() {
        if let Body::Form(fields) = &sent.request.body {
            values.extend(fields.iter().filter_map(|(_, value)| match value {
                Value::Text(text) => Some(text.clone()),
                Value::Secret(_) => None,
            }));
        }
    }
    let has = |wanted: &str| values.iter().any(|value| value == wanted);
    hold!(has(CLIENT_ID), "no parameter is the app's client id");
    hold!(has(&request.state), "no parameter is the state");
    hold!(
        has(request.redirect_uri.as_str()),
        "no parameter is the redirect URI {}",
        request.redirect_uri
    );
    for scope in &request.scopes {
        let named = values
            .iter()
            .any(|value| value.split([' ', ',']).any(|word| word == scope));
        hold!(named, "the scope {scope} is not asked for");
    }
    let challenge = [
        hex::encode(request.pkce.digest),
        URL_SAFE_NO_PAD.encode(request.pkce.digest),
    ];
    hold!(
        challenge.iter().any(|form| has(form)),
        "no parameter is the PKCE challenge, as hex or base64url"
    );
    Ok(Held::Tried(1))
}

async fn authorize_without_secret(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::start(case).await?;
    let Authorize::Redirect { url, pending } = world.authorize().await? else {
        return Ok(Held::NotApplicable("the connect is a form"));
    };
    let text = decoded(&url);
    if let Some(handle) = world.secret_in(&text) {
        return Err(Breach(format!("the URL holds the value of {handle:?}")));
    }
    hold!(
        !text.contains("secret:"),
        "the URL holds a handle, which nobody fills in there"
    );
    if let Some(handle) = world.secret_in(&pending.to_string()) {
        return Err(Breach(format!("the pending data holds the value of {handle:?}")));
    }
    Ok(Held::Tried(1))
}

fn decoded(url: &Url) -> String {
    let pairs: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{url} {}", pairs.join(" "))
}

async fn exchange(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::start(case).await?;
    let provider = world.provider();
    let grant = world.connect().await?;
    hold!(!grant.identities.is_empty(), "the grant names no identity");
    for identity in &grant.identities {
        hold!(
            !identity.remote_id.trim().is_empty(),
            "an identity has an empty remote_id"
        );
    }
    hold!(!grant.credentials.secrets.is_empty(), "the grant has no credentials");
    let known = |scope: &String| provider.manifest().scopes.iter().any(|known| known.name == scope);
    let unknown: Vec<_> = grant.scopes.iter().filter(|scope| !known(scope)).collect();
    hold!(unknown.is_empty(), "scopes {unknown:?} are not in the manifest");
    let asked: Vec<_> = provider.manifest().default_scopes().collect();
    for scope in asked {
        let granted = grant.scopes.iter().any(|granted| granted == scope);
        hold!(granted, "the person has granted {scope}, the grant does not tell");
    }
    world.adopt(&grant)?;
    Ok(Held::Tried(1))
}

async fn rotation_kept(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::connected(case).await?;
    let names = world.account()?.credentials.secrets.into_keys().collect::<Vec<_>>();
    for turn in 1..=3 {
        let fresh = world.refresh().await?;
        let fresh = fresh.map_err(|error| Breach(format!("renewal {turn} in a row is refused: {error}")))?;
        for name in &names {
            hold!(
                fresh.secrets.contains_key(name),
                "renewal {turn} loses the credential {name}"
            );
        }
        identity(&world)
            .await
            .map_err(|breach| Breach(format!("after renewal {turn}: {breach}")))?;
    }
    // The platform may leave out what it has not changed (RFC 6749, section 6).
    let world = World::connected(case).await?;
    let provider = world.provider();
    let pointers: Vec<&'static str> = provider
        .manifest()
        .ops
        .iter()
        .flat_map(|op| &op.secrets)
        .filter(|field| field.name != "access_token" && names.iter().any(|name| name == field.name))
        .map(|field| field.pointer)
        .collect();
    if pointers.is_empty() {
        return Ok(Held::Tried(3));
    }
    world
        .faults
        .at(0, Fault::Changed(Arc::new(move |raw| without(raw, &pointers))));
    let fresh = world.refresh().await?;
    let fresh = fresh.map_err(|error| Breach(format!("an answer without a new refresh token is refused: {error}")))?;
    for name in &names {
        hold!(
            fresh.secrets.contains_key(name),
            "the answer brought no new {name}, and the one at hand is lost"
        );
    }
    Ok(Held::Tried(4))
}

fn without(raw: Raw, pointers: &[&str]) -> Raw {
    let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&raw.body) else {
        return raw;
    };
    for pointer in pointers {
        if let Some((parent, name)) = pointer.rsplit_once('/')
            && let Some(object) = json.pointer_mut(parent).and_then(serde_json::Value::as_object_mut)
        {
            object.remove(name);
        }
    }
    Raw {
        body: json.to_string().into(),
        ..raw
    }
}

async fn identity(world: &World) -> Result<Identity, Breach> {
    let provider = world.provider();
    let oauth = provider
        .oauth()
        .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
    let account = world.account()?;
    let transport = Transport::looking(world, &*provider);
    let ctx = Ctx::new(&transport, world.clock.now(), &world.app, Some(&account));
    match transport.play(oauth.identity(&ctx)).await {
        Ok(Ok(identity)) => Ok(identity),
        Ok(Err(error)) => Err(Breach(format!("identity refuses: {error}"))),
        Err(Stop::Broken(breach)) => Err(breach),
        Err(Stop::Killed) => Err(Breach::new("killed")),
    }
}

async fn identity_stable(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::connected(case).await?;
    let connected = world.account()?.remote_id;
    for when in ["after the connect", "after a renewal"] {
        let found = identity(&world).await?.remote_id;
        hold!(
            found == connected,
            "{when} identity() names {found:?}, the grant named {connected:?}"
        );
        if let Err(error) = world.refresh().await? {
            return Err(Breach(format!("refresh refuses: {error}")));
        }
    }
    Ok(Held::Tried(2))
}

async fn revoke_twice(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let world = World::connected(case).await?;
    let provider = world.provider();
    let oauth = provider
        .oauth()
        .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
    let account = world.account()?;
    for turn in ["the first", "the second"] {
        let transport = Transport::looking(&world, &*provider);
        let ctx = Ctx::new(&transport, world.clock.now(), &world.app, Some(&account));
        match transport.play(oauth.revoke(&ctx)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Breach(format!("{turn} revoke fails: {error}"))),
            Err(Stop::Broken(breach)) => return Err(breach),
            Err(Stop::Killed) => return Err(Breach::new("killed")),
        }
    }
    Ok(Held::Tried(2))
}

async fn fault_keeps_grant(case: &Case) -> Found {
    if has_none(case) {
        return Ok(NONE);
    }
    let mut tried = 0;
    for row in errors::ROWS {
        let Some(fault) = row.fault_without_platform() else {
            continue;
        };
        let world = World::connected(case).await?;
        world.faults.at(0, fault);
        if let Err(error) = world.refresh().await? {
            hold!(!ends_grant(&error), "refresh meets {}, and says {error}", row.name);
        }
        tried += 1;
    }
    Ok(Held::Tried(tried))
}

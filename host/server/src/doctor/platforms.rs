//! Each provider: its settings, the addresses that the platform is told, and whether the platform takes the app.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use patchbay_app::{
    App, Parts,
    env::Env,
    journal::TokenJournal,
    outbound::{Outbound, SecretBag},
    registry::{Registered, Registry},
    vault::{MasterKey, Vault},
};
use patchbay_core::{AppCheck, Ctx, ErrorKind, ProviderError, ProviderId, Transfer, WhoActs};
use url::Url;

use super::{
    probe::{self, Probe},
    report::Report,
};
use crate::{
    config::{Config, ProviderConfig},
    host,
    media::MediaFolder,
    providers::{BUILT_IN, Entry},
};

/// A clock further from the platform's is not set by the network: signatures would be refused.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(60);

pub(super) async fn examine(config: &Config, probe: Option<&Probe>, env: &Env, report: &mut Report) {
    for entry in BUILT_IN {
        let Ok(id) = ProviderId::parse(entry.id) else { continue };
        if let Some(settings) = config.providers.get(&id).filter(|settings| settings.enabled) {
            examine_one(entry, settings, config, probe, env, report).await;
        }
    }
}

async fn examine_one(
    entry: &Entry,
    settings: &ProviderConfig,
    config: &Config,
    probe: Option<&Probe>,
    env: &Env,
    report: &mut Report,
) {
    let check = |name: &str| format!("providers.{}.{name}", entry.id);
    let simulated = settings.environment == crate::config::Environment::Simulator;
    let registered = match host::register(entry, settings, config, env) {
        Ok(registered) => registered,
        Err(error) => {
            let advice = "Set it as docs/configuration.md says, with the values of the platform's developer portal.";
            report.error(&check("settings"), format!("{error:#}"), advice);
            return;
        }
    };
    let with = if simulated { "a simulator" } else { "the platform" };
    report.ok(&check("settings"), format!("are complete; it works with {with}"));
    if entry.has_app {
        redirect(&registered, config, &check("redirect_uri"), report);
    }
    pulling(&registered, config, simulated, &check("media_links"), report);
    let Some(probe) = probe else {
        for name in ["credentials", "webhooks", "clock"] {
            report.skip(&check(name), "nobody is called");
        }
        return;
    };
    webhooks(&registered, config, probe, &check("webhooks"), report).await;
    if simulated && settings.simulator_hosts.is_empty() {
        report.skip(
            &check("credentials"),
            "the simulator inside the host takes whatever it is told",
        );
        return;
    }
    clock(&registered, probe, env, &check("clock"), report).await;
    if !entry.has_app {
        report.skip(&check("credentials"), "the platform knows no apps");
        return;
    }
    match check_app(registered, config, probe, env).await {
        Ok(Ok(AppCheck::Accepted)) => {
            report.ok(&check("credentials"), "the platform takes client_id and client_secret");
        }
        Ok(Ok(AppCheck::NotOffered)) => {
            report.skip(&check("credentials"), "the platform has no call to check them with");
        }
        Ok(Err(error)) => refused(&error, &check("credentials"), report),
        Err(error) => report.skip(&check("credentials"), format!("{error:#}")),
    }
}

fn redirect(registered: &Registered, config: &Config, check: &str, report: &mut Report) {
    let Some(oauth) = registered.provider.oauth() else {
        return;
    };
    let uri = &registered.redirect_uri;
    let issues = oauth.redirect_issues(uri);
    if !issues.is_empty() {
        let advice = "Set server.public_url, or the provider's redirect_uri, to an address that the platform takes.";
        report.error(check, format!("{uri}: {}", issues.join("; ")), advice);
        return;
    }
    let callback = below(
        &config.server.public_url,
        &format!("/api/platforms/{}/callback", registered.id()),
    );
    if *uri == callback {
        let found = format!("{uri} keeps the platform's rules; register it there letter by letter");
        report.ok(check, found);
    } else {
        let advice = format!(
            "People come back to it after they have agreed, so it must lead to {callback}: leave redirect_uri out \
             unless something passes it on."
        );
        report.warn(check, format!("{uri} is not this host's callback"), advice);
    }
}

/// Platforms that fetch media from here want an address that was proved to be ours.
fn pulling(registered: &Registered, config: &Config, simulated: bool, check: &str, report: &mut Report) {
    let kinds = &registered.manifest().kinds;
    let media = kinds.iter().filter_map(|kind| kind.media.as_ref());
    if !media.clone().any(|rule| rule.transfers.contains(&Transfer::PullHosted)) {
        return;
    }
    let prefix = below(&config.server.public_url, "/api/media/pull/");
    if prefix.scheme() != "https" {
        let advice = "Set server.public_url to a public https address.";
        report.warn(
            check,
            "platforms cannot fetch stored files from here: no https address",
            advice,
        );
    } else if simulated || !config.site.files.is_empty() {
        report.ok(check, format!("stored files can be fetched below {prefix}"));
    } else {
        let advice = format!(
            "Prove in the platform's developer portal that {prefix} is yours: by DNS, or by the file that it gives you, \
             in site.files. Without that the platform refuses to fetch."
        );
        report.warn(
            check,
            format!("{prefix} has no file that proves it to be yours"),
            advice,
        );
    }
}

/// A webhook without a signature is refused by this host, and by nobody else in this way.
async fn webhooks(registered: &Registered, config: &Config, probe: &Probe, check: &str, report: &mut Report) {
    if registered.webhook_schemes.is_empty() {
        return;
    }
    let url = below(
        &config.server.public_url,
        &format!("/api/platforms/{}/webhooks", registered.id()),
    );
    if url.scheme() != "https" {
        report.skip(check, "the public address is for this machine alone");
        return;
    }
    match probe.post(ProviderId::patchbay(), &url).await {
        Ok(answer) if answer.status == 401 && says(&answer.body, "signature_invalid") => {
            let found = format!("{url} leads here and refuses what is not signed; register it at the platform");
            report.ok(check, found);
        }
        Ok(answer) => report.error(
            check,
            format!("{url} answers {} to a webhook without a signature", answer.status),
            "Let the proxy pass POST requests to this path unchanged, body and headers included.",
        ),
        Err(error) => report.error(check, format!("{url}: {error}"), probe::advice(&error)),
    }
}

fn says(body: &[u8], code: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|problem| problem["code"] == code)
}

/// The platform's clock, as every answer of its servers tells it.
async fn clock(registered: &Registered, probe: &Probe, env: &Env, check: &str, report: &mut Report) {
    let ops = &registered.manifest().ops;
    let Some(host) = ops.iter().flat_map(|op| &op.hosts).find(|host| !host.starts_with('*')) else {
        return;
    };
    let Ok(url) = Url::parse(&format!("https://{host}/")) else {
        return;
    };
    match probe.get(registered.id().clone(), &url).await {
        Ok(answer) => {
            let date = answer.headers.iter().find(|(name, _)| name == "date");
            let Some(theirs) = date.and_then(|(_, text)| DateTime::parse_from_rfc2822(text).ok()) else {
                report.skip(check, format!("{host} does not tell the time"));
                return;
            };
            let skew = (theirs.to_utc() - env.now()).abs();
            let found = format!("{} s from {host}'s clock", skew.num_seconds());
            if skew > MAX_SKEW {
                let advice = "Set this machine's clock by the network (NTP): signed webhooks are refused otherwise.";
                report.error(check, found, advice);
            } else {
                report.ok(check, found);
            }
        }
        Err(error) => report.error(
            check,
            format!("{host}: {error}"),
            "Let this machine reach it over https.",
        ),
    }
}

/// Asks the platform by way of an application of its own, with an empty database: whatever is wrong with the real one
/// does not matter, and nothing is written there.
async fn check_app(
    registered: Registered,
    config: &Config,
    probe: &Probe,
    env: &Env,
) -> anyhow::Result<Result<AppCheck, ProviderError>> {
    let folder = tempfile::tempdir()?;
    let database = format!("sqlite:{}", folder.path().join("empty.db").display());
    let store = patchbay_store::open(&database, patchbay_store::Options::default()).await?;
    let key = Arc::new(MasterKey::new(env.random()));
    let id = registered.id().clone();
    let registry = Registry::default();
    registry.add(registered)?;
    let app = App::new(Parts {
        env: env.clone(),
        vault: Vault::open(store.clone(), key, env.clone()).await?,
        store,
        wire: probe.wire.clone(),
        media: Arc::new(MediaFolder::open(&folder.path().join("media"))?),
        media_limits: host::media_limits(config, true),
        journal: TokenJournal::at(&folder.path().join("journal")),
        registry,
        pull_base: None,
    });
    let registered = app.registered(&id)?;
    let Some(oauth) = registered.provider.oauth() else {
        return Ok(Ok(AppCheck::NotOffered));
    };
    let outbound = Outbound::new(&app, &registered, None, SecretBag::default(), "doctor");
    let ctx = Ctx::new(&outbound, env.now(), &registered.app, None);
    Ok(oauth.check_app(&ctx).await)
}

fn refused(error: &ProviderError, check: &str, report: &mut Report) {
    match error.kind {
        ErrorKind::Retryable | ErrorKind::RateLimited => report.warn(
            check,
            format!("the platform could not be asked: {error}"),
            "Run this again later; if it stays so, let this machine reach the platform over https.",
        ),
        _ => {
            let advice = match (&error.advice, error.who_acts()) {
                (Some(advice), WhoActs::Operator) => advice.to_string(),
                _ => "Copy client_id and client_secret anew from the platform's developer portal; test and live apps \
                      have different ones."
                    .to_owned(),
            };
            report.error(check, format!("the platform refuses the app: {error}"), advice);
        }
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url
}

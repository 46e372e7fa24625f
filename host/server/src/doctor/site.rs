//! The public address: does it lead here, and do the texts that platforms look for stand there.

use patchbay_core::ProviderId;
use serde_json::Value;
use url::Url;

use super::{
    is_live,
    probe::{self, Probe},
    report::Report,
};
use crate::config::Config;

pub(super) async fn examine(config: &Config, probe: Option<&Probe>, report: &mut Report) {
    let url = &config.server.public_url;
    let live = is_live(config);
    pages(config, live, report);
    if url.scheme() != "https" {
        let found = format!("{url} is for this machine alone");
        if live {
            let advice = "Platforms send browsers and webhooks to a public https address: set server.public_url to \
                          yours, and either server.tls_cert or a proxy that speaks TLS.";
            report.error("site.public_url", found, advice);
        } else {
            report.ok(
                "site.public_url",
                format!("{found}, which is enough for simulated platforms"),
            );
        }
        return;
    }
    let Some(probe) = probe else {
        report.skip("site.public_url", "nobody is called");
        return;
    };
    if leads_here(url, probe, report).await {
        files(config, probe, report).await;
    } else {
        report.skip("site.files", "the public address does not lead here");
    }
}

fn pages(config: &Config, live: bool, report: &mut Report) {
    for (name, text) in [("privacy", &config.site.privacy), ("terms", &config.site.terms)] {
        let check = format!("site.{name}");
        match text {
            Some(_) => report.ok(&check, format!("is served at /{name}")),
            None if live => report.warn(
                &check,
                format!("this host has no page /{name}"),
                format!(
                    "Platforms ask for its address when they review an app: set site.{name}_file, or give them a page \
                     elsewhere."
                ),
            ),
            None => report.skip(&check, "simulated platforms ask for none"),
        }
    }
}

async fn leads_here(public: &Url, probe: &Probe, report: &mut Report) -> bool {
    let mut url = public.clone();
    url.set_path("/healthz");
    match probe.get(ProviderId::patchbay(), &url).await {
        Ok(answer) if answer.status == 200 && is_health(&answer.body) => {
            report.ok("site.public_url", format!("{public} leads to a running host"));
            true
        }
        Ok(answer) => {
            let found = format!("something else answers at {public}: {} for /healthz", answer.status);
            let advice = format!(
                "Let the proxy pass all requests for this name to server.listen ({public} must reach it), without \
                 changing paths."
            );
            report.error("site.public_url", found, advice);
            false
        }
        Err(error) => {
            let found = format!("{public} does not answer: {error}");
            let advice = format!("Start `patchbay serve` first, then: {}", probe::advice(&error));
            report.error("site.public_url", found, advice);
            false
        }
    }
}

fn is_health(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value["status"] == "ok")
}

async fn files(config: &Config, probe: &Probe, report: &mut Report) {
    for (name, content) in &config.site.files {
        for below in ["", "api/media/pull/"] {
            let check = format!("site.files./{below}{name}");
            let mut url = config.server.public_url.clone();
            url.set_path(&format!("/{below}{name}"));
            match probe.get(ProviderId::patchbay(), &url).await {
                Ok(answer) if answer.status == 200 && answer.body == content.as_bytes() => {
                    report.ok(&check, "is served as configured");
                }
                Ok(answer) => report.error(
                    &check,
                    format!("another answer comes back ({})", answer.status),
                    "Start the host again if the configuration has changed; else let the proxy pass this path.",
                ),
                Err(error) => report.error(&check, error.to_string(), probe::advice(&error)),
            }
        }
    }
}

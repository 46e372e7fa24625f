//! Where values come from, and which one wins.

use std::path::Path;

use super::*;
use crate::config::{Environment, FirstParty, LogFormat};

#[test]
fn the_defaults_are_a_simulator_on_this_machine() {
    let config = Config::defaults(&known());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!(config.server.max_upload_bytes, 4 << 30);
    assert_eq!(
        (config.server.max_sockets, config.server.max_sockets_per_ip),
        (2_000, 64)
    );
    assert_eq!(config.server.first_party, FirstParty::Off);
    assert_eq!(config.database.url, "sqlite:data/patchbay.db");
    assert_eq!(config.storage.media_quota_bytes, 50 << 30);
    assert_eq!(
        config.encryption.key_file.as_deref(),
        Some(Path::new("data/master.key"))
    );
    assert!(config.encryption.key.is_none());
    assert_eq!(config.log.format, LogFormat::Auto);
    assert!(config.workers.enabled && config.workers.secrets.is_empty());
    assert_eq!(config.providers.len(), 3);
    assert_eq!(acme(&config).environment, Environment::Simulator);
    assert!(acme(&config).enabled && acme(&config).webhook_secrets.is_empty());
}

#[test]
fn later_layers_win() {
    let setup = Setup::file("[database]\nurl = 'sqlite:file.db'\n[log]\nfilter = 'debug'");
    assert_eq!(setup.load().unwrap().database.url, "sqlite:file.db");
    let setup = setup.var("DATABASE_URL", "sqlite:plain.db");
    assert_eq!(setup.load().unwrap().database.url, "sqlite:plain.db");
    let mut setup = setup.var("PATCHBAY__DATABASE__URL", "sqlite:exact.db");
    assert_eq!(setup.load().unwrap().database.url, "sqlite:exact.db");
    setup.env.reverse();
    let config = setup.load().unwrap();
    assert_eq!(
        config.database.url, "sqlite:exact.db",
        "whatever the order of variables"
    );
    assert_eq!(config.log.filter, "debug", "and other keys of the file stay");
}

#[test]
fn a_variable_names_the_file_and_an_argument_overrules_it() {
    let named = Setup::file("[workers]\nconcurrency = 7");
    let env = [("PATCHBAY_CONFIG".to_owned(), named.source())];
    assert_eq!(
        Config::load(None, env.clone(), &known()).unwrap().workers.concurrency,
        7
    );
    let argument = Setup::file("[workers]\nconcurrency = 9");
    assert_eq!(
        Config::load(Some(&argument.file), env, &known())
            .unwrap()
            .workers
            .concurrency,
        9
    );
}

#[test]
fn variables_alone_need_no_file() {
    let env = [("PATCHBAY_CONFIG", "/nowhere.toml"), ("DATABASE_URL", "sqlite:x.db")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        Config::from_environment(env, &known()).unwrap().database.url,
        "sqlite:x.db"
    );
}

#[test]
fn a_file_that_is_named_must_exist() {
    let mut setup = Setup::file("");
    setup.file.set_file_name("other.toml");
    let problems = setup.problems();
    assert_eq!((problems.len(), &problems[0].source), (1, &setup.source()));
    assert!(problems[0].message.contains("cannot be read"));
}

#[test]
fn variables_are_read_by_the_type_of_their_key() {
    let config = Setup::file("")
        .var("PATCHBAY__WORKERS__ENABLED", "false")
        .var("PATCHBAY__WORKERS__CONCURRENCY", "12")
        .var("PATCHBAY__EGRESS__OPEN_CIDRS", "10.0.0.0/8, fd00::/8")
        .var("PATCHBAY__PROVIDERS__MY_PLACE__CLIENT_ID", "0123")
        .var("PATCHBAY__PROVIDERS__MY_PLACE__CLIENT_SECRET", "1e9")
        .var(
            "PATCHBAY__PROVIDERS__ACME__SIMULATOR_HOSTS",
            "API.acme.example=127.0.0.1:1,b.example=[::1]:2",
        )
        .var("PATCHBAY__PROVIDERS__ACME__SETTINGS__PAGE__SIZE", "20")
        .var("PATCHBAY__LOG__FORMAT", "")
        .load()
        .unwrap();
    assert!(!config.workers.enabled);
    assert_eq!(config.workers.concurrency, 12);
    assert_eq!(config.egress.open_cidrs.len(), 2);
    let my_place = &config.providers[&known()[1].id];
    assert_eq!(my_place.client_id.as_deref(), Some("0123"), "digits stay as they are");
    assert!(my_place.client_secret.as_ref().unwrap().matches(b"1e9"));
    assert_eq!(my_place.environment, Environment::Live);
    assert_eq!(acme(&config).simulator_hosts["api.acme.example"].port(), 1);
    assert_eq!(acme(&config).simulator_hosts["b.example"].port(), 2);
    assert_eq!(acme(&config).settings["page"]["size"], 20);
    assert_eq!(config.log.format, LogFormat::Auto, "an empty variable is not set");
}

#[test]
fn providers_have_plain_names() {
    let config = Setup::file("[providers.acme.settings]\nmode = 'x'")
        .var("ACME_CLIENT_KEY", "id")
        .var("ACME_CLIENT_SECRET", "a,b")
        .var("ACME_REDIRECT_URI", "https://example.com/back")
        .var("ACME_WEBHOOK_SECRET", "one,secret")
        .var("MY_PLACE_CLIENT_KEY", "other")
        .var("MY_PLACE_CLIENT_SECRET", "s")
        .var("STRANGER_CLIENT_KEY", "ignored")
        .load()
        .unwrap();
    let acme = acme(&config);
    assert_eq!(acme.client_id.as_deref(), Some("id"));
    assert!(acme.client_secret.as_ref().unwrap().matches(b"a,b"));
    assert_eq!(acme.redirect_uri.as_ref().unwrap().as_str(), "https://example.com/back");
    assert_eq!(acme.webhook_secrets.len(), 1, "a plain variable holds one value");
    assert!(acme.webhook_secrets[0].matches(b"one,secret"));
    assert_eq!(acme.settings["mode"], "x");
    assert_eq!(config.providers[&known()[1].id].client_id.as_deref(), Some("other"));
}

#[test]
fn webhooks_are_signed_with_the_client_secret_unless_told_otherwise() {
    let config = Setup::file("")
        .var("ACME_CLIENT_KEY", "id")
        .var("ACME_CLIENT_SECRET", "s")
        .load()
        .unwrap();
    assert_eq!(acme(&config).webhook_secrets.len(), 1);
    assert!(acme(&config).webhook_secrets[0].matches(b"s"));
}

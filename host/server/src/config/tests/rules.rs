//! What the sections demand.

use super::*;
use crate::config::{Environment, FirstParty};

#[track_caller]
fn accepted(text: &str) -> Config {
    Setup::file(text)
        .load()
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[track_caller]
fn refused(text: &str, key: &str) {
    Setup::file(text).refused(key);
}

#[test]
fn browsers_come_by_https_except_on_this_machine() {
    for good in [
        "https://example.com",
        "https://example.com:8443/",
        "http://localhost:1",
        "http://127.1.2.3",
        "http://[::1]:80",
    ] {
        accepted(&format!("[server]\npublic_url = '{good}'"));
    }
    for bad in [
        "http://example.com",
        "http://localhost.example.com",
        "http://0.0.0.0:8080",
        "ftp://localhost",
        "https://example.com/base",
        "https://example.com/?a=b",
        "https://example.com/#a",
        "https://user@example.com",
        "example.com",
        "mailto:a@example.com",
    ] {
        refused(&format!("[server]\npublic_url = '{bad}'"), "server.public_url");
    }
}

#[test]
fn a_public_listener_needs_a_public_url() {
    refused("[server]\nlisten = '0.0.0.0:8080'", "server.public_url");
    refused("[server]\nlisten = '[fe80::1%3]:8080'", "server.public_url");
    accepted("[server]\nlisten = '0.0.0.0:8080'\npublic_url = 'https://example.com'");
}

#[test]
fn certificate_and_key_belong_together() {
    refused("[server]\ntls_cert = 'a'", "server.tls_key");
    refused("[server]\ntls_key = 'a'", "server.tls_cert");
    let config = accepted("[server]\ntls_cert = 'a'\ntls_key = 'b'");
    assert_eq!(config.server.public_url.as_str(), "https://127.0.0.1:8080/");
}

#[test]
fn pages_without_a_key_stay_on_this_machine() {
    let open = accepted("[server]\nfirst_party = 'open'");
    assert_eq!(open.server.first_party, FirstParty::Open);
    refused(
        "[server]\nfirst_party = 'open'\nlisten = '0.0.0.0:80'\npublic_url = 'http://localhost'",
        "server.first_party",
    );
    refused(
        "[server]\nfirst_party = 'open'\npublic_url = 'https://example.com'",
        "server.first_party",
    );
}

#[test]
fn listeners_and_limits_fit_together() {
    refused("[server]\nmetrics_listen = '127.0.0.1:8080'", "server.metrics_listen");
    accepted("[server]\nlisten = '127.0.0.1:0'\nmetrics_listen = '127.0.0.1:0'");
    refused("[server]\nmax_sockets = 10", "server.max_sockets_per_ip");
}

#[test]
fn the_master_key_is_64_hexadecimal_characters_in_one_place() {
    let key = "0123456789abcdefABCDEF9876543210".repeat(2);
    let config = accepted(&format!("[encryption]\nkey = '{key}'"));
    assert!(config.encryption.key_file.is_none());
    refused("[encryption]\nkey = 'abc'", "encryption.key");
    refused(&format!("[encryption]\nkey = '{}'", "g".repeat(64)), "encryption.key");
    let setup = Setup::file("[encryption]\nkey_file = 'k'").var("TOKEN_ENCRYPTION_KEY", &key);
    let problem = setup.refused("encryption.key");
    assert!(
        problem.source == "TOKEN_ENCRYPTION_KEY" && problem.message.contains(&setup.source()),
        "{problem}"
    );
    let moved = accepted("[storage]\ndir = '/var/lib/patchbay'");
    assert_eq!(
        moved.encryption.key_file.unwrap().to_str(),
        Some("/var/lib/patchbay/master.key")
    );
}

#[test]
fn worker_secrets_are_two_long_ones_at_most() {
    let long = "x".repeat(32);
    assert_eq!(
        accepted(&format!("[workers]\nsecrets = ['{long}', '{long}']"))
            .workers
            .secrets
            .len(),
        2
    );
    refused(
        &format!("[workers]\nsecrets = ['{long}', '{long}', '{long}']"),
        "workers.secrets",
    );
    refused(&format!("[workers]\nsecrets = ['{}']", &long[1..]), "workers.secrets");
    refused("[workers]\nsecrets = ['']", "workers.secrets");
}

#[test]
fn only_parts_of_the_network_can_be_opened() {
    refused("[egress]\nopen_cidrs = ['10.0.0.1/8']", "egress.open_cidrs");
    refused("[egress]\nopen_cidrs = ['0.0.0.0/0']", "egress.open_cidrs");
    refused("[egress]\nopen_cidrs = ['everything']", "egress.open_cidrs");
    refused(
        "[egress.simulated_receivers]\n'hooks.example.com' = '10.0.0.1:80'",
        "egress.simulated_receivers",
    );
}

#[test]
fn texts_of_the_site_have_plain_names_and_can_be_read() {
    for name in ["proof", "a/b.txt", "../b.txt", ".txt", "b.js", "b c.txt"] {
        refused(&format!("[site.files]\n'{name}' = 'proof'"), "site.files");
    }
    let long = "x".repeat(4097);
    refused(&format!("[site.files]\n'proof.txt' = '{long}'"), "site.files");
    refused("[site]\nfiles = 'proof.txt'", "site.files");
    refused("[site]\nterms_file = 'no/such/file.md'", "site.terms_file");
}

#[test]
fn other_values_are_checked_too() {
    refused("[database]\nurl = 'mysql://localhost'", "database.url");
    refused("[log]\nfilter = 'patchbay=loud'", "log.filter");
    refused("[storage]\nmedia_ttl_days = 0", "storage.media_ttl_days");
    refused("[workers]\nconcurrency = -1", "workers.concurrency");
    refused("[storage]\ndir = ''", "storage.dir");
    refused("[storage]\ndir = { a = 1 }", "storage.dir");
}

#[test]
fn a_live_provider_has_an_app() {
    accepted("[providers.acme]\nclient_id = 'a'\nclient_secret = 'b'");
    refused("[providers.acme]\nclient_id = 'a'", "providers.acme.client_secret");
    refused("[providers.acme]\nclient_secret = 'b'", "providers.acme.client_id");
    refused(
        "[providers.acme]\nenvironment = 'live'\nclient_secret = 'b'",
        "providers.acme.client_id",
    );
    accepted("[providers.acme]\nenvironment = 'simulator'\nclient_id = 'a'");
    accepted("[providers.acme]\nenabled = false\nclient_id = 'a'");
    refused("[providers.acme]\nclient_id = 12", "providers.acme.client_id");
}

#[test]
fn a_provider_without_an_app_or_simulator_is_turned_on_by_hand() {
    let commons = |text: &str| {
        let config = Setup::file(text).load().unwrap();
        let provider = &config.providers[&known()[2].id];
        (provider.enabled, provider.environment)
    };
    let hosts = "simulator_hosts = { 'commons.example' = '127.0.0.1:9' }";
    assert_eq!(commons(""), (false, Environment::Live));
    assert_eq!(
        commons("[providers.commons]\nenabled = true"),
        (true, Environment::Live)
    );
    let on_loopback = format!("[providers.commons]\nenabled = true\n{hosts}");
    assert_eq!(commons(&on_loopback), (true, Environment::Simulator));
    let nowhere = Setup::file("[providers.commons]\nenabled = true\nenvironment = 'simulator'");
    let refused = nowhere.refused("providers.commons.environment");
    assert!(refused.message.contains("simulator_hosts"), "{refused}");
    accepted("[providers.commons]\nenvironment = 'simulator'");
}

#[test]
fn simulators_run_on_this_machine() {
    accepted("[providers.acme]\nsimulator_hosts = { 'api.acme.example' = '127.0.0.1:9' }");
    refused(
        "[providers.acme]\nsimulator_hosts = { 'api.acme.example' = '10.0.0.1:9' }",
        "providers.acme.simulator_hosts",
    );
    refused(
        "[providers.acme]\nclient_id='a'\nclient_secret='b'\nsimulator_hosts = { 'api.acme.example' = '127.0.0.1:9' }",
        "providers.acme.simulator_hosts",
    );
    refused(
        "[providers.acme]\nsimulator_hosts = 'nine'",
        "providers.acme.simulator_hosts",
    );
}

#[test]
fn a_bucket_needs_its_name_and_a_key() {
    assert!(accepted("").storage.s3.is_none());
    let whole =
        "[storage]\nkind = 's3'\ns3_bucket = 'media'\ns3_access_key_id = 'id'\ns3_secret_access_key = 'secret'\n";
    let s3 = accepted(whole).storage.s3.unwrap();
    assert_eq!(
        (&*s3.bucket, &*s3.region, &*s3.prefix, s3.path_style),
        ("media", "us-east-1", "", true)
    );
    let s3 = accepted(&format!("{whole}s3_prefix = 'a/b'")).storage.s3.unwrap();
    assert_eq!(s3.prefix, "a/b/");
    for (line, key) in [
        ("s3_bucket = 'media'\n", "storage.s3_bucket"),
        ("s3_access_key_id = 'id'\n", "storage.s3_access_key_id"),
        ("s3_secret_access_key = 'secret'\n", "storage.s3_secret_access_key"),
    ] {
        refused(&whole.replace(line, ""), key);
    }
    for bad in [
        "http://s3.example.com",
        "https://s3.example.com/bucket",
        "https://a:b@s3.example.com",
    ] {
        refused(&format!("{whole}s3_endpoint = '{bad}'"), "storage.s3_endpoint");
    }
    accepted(&format!("{whole}s3_endpoint = 'http://127.0.0.1:9000'"));
    accepted(&format!("{whole}s3_endpoint = 'https://s3.example.com:9000'"));
    for bad in ["/a", "a//b", "../a"] {
        refused(&format!("{whole}s3_prefix = '{bad}'"), "storage.s3_prefix");
    }
    refused(
        &format!("{whole}[server]\nmax_upload_bytes = 83886080001"),
        "server.max_upload_bytes",
    );
    refused("[storage]\nkind = 'gcs'", "storage.kind");
}

#[test]
fn origins_are_written_as_browsers_tell_them() {
    accepted("[server]\nupload_origins = ['https://app.example.com', 'http://localhost:3000']");
    for bad in [
        "https://app.example.com/",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com",
        "*",
        "null",
        "app.example.com",
    ] {
        refused(
            &format!("[server]\nupload_origins = ['{bad}']"),
            "server.upload_origins",
        );
    }
}

#[test]
fn where_components_are_loaded_each_provider_may_have_a_section() {
    let section = "[providers.notepad]\nclient_id = 'a'\nclient_secret = 'b'\n";
    refused(section, "providers.notepad");
    let id = ProviderId::parse("notepad").unwrap();
    let config = accepted(&format!("[wasm]\ndir = 'components'\n{section}"));
    assert_eq!(config.providers[&id].client_id.as_deref(), Some("a"));
    let config = Setup::file(section)
        .var("PATCHBAY__WASM__DIR", "components")
        .load()
        .unwrap();
    assert_eq!(config.providers[&id].client_id.as_deref(), Some("a"));
    let config = Setup::file("[wasm]\ndir = 'components'")
        .var("PATCHBAY__PROVIDERS__NOTE_PAD__CLIENT_ID", "a")
        .var("PATCHBAY__PROVIDERS__NOTE_PAD__CLIENT_SECRET", "b")
        .load()
        .unwrap();
    let id = ProviderId::parse("note-pad").unwrap();
    assert_eq!(config.providers[&id].client_id.as_deref(), Some("a"));
    refused(
        "[wasm]\ndir = 'components'\n[providers.Notepad]\nclient_id = 'a'",
        "providers.Notepad",
    );
    refused("[wasm]\nmemory_mib = 0", "wasm.memory_mib");
}

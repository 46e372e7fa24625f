//! Secrets in files, and secrets that must not be seen.

use super::*;

const CANARY: &str = "canary0123456789canary0123456789";
const HEX_CANARY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

#[test]
fn a_secret_may_stand_in_a_file() {
    let setup = Setup::file("[providers.acme]\nclient_id = 'a'");
    let file = setup.beside("secret", &format!("{CANARY}\n"));
    let setup = setup.var("PATCHBAY__PROVIDERS__ACME__CLIENT_SECRET_FILE", &file);
    let config = setup.load().unwrap();
    assert!(acme(&config).client_secret.as_ref().unwrap().matches(CANARY.as_bytes()));
    let shown = config.effective();
    let line = format!("client_secret = [set]  # {file} in PATCHBAY__PROVIDERS__ACME__CLIENT_SECRET_FILE\n");
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn a_file_may_hold_two_secrets_where_two_are_active() {
    let setup = Setup::file("");
    let other = CANARY.replace("canary", "secret");
    let file = setup.beside("secrets", &format!("{CANARY}\n\n  {other}  \n"));
    let setup = setup.var("PATCHBAY__WORKERS__SECRETS_FILE", &file);
    let secrets = setup.load().unwrap().workers.secrets;
    assert_eq!(secrets.len(), 2);
    assert!(secrets[0].matches(CANARY.as_bytes()) && secrets[1].matches(other.as_bytes()));
}

#[test]
fn a_secret_stands_in_one_place() {
    let setup = Setup::file("[providers.acme]\nclient_id = 'a'\nclient_secret_file = '/nowhere'");
    let problem = setup
        .var("ACME_CLIENT_SECRET", CANARY)
        .refused("providers.acme.client_secret");
    assert_eq!(problem.source, "ACME_CLIENT_SECRET");
    assert!(
        problem.message.contains("client_secret_file is set too, in"),
        "{problem}"
    );
}

#[test]
fn a_secret_file_that_cannot_serve_is_refused() {
    for (text, hint) in [
        (Some(""), "is empty"),
        (Some("a\nb"), "several lines"),
        (None, "cannot be read"),
    ] {
        let setup = Setup::file("[providers.acme]\nclient_id = 'a'");
        let file = text.map_or("/nowhere/secret".to_owned(), |text| setup.beside("secret", text));
        let setup = setup.var("PATCHBAY__PROVIDERS__ACME__CLIENT_SECRET_FILE", &file);
        let problem = setup.refused("providers.acme.client_secret_file");
        assert!(
            problem.message.contains(hint) && problem.message.contains(&file),
            "{problem}"
        );
    }
    let setup = Setup::file("");
    let file = setup.beside("secret", &"x".repeat(70_000));
    let setup = setup.var("PATCHBAY__WORKERS__SECRETS_FILE", &file);
    assert!(setup.refused("workers.secrets_file").message.contains("larger"));
}

#[test]
fn secrets_are_never_shown() {
    let config = Setup::file(&format!(
        "[providers.acme]\nwebhook_secrets = ['{CANARY}1', '{CANARY}2']"
    ))
    .var("ACME_CLIENT_KEY", "id")
    .var("ACME_CLIENT_SECRET", CANARY)
    .var("WORKER_SECRET", CANARY)
    .var("TOKEN_ENCRYPTION_KEY", HEX_CANARY)
    .var(
        "DATABASE_URL",
        &format!("postgres://user:{CANARY}@db/patchbay?sslpassword={CANARY}"),
    )
    .var("PATCHBAY__PROVIDERS__ACME__SETTINGS__EXTRA", CANARY)
    .load()
    .unwrap();
    let shown = config.effective();
    for text in [
        &shown,
        &format!("{config:?}"),
        &format!("{config:#?}"),
        &format!("{:?}", config.database),
    ] {
        assert!(!text.contains("canary") && !text.contains("c0ffee"), "{text}");
    }
    for line in [
        "client_secret = [set]  # ACME_CLIENT_SECRET\n",
        "webhook_secrets = [2 set]  # ",
        "secrets = [set]  # WORKER_SECRET\n",
        "key = [set]  # TOKEN_ENCRYPTION_KEY\n",
        "url = \"postgres://user:***@db/patchbay?***\"  # DATABASE_URL\n",
        "settings = { \"extra\" = [set] }  # PATCHBAY__PROVIDERS__ACME__SETTINGS__EXTRA\n",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
}

#[test]
fn problems_never_show_a_secret() {
    let setup = Setup::file(&format!(
        "
[server]
public_url = 'https://{CANARY}@example.com'
[database]
url = 'mysql://user:{CANARY}@db'
[encryption]
key = '{CANARY}'
[workers]
secrets = '{CANARY}'
[providers.acme]
client_id = 'a'
client_secret = ['{CANARY}']
webhook_secrets = [1234567890]
redirect_uri = 'no url {CANARY}'
settings = '{CANARY}'
"
    ));
    let text = setup.load().unwrap_err();
    assert_eq!(text.0.len(), 8, "{text}");
    for text in [text.to_string(), format!("{text:?}")] {
        assert!(!text.contains("canary") && !text.contains("1234567890"), "{text}");
    }
}

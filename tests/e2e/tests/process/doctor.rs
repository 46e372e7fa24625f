//! `patchbay doctor`, beside a running host and where there is none yet: each thing that a deployment gets wrong is
//! named, with what to do about it.

use std::os::unix::fs::PermissionsExt;

use patchbay_rig::{Api, Program, World, database::on_postgres};
use serde_json::Value;

/// The host's public name; calls to it go to the host itself.
const NAME: &str = "patchbay.example.com";
const PROOF: &str = "proofAbC123.txt";

/// What the doctor says of this machine's disk, and not of the deployment. What it makes of it, its own tests say.
const DISK: &str = "storage.space";

/// What the doctor says of each check: verdict, found, advice.
struct Told {
    text: String,
    findings: Vec<Value>,
}

impl Told {
    async fn by(program: &Program) -> Self {
        Self::with(program, &[]).await
    }

    async fn with(program: &Program, options: &[&str]) -> Self {
        let ran = program.run(&[&["doctor", "--json"], options].concat()).await;
        let text = ran.stdout();
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", ran.stderr()));
        let findings = report["findings"].as_array().unwrap().clone();
        let counted: u64 = ["ok", "warning", "error", "skipped"]
            .iter()
            .map(|verdict| report["summary"][verdict].as_u64().unwrap())
            .sum();
        assert_eq!(counted, findings.len() as u64, "{text}");
        let is_error = |finding: &Value| finding["verdict"] == "error";
        assert_eq!(ran.code(), Some(i32::from(findings.iter().any(is_error))), "{text}");
        for finding in &findings {
            let needs = matches!(finding["verdict"].as_str().unwrap(), "warning" | "error");
            assert_eq!(finding["advice"].is_string(), needs, "{finding}");
        }
        Self { text, findings }
    }

    #[track_caller]
    fn of(&self, check: &str) -> (&str, &str, &str) {
        let mut named = self.findings.iter().filter(|finding| finding["check"] == check);
        let finding = named
            .next()
            .unwrap_or_else(|| panic!("nothing about {check} in {}", self.text));
        assert!(named.next().is_none(), "{check} is there twice in {}", self.text);
        let text = |field: &str| finding[field].as_str().unwrap_or_default();
        (text("verdict"), text("found"), text("advice"))
    }

    #[track_caller]
    fn is(&self, check: &str, verdict: &str, says: &str) {
        let (found, seen, advice) = self.of(check);
        assert_eq!(found, verdict, "{check}: {seen} {advice}");
        assert!(
            seen.contains(says) || advice.contains(says),
            "{check} does not say {says:?}: {seen} -> {advice}"
        );
    }

    /// All that are of this verdict, but for the disk.
    fn all(&self, verdict: &str) -> Vec<&str> {
        let named = self.findings.iter();
        let named = named.filter(|finding| finding["verdict"] == verdict && finding["check"] != DISK);
        named.map(|finding| finding["check"].as_str().unwrap()).collect()
    }
}

/// A program that platforms reach under a name of its own.
fn public(world: &World) -> Program {
    let here = format!("127.0.0.1:{}", world.program.port);
    let callback = format!("http://{here}/api/platforms/tiktok/callback");
    world
        .program
        .clone()
        .with("PATCHBAY__SERVER__PUBLIC_URL", format!("https://{NAME}"))
        .with("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", format!("{NAME}={here}"))
        .with("PATCHBAY__SITE__FILES", format!("{PROOF}=the=proof"))
        // Browsers come back as ever.
        .with("TIKTOK_REDIRECT_URI", callback)
}

#[tokio::test]
async fn where_nothing_is_yet_nothing_is_wrong_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::bare(dir.path());
    let told = Told::by(&program).await;
    assert_eq!(told.all("error"), [""; 0], "{}", told.text);
    told.is("database.connection", "ok", "made at the first start");
    told.is("encryption.key", "ok", "back it up");
    told.is("storage.dir", "ok", "made at the first start");
    told.is("site.public_url", "ok", "simulated");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the log of this test: {left:?}");
    let shown = program.run(&["doctor"]).await.stdout();
    assert!(shown.contains("ok       database.connection: "), "{shown}");
    assert_eq!(shown.contains(" 0 errors, "), told.of(DISK).0 != "error", "{shown}");
}

/// Everything in the database but the row that shows whether it takes writes.
async fn held(world: &World) -> String {
    let dump = world.database.dump().await;
    let (before, after) = dump.split_once("\nprobe\n").unwrap();
    format!("{before}{}", after.split_once("\npull_urls\n").unwrap().1)
}

async fn beside_a_host(world: World) {
    let program = public(&world);
    let host = program.serve().await;
    let before = held(&world).await;
    let told = Told::by(&program).await;
    for check in [
        "database.connection",
        "database.schema",
        "database.write",
        "database.clock",
        "encryption.key",
        "encryption.fits",
        "storage.dir",
        "workers.queue",
        "site.public_url",
        &format!("site.files./{PROOF}"),
        &format!("site.files./api/media/pull/{PROOF}"),
        "providers.tiktok.settings",
        "providers.tiktok.media_links",
        "providers.tiktok.webhooks",
        "providers.tiktok.clock",
        "providers.tiktok.credentials",
    ] {
        told.is(check, "ok", "");
    }
    told.is(
        "providers.tiktok.redirect_uri",
        "warning",
        "is not this host's callback",
    );
    assert_eq!(told.all("error"), [""; 0], "{}", told.text);
    assert_eq!(world.calls("token"), 1, "the platform was asked once");
    let secrets = &world.secrets;
    for secret in [
        &secrets.client_secret,
        &secrets.webhook_secret,
        &secrets.worker_secret,
        &secrets.master_key,
    ] {
        assert!(!told.text.contains(secret.as_str()), "a secret is shown");
    }
    assert_eq!(held(&world).await, before, "looking changes nothing");

    let told = Told::with(&program, &["--offline"]).await;
    told.is("providers.tiktok.credentials", "skipped", "nobody is called");
    told.is("site.public_url", "skipped", "nobody is called");
    assert_eq!(world.calls("token"), 1, "nobody was asked");
    host.stop().await;
}

#[tokio::test]
async fn a_deployment_that_works_is_told_so_on_sqlite() {
    beside_a_host(World::on_sqlite().await).await;
}

#[tokio::test]
async fn a_deployment_that_works_is_told_so_on_postgres() {
    on_postgres(async |database| beside_a_host(World::on(database).await).await).await;
}

/// Changes something, and tells what the doctor says of it.
async fn changed(program: &Program, changes: &[(&str, &str)]) -> Told {
    let mut program = program.clone();
    for (name, value) in changes {
        program = program.with(name, *value);
    }
    Told::by(&program).await
}

#[tokio::test]
async fn what_a_first_deployment_gets_wrong_is_named_with_what_to_do() {
    let world = World::on_sqlite().await;
    let program = public(&world);
    let (host, api): (_, Api) = world.start().await;
    world.connect(&api, "ada_public").await;
    host.stop().await;
    let host = program.serve().await;

    let wrong_secret = changed(&program, &[("TIKTOK_CLIENT_SECRET", "not-the-secret-of-this-app")]).await;
    wrong_secret.is("providers.tiktok.credentials", "error", "invalid_client");
    assert!(
        !wrong_secret.text.contains("not-the-secret-of-this-app"),
        "{}",
        wrong_secret.text
    );

    let redirect = ("TIKTOK_REDIRECT_URI", "https://patchbay.example.com/back?to=here");
    changed(&program, &[redirect])
        .await
        .is("providers.tiktok.redirect_uri", "error", "without query");
    let own = format!("https://{NAME}/api/platforms/tiktok/callback");
    changed(&program, &[("TIKTOK_REDIRECT_URI", &own)]).await.is(
        "providers.tiktok.redirect_uri",
        "ok",
        "letter by letter",
    );

    let other = "0123456789abcdef".repeat(4);
    changed(&program, &[("TOKEN_ENCRYPTION_KEY", &other)])
        .await
        .is("encryption.fits", "error", "from its backup");

    // Another program answers under the public name.
    let elsewhere = format!("{NAME}={}", world.tiktok.api);
    let told = changed(&program, &[("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", &elsewhere)]).await;
    told.is("site.public_url", "error", "without changing paths");
    told.is("providers.tiktok.webhooks", "error", "pass POST requests");
    let nobody = format!("{NAME}=127.0.0.1:{}", patchbay_rig::host::free_port());
    changed(&program, &[("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", &nobody)])
        .await
        .is("site.public_url", "error", "Start `patchbay serve` first");
    // An address that platforms cannot reach.
    changed(&program, &[("PATCHBAY__SERVER__PUBLIC_URL", "https://10.1.2.3")])
        .await
        .is("site.public_url", "error", "public addresses alone");

    // The running host has another proof than the configuration.
    changed(&program, &[("PATCHBAY__SITE__FILES", "proofAbC123.txt=newer")])
        .await
        .is(&format!("site.files./{PROOF}"), "error", "Start the host again");
    host.stop().await;
}

#[tokio::test]
async fn a_live_deployment_is_held_to_more() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::bare(dir.path())
        .with("TIKTOK_CLIENT_KEY", "public-client-key")
        .with("TIKTOK_CLIENT_SECRET", "secret-of-the-client");
    let told = Told::with(&program, &["--offline"]).await;
    told.is("site.public_url", "error", "server.tls_cert");
    told.is("site.privacy", "warning", "site.privacy_file");
    told.is("site.terms", "warning", "site.terms_file");
    told.is("providers.tiktok.media_links", "warning", "https");

    let key = dir.path().join("master.key");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let terms = dir.path().join("terms.md");
    std::fs::write(&terms, "# Terms\n").unwrap();
    let program = program
        .with("PATCHBAY__ENCRYPTION__KEY_FILE", key.display().to_string())
        .with("PATCHBAY__SITE__TERMS_FILE", terms.display().to_string())
        .with("PATCHBAY__SERVER__PUBLIC_URL", "https://app.example.com");
    let told = Told::with(&program, &["--offline"]).await;
    told.is("encryption.key", "error", "chmod 600");
    told.is("site.terms", "ok", "/terms");
    told.is("providers.tiktok.redirect_uri", "ok", "letter by letter");
    told.is("providers.tiktok.media_links", "warning", "site.files");

    let ran = program.without("TIKTOK_CLIENT_SECRET").run(&["doctor"]).await;
    assert_eq!(ran.code(), Some(78), "{}", ran.stdout());
    assert!(
        ran.stderr().contains("providers.tiktok.client_secret"),
        "{}",
        ran.stderr()
    );
}

#[tokio::test]
async fn a_database_that_does_not_serve_is_told() {
    on_postgres(async |database| {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::bare(dir.path())
            .with("DATABASE_URL", database.url())
            .with("PATCHBAY__DATABASE__ALLOW_UNSAFE_DURABILITY", "true");
        let told = Told::by(&program).await;
        told.is("database.schema", "warning", "patchbay migrate");
        told.is("encryption.fits", "skipped", "no database");
        program.run(&["migrate"]).await.succeeded();
        Told::by(&program).await.is("database.schema", "ok", "");
        let gone = program.with("DATABASE_URL", "postgres://nobody:very-secret@127.0.0.1:1/nothing");
        let told = Told::by(&gone).await;
        told.is("database.connection", "error", "the server runs");
        assert!(!told.text.contains("very-secret"), "{}", told.text);
    })
    .await;
}

#[tokio::test]
async fn work_that_nobody_does_is_told() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let (host, api): (_, Api) = world.start().await;
        world.connect(&api, "ada_public").await;
        host.stop().await;
        Told::by(&world.program).await.is("workers.queue", "ok", "");
        let late = "UPDATE jobs SET run_at = run_at - INTERVAL '1 year', due_at = due_at - INTERVAL '1 year'";
        assert!(world.database.execute(late).await > 0);
        Told::by(&world.program)
            .await
            .is("workers.queue", "error", "nobody does it");
    })
    .await;
}

/// Lane `wasm` of `tests/run` builds what is loaded here.
mod components {
    use std::{fs, path::Path};

    use patchbay_rig::components::TIKTOK_HOSTS;

    use super::*;
    use crate::components::component;

    const CLIENT_ID: &str = "PATCHBAY__PROVIDERS__NOTEPAD__CLIENT_ID";
    const HOSTS: [&str; 4] = ["--allow-host", "api.notepad.example", "--allow-host", "notepad.example"];

    fn program(dir: &Path, folder: &Path) -> Program {
        Program::bare(dir)
            .with("PATCHBAY__WASM__DIR", folder.display().to_string())
            // Compiled by a program that is not optimised.
            .with("PATCHBAY__WASM__COMPILE_SECONDS", "300")
            .with(CLIENT_ID, "client")
            .with("PATCHBAY__PROVIDERS__NOTEPAD__CLIENT_SECRET", "secret-of-the-client")
    }

    #[tokio::test]
    async fn each_component_that_would_not_be_loaded_is_told_with_its_fix() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("components");
        let program = program(dir.path(), &folder);
        let look = async |program: &Program| Told::with(program, &["--offline"]).await;
        let told = look(&program).await;
        told.is("components.dir", "warning", "patchbay providers add");
        assert!(!folder.exists());

        let notepad = component("patchbay-example-provider");
        let add = [&["providers", "add", &notepad], &HOSTS[..]].concat();
        program.run(&add).await.succeeded();
        let told = look(&program).await;
        told.is("components.dir", "ok", "");
        told.is("components.notepad", "ok", "api.notepad.example");
        let online = Told::by(&program).await;
        online.is("components.notepad", "ok", "may reach");
        assert!(!dir.path().join("data").exists(), "no compiled code is kept");

        // No app: as the host, until it is set.
        look(&program.clone().without(CLIENT_ID)).await.is(
            "components.notepad",
            "error",
            "providers.notepad.client_id",
        );

        // Another grant, another file, no file, half a file.
        let pins = folder.join("components.toml");
        let good = fs::read_to_string(&pins).unwrap();
        let narrower = good.replace("\"notepad.example\"", "\"example.com\"");
        assert_ne!(good, narrower);
        fs::write(&pins, narrower).unwrap();
        let told = look(&program).await;
        told.is("components.notepad", "error", "(host_not_granted)");
        told.is("components.notepad", "error", "--allow-host 'notepad.example'");
        fs::write(&pins, &good).unwrap();
        let file = good.split("file = \"").nth(1).unwrap().split('"').next().unwrap();
        let (file, name) = (folder.join(file), file);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, [&bytes[..], &[0, 3, 1, b'x', 1]].concat()).unwrap();
        let told = look(&program).await;
        told.is("components.notepad", "error", "(digest)");
        told.is("components.notepad", "error", "load it with `patchbay providers add`");
        fs::rename(&file, folder.join("stray.wasm")).unwrap();
        let told = look(&program).await;
        told.is("components.notepad", "error", "(unreadable)");
        told.is("components.notepad", "error", name);
        told.is("components.stray.wasm", "warning", "(not_pinned)");
        told.is("components.stray.wasm", "warning", "or delete it");

        // Nothing is named, and what is there cannot be read.
        fs::write(&pins, "").unwrap();
        let told = look(&program).await;
        told.is("components.pins", "warning", "names none");
        told.is("components.stray.wasm", "warning", "not_pinned");
        fs::write(&pins, "[notepad]\nfile = \"../x.wasm\"\n").unwrap();
        look(&program).await.is("components.pins", "error", "components.toml");

        // Whoever writes there decides what runs.
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        look(&program).await.is("components.dir", "warning", "chmod go-w");
    }

    /// A component in the place of what is built in, beside a host that serves it.
    #[tokio::test]
    async fn a_component_that_serves_is_told_so() {
        let world = World::on_sqlite().await;
        let folder = world.dir.path().join("components");
        let program = world
            .program
            .clone()
            .with("PATCHBAY__WASM__DIR", folder.display().to_string())
            .with("PATCHBAY__WASM__COMPILE_SECONDS", "300");
        let tiktok = component("patchbay-component-tiktok");
        let flags = TIKTOK_HOSTS.iter().flat_map(|host| ["--allow-host", host]);
        let add = ["providers", "add", &tiktok, "--replace-built-in"]
            .into_iter()
            .chain(flags);
        program.run(&add.collect::<Vec<_>>()).await.succeeded();
        let host = program.serve().await;
        let told = Told::by(&program).await;
        told.is("components.tiktok", "ok", "open.tiktokapis.com");
        told.is("providers.tiktok.credentials", "ok", "takes client_id");
        let pins = folder.join("components.toml");
        let alone = fs::read_to_string(&pins)
            .unwrap()
            .replace("replaces_built_in = true", "");
        fs::write(&pins, alone).unwrap();
        Told::by(&program)
            .await
            .is("components.tiktok", "error", "replaces_built_in = true");
        host.stop().await;
    }
}

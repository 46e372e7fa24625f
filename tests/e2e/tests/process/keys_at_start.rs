//! The master key and what is sealed under it, across starts (T20 to T22), and the one host of a SQLite file (T92).

use patchbay_rig::{
    Api, Program, World,
    world::{call_back, pull_post},
};
use std::os::unix::fs::PermissionsExt;

/// `EX_CONFIG`: a restart does not help.
const EXIT_CONFIG: Option<i32> = Some(78);

#[tokio::test]
async fn t22_a_wrong_missing_or_regenerated_key_ends_the_start_and_changes_nothing() {
    let world = World::on_sqlite().await;
    let file = world.dir.path().join("data/master.key");
    let program = world.program.clone().without("TOKEN_ENCRYPTION_KEY");
    let key = program.run(&["keys", "create"]).await.succeeded().stdout();
    let made = std::fs::read_to_string(&file).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(
        (mode & 0o777, made.trim().len()),
        (0o600, 64),
        "a key was made in the empty database"
    );
    let host = program.serve().await;
    let api = Api::new(&host.url, Some(key.trim()));
    let account = world.connect(&api, "ada_public").await.id;
    host.kill().await;
    let before = world.database.dump().await;
    assert!(
        before.contains(&hex::encode_upper(account_bytes(&account))),
        "the dump holds the account"
    );

    // Where a port is taken and the key is wrong, the key is what the operator is told of: nothing listens before.
    let taken = std::net::TcpListener::bind(("127.0.0.1", program.port)).unwrap();
    let wrong = "0123456789abcdef".repeat(4);
    let mut runs = vec![
        (
            "regenerated",
            program.clone().with("TOKEN_ENCRYPTION_KEY", &wrong),
            "does not fit this database",
        ),
        (
            "malformed variable",
            program.clone().with("TOKEN_ENCRYPTION_KEY", "zz"),
            "64 hexadecimal characters",
        ),
    ];
    for (what, text, message) in [
        ("wrong file", Some(&*wrong), "does not fit this database"),
        ("malformed file", Some("not a key"), "64 hexadecimal characters"),
        ("missing file", None, "Put the key back from its backup"),
    ] {
        let other = world.dir.path().join(what.replace(' ', "-"));
        if let Some(text) = text {
            std::fs::write(&other, text).unwrap();
        }
        let path = other.display().to_string();
        runs.push((
            what,
            program.clone().with("PATCHBAY__ENCRYPTION__KEY_FILE", path),
            message,
        ));
    }
    for (what, program, message) in &runs {
        for command in [&["serve"][..], &["keys", "create"][..]] {
            let ran = program.run(command).await;
            assert_eq!(ran.code(), EXIT_CONFIG, "{what}, {command:?}: {}", ran.stderr());
            assert!(ran.stderr().contains(message), "{what}: {}", ran.stderr());
            assert!(!ran.stderr().contains(&wrong), "{what}: the message shows the key");
            assert_eq!(
                world.database.dump().await,
                before,
                "{what}, {command:?}: rows were changed"
            );
        }
    }
    assert!(
        !world.dir.path().join("missing-file").exists(),
        "no key is made where something is sealed"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), made);
    drop(taken);

    // The same key by the other door.
    let host = program.clone().with("TOKEN_ENCRYPTION_KEY", made.trim()).serve().await;
    api.at(&host.url)
        .get(&format!("/api/platforms/tiktok/accounts/{account}/publish-options"))
        .await
        .ok();
}

#[tokio::test]
async fn t20_t21_a_sealed_token_that_was_moved_or_put_back_opens_nothing() {
    let world = World::on_sqlite().await;
    let idle = world.program.clone().with("PATCHBAY__WORKERS__ENABLED", "false");
    let key = world.key().await;
    let mut host = idle.serve().await;
    let api = Api::new(&host.url, Some(&key));
    let ada = world.connect(&api, "ada_public").await.id;
    let quinn = world.connect(&api, "quinn_quiet").await.id;
    world
        .database
        .execute("CREATE TABLE older AS SELECT id, tokens FROM accounts")
        .await;
    let options = |account: &str| format!("/api/platforms/tiktok/accounts/{account}/publish-options");
    world.database.age_tokens().await;
    for account in [&ada, &quinn] {
        api.get(&options(account)).await.ok();
    }
    world
        .database
        .execute("CREATE TABLE newer AS SELECT id, tokens FROM accounts")
        .await;
    let put = |table: &str, which: &str| {
        format!("UPDATE accounts SET tokens = (SELECT tokens FROM {table} WHERE {table}.id {which} accounts.id)")
    };
    let right = put("newer", "=");

    for (what, wrong) in [
        ("put back", put("older", "=")),
        ("moved to another row", put("newer", "<>")),
    ] {
        let posts = [
            api.publish(&pull_post(&ada, &format!("{what}, ada"))).await,
            api.publish(&pull_post(&quinn, &format!("{what}, quinn"))).await,
        ];
        assert_eq!(world.database.execute(&wrong).await, 2);
        let calls = world.tiktok.journal().calls().len();
        let answer = api.get(&options(&ada)).await;
        assert_eq!(answer.status.as_u16(), 500, "{what}: {}", answer.text);
        host.kill().await;
        host = world.program.serve().await;
        for post in &posts {
            let post = api.post_becomes(post, "failed").await;
            assert_eq!(post["failure"]["code"], "sealed_tokens", "{what}");
        }
        assert_eq!(
            world.tiktok.journal().calls().len(),
            calls,
            "{what}: the platform was called"
        );
        host.kill().await;
        world.database.execute(&right).await;
        host = idle.serve().await;
        api.get(&options(&ada)).await.ok();
    }

    let begun = world.consent(&api, "ada_public").await;
    assert_eq!(
        world
            .database
            .execute("UPDATE flows SET sealed = (SELECT tokens FROM newer LIMIT 1)")
            .await,
        1
    );
    let exchanges = world.calls("token");
    let landed = call_back(&api, &begun).await;
    assert!(
        landed.header("location").contains("error="),
        "moved to another column: {landed:?}"
    );
    assert_eq!(world.calls("token"), exchanges);
    host.stop().await;
}

#[tokio::test]
async fn t92_a_second_host_on_one_sqlite_file_is_refused_and_the_first_one_works_on() {
    let world = World::on_sqlite().await;
    let (host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    // It stands still meanwhile, so that all that changes is the second one's doing.
    host.freeze().await;
    let before = world.database.dump().await;
    let second: Program = world.replica();
    let refused = second.run(&["serve"]).await;
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr());
    assert!(
        refused.stderr().contains("is in use by another Patchbay"),
        "{}",
        refused.stderr()
    );
    assert_eq!(world.database.integrity().await, ["ok"]);
    assert_eq!(world.database.dump().await, before);
    host.thaw().await;

    // A key is made beside the running host, and is good there at once.
    let key = second.run(&["keys", "create"]).await.succeeded().stdout();
    let post = api
        .with_key(Some(key.trim()))
        .publish(&pull_post(&account, "still here"))
        .await;
    api.post_becomes(&post, "published").await;
    assert_eq!(world.database.integrity().await, ["ok"]);
    // The lock ends with its process, however that ends.
    host.kill().await;
    second.serve().await.stop().await;
}

/// The bytes of an id, as the database keeps them.
fn account_bytes(id: &str) -> Vec<u8> {
    hex::decode(id.strip_prefix("acc_").unwrap()).unwrap()
}

//! A component that does what no component may (`tests/hostile`), in a whole host beside others' work: by posts, by connects,
//! by webhooks, and as files in the folder. Each is stopped or refused by name, nothing of it happens twice, and whoever else
//! is served does not notice. What its
//! posts come to stands in `patchbay_rig::hostile`. Lane `wasm` of `tests/run` builds the component.

use std::{fs::File, sync::atomic::Ordering, time::Duration};

use patchbay_rig::hostile::{POSTED, Platform, SECRET};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    components::{Folder, Pin, component, loading, state, tiktok},
    harness::{ADA, Api, POSTS, Setup, World, id_of, pull_post, query, send, webhook},
};

#[path = "../../../../host/wasm/tests/it/made.rs"]
#[expect(dead_code, reason = "some of it is for tests of the engine")]
mod made;

/// Longer than a post is tried again after passing faults.
const GIVEN_UP: Duration = Duration::from_hours(25);

/// Hosts that the component `inside` may reach: the second name leads to this machine.
const HOSTS: [&str; 2] = ["api.hostile.example", "inside.example.com"];

fn hostile(id: &'static str, folder: &Folder) -> Pin<'static> {
    let hosts = HOSTS[..if id == "inside" { 2 } else { 1 }].to_vec();
    Pin(id, "hostile.wasm", folder.digest("hostile.wasm"), hosts, "")
}

/// A host with TikTok and two hostile providers, all of them components.
async fn world(platform: &Platform, folder: &Folder) -> World {
    folder.put("hostile.wasm", &component("patchbay-hostile"));
    folder.put("tiktok.wasm", &component("patchbay-component-tiktok"));
    folder.pin(&[tiktok(folder), hostile("hostile", folder), hostile("inside", folder)]);
    let mut setup = loading(Setup::default(), folder)
        // What is endless need not last.
        .set("PATCHBAY__WASM__CPU_SECONDS", "1")
        .set("PATCHBAY__PROVIDERS__HOSTILE__ENVIRONMENT", "simulator")
        .set(
            "PATCHBAY__PROVIDERS__HOSTILE__SIMULATOR_HOSTS",
            format!("api.hostile.example={}", platform.address),
        )
        .set("PATCHBAY__PROVIDERS__INSIDE__SETTINGS__ID", "inside")
        .set("PATCHBAY__PROVIDERS__INSIDE__SETTINGS__DESCRIBE", "inside")
        .set("PATCHBAY__PROVIDERS__ADDRESS__SETTINGS__ID", "address")
        .set("PATCHBAY__PROVIDERS__ADDRESS__SETTINGS__DESCRIBE", "address")
        .set("PATCHBAY__PROVIDERS__LOOPS__SETTINGS__DESCRIBE", "loop");
    for (id, secret) in [
        (
            "PATCHBAY__PROVIDERS__HOSTILE__CLIENT_ID",
            "PATCHBAY__PROVIDERS__HOSTILE__CLIENT_SECRET",
        ),
        (
            "PATCHBAY__PROVIDERS__INSIDE__CLIENT_ID",
            "PATCHBAY__PROVIDERS__INSIDE__CLIENT_SECRET",
        ),
        (
            "PATCHBAY__PROVIDERS__ADDRESS__CLIENT_ID",
            "PATCHBAY__PROVIDERS__ADDRESS__CLIENT_SECRET",
        ),
        (
            "PATCHBAY__PROVIDERS__LOOPS__CLIENT_ID",
            "PATCHBAY__PROVIDERS__LOOPS__CLIENT_SECRET",
        ),
        (
            "PATCHBAY__PROVIDERS__BOMB__CLIENT_ID",
            "PATCHBAY__PROVIDERS__BOMB__CLIENT_SECRET",
        ),
    ] {
        setup = setup.set(id, "client").set(secret, SECRET);
    }
    let world = setup.build().await;
    for component in world.components().await {
        assert!(component["serving"].is_object(), "{component}");
    }
    world
}

/// Connects whoever it is; `how`: what the component does meanwhile. Gives where the browser lands.
async fn connect(world: &World, provider: &str, how: &str) -> String {
    let started = world.api.get(&format!("/api/platforms/{provider}/authorize")).await;
    let state = query(&started.location(), "state").unwrap();
    let callback = format!(
        "{}/api/platforms/{provider}/callback?code=the-code&state={state}&how={}",
        world.api.base,
        url::form_urlencoded::byte_serialize(how.as_bytes()).collect::<String>()
    );
    world.callback(&callback, Some(&started.cookie())).await.location()
}

async fn account(world: &World, provider: &str) -> String {
    let landed = connect(world, provider, "").await;
    query(&landed, "account").unwrap_or_else(|| panic!("{landed}"))
}

async fn publish(api: &Api, provider: &str, account: &str, text: &str) -> String {
    let wanted = json!({ "account_id": account, "kind": "text", "text": text, "allow_duplicate": true });
    let posts = format!("/api/platforms/{provider}/posts");
    id_of(&api.post(&posts, &wanted).await.with(202))
}

fn outcome(post: &Value) -> (&str, &str) {
    (
        post["status"].as_str().unwrap_or_default(),
        post["failure"]["code"].as_str().unwrap_or_default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_posts_ask_of_it_ends_by_name_and_others_are_published() {
    let (platform, folder) = (Platform::start().await.unwrap(), Folder::new());
    let world = world(&platform, &folder).await;
    let others = [world.tenant("north").await, world.tenant("south").await];
    let mut published = Vec::new();
    for (other, name) in others.iter().zip([ADA, "pia_private"]) {
        let account = world.connect_as(other, name).await;
        let mut wanted = pull_post(&account);
        if name != ADA {
            wanted["options"]["privacy_level"] = json!("SELF_ONLY");
        }
        for _ in 0..4 {
            published.push((other, id_of(&other.post(POSTS, &wanted).await.with(202))));
        }
    }
    let account = account(&world, "hostile").await;
    let posts = "/api/platforms/hostile/posts";
    let endless = json!({ "account_id": account, "kind": "text", "text": "validate_loop" });
    let refused = world.api.post(posts, &endless).await.with(422);
    assert!(refused.to_string().contains("component_cpu_limit"), "{refused}");
    let mut hostile = Vec::new();
    for (how, ..) in POSTED {
        hostile.push(publish(&world.api, "hostile", &account, how).await);
    }
    let inside = {
        let account = self::account(&world, "inside").await;
        publish(&world.api, "inside", &account, "inside").await
    };

    // At once: all that is due, until every other post is out.
    let mut open = published;
    for _ in 0..100 {
        world.drain().await;
        let mut still = Vec::new();
        for (api, id) in open {
            let post = api.get(&format!("{POSTS}/{id}")).await.ok();
            assert!(post["failure"].is_null(), "{post}");
            if post["status"] != "published" {
                still.push((api, id));
            }
        }
        open = still;
        if open.is_empty() {
            break;
        }
        world.advance(Duration::from_secs(2));
    }
    assert!(open.is_empty(), "{} posts of others are not out", open.len());

    world.advance(GIVEN_UP);
    world.drain().await;
    for ((how, status, code, commits), id) in POSTED.iter().zip(&hostile) {
        let path = format!("{posts}/{id}");
        let post = world.api.get(&path).await.ok();
        println!("{how}: {:?}", outcome(&post));
        assert_eq!(outcome(&post).0, *status, "{how}: {post}");
        assert!(code.split(' ').any(|code| code == outcome(&post).1), "{how}: {post}");
        let journal = world.api.get(&format!("{path}/journal")).await.ok();
        assert_eq!(journal["data"].as_array().unwrap().len(), *commits, "{how}: {journal}");
    }
    let wanted: usize = POSTED.iter().map(|(.., commits)| commits).sum();
    assert_eq!(
        platform.commits.load(Ordering::Relaxed),
        wanted,
        "nothing happens twice"
    );
    let looks = platform.looks.load(Ordering::Relaxed);
    assert!(looks > 0 && looks % 64 == 0, "{looks} of the flood came: 64 a call");
    let post = world
        .api
        .get(&format!("/api/platforms/inside/posts/{inside}"))
        .await
        .ok();
    println!("inside: {:?}", outcome(&post));
    assert_eq!(outcome(&post), ("failed", "blocked"), "{post}");
    assert_eq!(platform.inside.load(Ordering::Relaxed), 0, "no redirect is followed");
    assert_eq!(world.api.get("/api/platforms").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connect_and_a_webhook_ask_of_it_ends_by_name() {
    let (platform, folder) = (Platform::start().await.unwrap(), Folder::new());
    let world = world(&platform, &folder).await;
    for (how, code) in [
        ("loop", "provider_unavailable"),
        ("memory", "provider_unavailable"),
        ("panic", "provider_unavailable"),
        ("https://169.254.169.254/", "rejected_by_provider"),
    ] {
        let others = futures_util::future::join_all((0..3).map(|_| world.api.get("/api/platforms")));
        let (others, landed) = tokio::join!(others, connect(&world, "hostile", how));
        println!("{how}: {landed}");
        assert_eq!(query(&landed, "code").as_deref(), Some(code), "{how}: {landed}");
        assert!(others.iter().all(|answer| answer.status == 200));
    }
    let accounts = world.api.get("/api/platforms/hostile/accounts").await.ok();
    assert_eq!(accounts["data"], json!([]), "nobody was connected");

    world.connect().await;
    for (how, code) in [
        ("loop", "component_cpu_limit"),
        ("memory", "component_memory_limit"),
        ("recursion", "component_stack_limit component_trap"),
        // Reading a webhook has no way out at all.
        ("https://169.254.169.254/", "component_trap"),
    ] {
        let hostile = world
            .api
            .with_key(None)
            .request(Method::POST, "/api/platforms/hostile/webhooks");
        let signed = hostile.header("hostile-signature", webhook::mac(SECRET, how.as_bytes()));
        assert_eq!(send(signed.body(how)).await.status, 200);
        let event = webhook::body(
            "some.event",
            &world.open_id(ADA),
            world.now(),
            &json!({ "beside": how }),
        );
        assert_eq!(world.deliver(event).await.status, 200);
        world.drain().await;
        let dead = world.api.get("/api/dead-letters?limit=1").await.ok();
        println!("{how}: {dead}");
        assert!(
            code.split(' ').any(|code| dead["data"][0]["code"] == code),
            "{how}: {dead}"
        );
        world.advance(Duration::from_secs(1));
    }
    let events = world
        .number("SELECT count(*) FROM events WHERE name = 'some.event'")
        .await;
    assert_eq!(events, 4, "those that came beside were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_component_is_refused_by_name() {
    let (platform, folder) = (Platform::start().await.unwrap(), Folder::new());
    let world = world(&platform, &folder).await;
    let hostile_component = component("patchbay-hostile");
    // What this very host has compiled, in the clear: only its cache may hold such.
    let compiled = std::fs::read_dir(world.folder.path().join("component-code")).unwrap();
    let compiled = std::fs::read(compiled.map(|file| file.unwrap().path()).next().unwrap()).unwrap();
    let bomb = |code: &str| made::starting_with(&made::provider_wit(), code);
    let grow = "(drop (table.grow $t (ref.null func) (i32.const 1000000)))";
    for (what, bytes, code, reason) in [
        (
            "truncated",
            hostile_component[..hostile_component.len() / 3].to_vec(),
            "damaged",
            "",
        ),
        ("precompiled", compiled[32..].to_vec(), "no_component", "machine code"),
        ("from the cache", compiled.clone(), "no_component", ""),
        (
            "table bomb",
            bomb(&format!("(table $t 1 funcref) (func $b {grow}) (start $b)")),
            "describe",
            "component_table_limit",
        ),
        (
            "loops at its start",
            bomb("(func $b (loop $again (br $again))) (start $b)"),
            "describe",
            "component_cpu_limit",
        ),
        (
            "recurses at its start",
            bomb("(func $b (call $b)) (start $b)"),
            "describe",
            "component_stack_limit",
        ),
    ] {
        folder.put("bomb.wasm", &bytes);
        let bomb = Pin("bomb", "bomb.wasm", folder.digest("bomb.wasm"), vec![], "");
        folder.pin(&[
            tiktok(&folder),
            hostile("hostile", &folder),
            hostile("inside", &folder),
            bomb,
        ]);
        refused(&world, "bomb.wasm", what, code, reason).await;
    }
    // A component's header and then nothing: so large a file is not read to its end.
    folder.put("bomb.wasm", &hostile_component[..8]);
    let file = File::options()
        .write(true)
        .open(folder.path().join("bomb.wasm"))
        .unwrap();
    file.set_len(200 << 20).unwrap();
    let bomb = Pin("bomb", "bomb.wasm", "0".repeat(64), vec![], "");
    folder.pin(&[
        tiktok(&folder),
        hostile("hostile", &folder),
        hostile("inside", &folder),
        bomb,
    ]);
    refused(&world, "bomb.wasm", "200 MiB", "too_large", "").await;

    // A name in the manifest that is an address, and one that never says what it is.
    for (id, code, reason) in [
        ("address", "manifest", "169.254.169.254"),
        ("loops", "describe", "component_cpu_limit"),
    ] {
        folder.put(&format!("{id}.wasm"), &hostile_component);
        let file: &str = format!("{id}.wasm").leak();
        let pin = Pin(
            id,
            file,
            folder.digest(file),
            vec!["api.hostile.example", "169.254.169.254"],
            "",
        );
        folder.pin(&[
            tiktok(&folder),
            hostile("hostile", &folder),
            hostile("inside", &folder),
            pin,
        ]);
        refused(&world, file, id, code, reason).await;
    }
    world.connect().await;
    account(&world, "hostile").await;
}

async fn refused(world: &World, file: &str, what: &str, code: &str, reason: &str) {
    world.look().await;
    let components = world.components().await;
    assert_eq!(
        state(&components, file),
        (None, Some(code.to_owned())),
        "{what}: {components:?}"
    );
    let component = components.iter().find(|component| component["file"] == file).unwrap();
    println!("{what}: {}", component["refused"]);
    let told = component["refused"]["reason"].as_str().unwrap();
    assert!(told.contains(reason), "{what}: {told}");
    assert!(component["refused"]["fix"].as_str().unwrap().len() > 10, "{component}");
    for id in ["tiktok", "hostile", "inside"] {
        let serves = components.iter().find(|component| component["provider"] == id).unwrap();
        assert!(serves["serving"].is_object(), "{what}: {serves}");
    }
}

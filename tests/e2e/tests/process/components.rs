//! `patchbay providers`, and a host that follows the folder that it writes. Lane `wasm` of `tests/run` builds the components.

use std::time::Duration;

use patchbay_rig::{
    Api, World,
    components::{self, TIKTOK_HOSTS},
    until_within,
};

/// Compiling takes long in a program that is not optimised, on a machine that has other work.
const COMPILED: Duration = Duration::from_mins(5);

pub(crate) fn component(name: &str) -> String {
    components::component(name).display().to_string()
}

#[tokio::test]
async fn a_component_is_added_and_removed_by_the_command_line_while_a_host_runs() {
    let world = World::on_sqlite().await;
    let folder = world.dir.path().join("components");
    let program = world
        .program
        .clone()
        .with("PATCHBAY__WASM__DIR", folder.display().to_string())
        .with("PATCHBAY__WASM__POLL_SECONDS", "1")
        .with("PATCHBAY__WASM__COMPILE_SECONDS", "300")
        .with("PATCHBAY__PROVIDERS__NOTEPAD__CLIENT_ID", "client")
        .with("PATCHBAY__PROVIDERS__NOTEPAD__CLIENT_SECRET", "secret-of-the-client");
    let key = program.run(&["keys", "create"]).await.succeeded().stdout();
    let host = program.serve().await;
    let api = Api::new(&host.url, Some(key.trim()));
    let status = async || api.get("/api/platforms/notepad").await.status;
    assert_eq!(status().await, 404);

    let notepad = component("patchbay-example-provider");
    let shown = program.run(&["providers", "inspect", &notepad]).await.succeeded();
    for line in [
        "provider   notepad (Notepad)",
        "interface  patchbay:provider@0.1.0",
        "does       connect, publish",
        "hosts      api.notepad.example notepad.example",
        "call       POST    commit  note.create at api.notepad.example",
    ] {
        assert!(
            shown.stdout().contains(line),
            "{line} is missing in\n{}",
            shown.stdout()
        );
    }

    let refused = async |arguments: &[&str], words: &[&str]| {
        let ran = program.run(&[&["providers"], arguments].concat()).await;
        assert_eq!(ran.code(), Some(1), "{arguments:?}: {}", ran.stdout());
        for word in words {
            assert!(ran.stderr().contains(word), "{word} is missing in\n{}", ran.stderr());
        }
    };
    let fix = "--allow-host 'notepad.example'";
    refused(&["add", &notepad, "--allow-host", "api.notepad.example"], &[fix]).await;
    refused(&["add", "patchbay.log"], &["patchbay.log cannot be read"]).await;
    refused(&["remove", "notepad"], &["no component is loaded for notepad"]).await;
    let tiktok = component("patchbay-component-tiktok");
    let flags = TIKTOK_HOSTS.iter().flat_map(|host| ["--allow-host", host]);
    let add: Vec<_> = ["add", &tiktok].into_iter().chain(flags).collect();
    refused(&add, &["--replace-built-in"]).await;
    assert!(!folder.exists(), "what was refused has left nothing");

    let add = ["providers", "add", &notepad, "--allow-host", "api.notepad.example"];
    let added = program
        .run(&[&add[..], &["--allow-host", "notepad.example"]].concat())
        .await;
    assert!(added.succeeded().stdout().starts_with("notepad "));
    let listed = program.run(&["providers", "list"]).await.succeeded().stdout();
    assert!(listed.contains("notepad\tnotepad-"), "{listed}");
    until_within(COMPILED, "the host takes it up", async || {
        (status().await == 200).then_some(())
    })
    .await;

    program.run(&["providers", "remove", "notepad"]).await.succeeded();
    until_within(COMPILED, "the host lets it go", async || {
        (status().await == 404).then_some(())
    })
    .await;
    let left: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left, ["components.toml"]);
    host.stop().await;
}

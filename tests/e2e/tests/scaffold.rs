//! `patchbay new provider`: what it writes compiles as it is, outside of the checkout too, and keeps every law; and each
//! mistake of the guide's table is named by the law that the table says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use patchbay_rig::binary;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The file, a text in it, what somebody writes instead, and the law that says so. Each law has a row in the guide.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

/// Mistakes that do not hide each other are made together: each build takes longer than all laws.
const MISTAKES: &[&[Mistake]] = &[
    &[
        (
            "src/manifest.rs",
            "op::POST_CREATE, \"POST\", API, Commit)",
            "op::POST_CREATE, \"POST\", API, Prepare)",
            "publish::answer_lost",
        ),
        ("src/manifest.rs", "max: 500,", "max: 5,", "manifest::samples_fit"),
        (
            "src/manifest.rs",
            "limit: 30,",
            "limit: 40,",
            "rates::as_the_platform_counts",
        ),
        (
            "src/oauth.rs",
            "tokens.refresh_token.or(current)",
            "tokens.refresh_token.or(None.filter(|_| current.is_some()))",
            "oauth::rotation_kept",
        ),
        (
            "src/error.rs",
            "error.code != \"invalid_grant\"",
            "error.code == \"another\"",
            "oauth::fault_keeps_grant",
        ),
        (
            "src/publish.rs",
            "Duration::from_hours(24)",
            "Duration::from_hours(24_000)",
            "termination::pending",
        ),
        (
            "src/webhook.rs",
            "-signature\".into()",
            "-mac\".into()",
            "webhooks::genuine",
        ),
        (
            "src/webhook.rs",
            "dedupe_key: hook.id,",
            "dedupe_key: format!(\"{}{}\", hook.id, raw.received_at),",
            "webhooks::same_event_same_key",
        ),
    ],
    &[
        (
            "src/manifest.rs",
            ".secret(\"/refresh_token\", \"refresh_token\")",
            "",
            "secrets::fields_declared",
        ),
        (
            "src/api.rs",
            "&request.scopes.join(\" \")",
            "\"read\"",
            "oauth::authorize_url",
        ),
    ],
    &[
        // Here the simulator is wrong.
        (
            "simulator/src/posts.rs",
            "client_ref: new.client_ref,",
            "client_ref: new.client_ref.to_uppercase(),",
            "publish::answer_lost",
        ),
        (
            "src/webhook.rs",
            "dedupe_key: hook.id,",
            "dedupe_key: hook.name.clone(),",
            "webhooks::other_event_other_key",
        ),
    ],
];

#[test]
fn a_new_provider_keeps_every_law_and_each_mistake_is_named() {
    let folder = new_provider("pixel-gram", "scaffold", &[]);
    let report = conformance(&folder);
    let laws = report["laws"].as_array().unwrap();
    let with = |status: &str| laws.iter().filter(|law| law["status"] == status).count();
    assert_eq!((with("failed"), with("waived")), (0, 0), "{report:#}");
    // Beside media, numbers and refusals at 200, which it has not.
    assert_eq!(with("passed"), laws.len() - 6, "{report:#}");

    let guide = fs::read_to_string(Path::new(ROOT).join("docs/adding-a-provider.md")).unwrap();
    for together in MISTAKES {
        let good: Vec<_> = together
            .iter()
            .map(|(file, ..)| (folder.join(file), fs::read_to_string(folder.join(file)).unwrap()))
            .collect();
        for (file, text, instead, law) in *together {
            assert!(guide.contains(&format!("`{law}`")), "the guide does not name {law}");
            let path = folder.join(file);
            let now = fs::read_to_string(&path).unwrap();
            assert!(now.contains(text), "{file} has no {text}");
            fs::write(&path, now.replace(text, instead)).unwrap();
        }
        let report = conformance(&folder);
        let laws = report["laws"].as_array().unwrap();
        let broken: Vec<&str> = laws
            .iter()
            .filter(|law| law["status"] == "failed")
            .filter_map(|law| law["law"].as_str())
            .collect();
        for (file, _, instead, law) in *together {
            assert!(broken.contains(law), "{file}, {instead}: {law} is not among {broken:?}");
        }
        for (path, text) in good {
            fs::write(path, text).unwrap();
        }
    }
}

/// The way of the guide to a component and its laws. Lane `wasm` of `tests/run`.
mod components {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_new_providers_component_is_tried_by_its_case() {
        let crate_folder = new_provider("photo-wall", "scaffold-component/providers/photo-wall", &["--wasm"]);
        let root = crate_folder.parent().unwrap().parent().unwrap();
        // Nothing of it has been compiled before.
        let mut build = Command::new(Path::new(ROOT).join("providers/sdk/build"));
        build.arg(crate_folder.join("component")).arg("photo-wall.wasm");
        let built = as_from_a_shell(build.current_dir(root)).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let component = hex::encode(Sha256::digest(fs::read(root.join("photo-wall.wasm")).unwrap()));
        let tried = |arguments: &[&str], folder: &Path| {
            let arguments = [&["conformance"], arguments].concat();
            let ran = as_from_a_shell(Command::new(binary::patchbay()).args(arguments).current_dir(folder))
                .output()
                .unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
        };

        let (code, report, errors) = tried(&["--json", "photo-wall.wasm"], root);
        assert_eq!(code, Some(0), "{report}{errors}");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(
            (&report["provider"], &report["component"]),
            (&"photo-wall".into(), &component.clone().into())
        );
        let laws = report["laws"].as_array().unwrap();
        let with = |status: &str| laws.iter().filter(|law| law["status"] == status).count();
        assert_eq!(
            (with("passed"), with("not_applicable")),
            (laws.len() - 6, 6),
            "{report:#}"
        );
        let counted = report["groups"].as_object().unwrap().values();
        assert_eq!(
            counted.map(|group| group["passed"].as_u64().unwrap()).sum::<u64>(),
            with("passed") as u64
        );

        // What does not fit is told, and no law is tried: nothing here with its case, a case of another provider, no component.
        let elsewhere = tempfile::tempdir().unwrap();
        let file = root.join("photo-wall.wasm");
        let file = file.to_str().unwrap();
        let other = Path::new(ROOT).join("examples/provider");
        for (arguments, word) in [
            (&[file][..], "with --case"),
            (&["--case", other.to_str().unwrap(), file], "calls itself photo-wall"),
            (&["--case", other.to_str().unwrap(), "gone.wasm"], "gone.wasm"),
        ] {
            let (code, report, errors) = tried(arguments, elsewhere.path());
            assert_eq!((code, &*report), (Some(2), ""), "{errors}");
            assert!(errors.contains(word), "{word} is missing in {errors}");
        }

        // A broken law, in words for people.
        let simulator = crate_folder.join("simulator/src/posts.rs");
        let good = fs::read_to_string(&simulator).unwrap();
        let wrong = good.replace(
            "client_ref: new.client_ref,",
            "client_ref: new.client_ref.to_uppercase(),",
        );
        assert_ne!(good, wrong);
        fs::write(&simulator, wrong).unwrap();
        let case = crate_folder.to_str().unwrap();
        let (code, report, errors) = tried(&["--law", "publish", "--case", case, file], elsewhere.path());
        assert_eq!(code, Some(1), "{report}{errors}");
        for line in [
            "ok      publish::proved",
            "BROKEN  publish::answer_lost",
            "            matters: whoever sends again",
            &format!("\nphoto-wall, component {component}\n"),
            "\n  publish  ",
        ] {
            assert!(report.contains(line), "{line} is missing in\n{report}");
        }
        assert!(!report.contains("oauth::"), "{report}");
    }
}

/// Always in the same folder, so that only what it writes is compiled again. No two of one name: Cargo would take what was compiled
/// of one for the other.
fn new_provider(name: &str, folder: &str, more: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let path = folder.to_str().unwrap();
    let new = ["new", "provider", name, "--path", path, "--patchbay", ROOT];
    let made = patchbay(&[&new, more].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn conformance(folder: &Path) -> Value {
    let ran = patchbay(&["conformance", "--json", folder.to_str().unwrap()]);
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)))
}

fn patchbay(arguments: &[&str]) -> Output {
    as_from_a_shell(Command::new(binary::patchbay()).args(arguments))
        .output()
        .unwrap()
}

fn as_from_a_shell(command: &mut Command) -> &mut Command {
    command.env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap(),
    );
    // What cargo has told this program about its own package would make another cargo build everything anew.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

//! A TypeScript client of the document that a host serves: `examples/typescript`, as its README says, up to a published
//! post.
//!
//! `PATCHBAY_TEST_NODE_MODULES` is the folder of what its package-lock.json names.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use patchbay_rig::{Api, PATIENCE, World};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::tool;

const TOOL: &str = "PATCHBAY_TEST_NODE_MODULES";

#[tokio::test]
async fn a_typed_client_goes_from_nothing_to_a_published_post() {
    let Some(modules) = tool(TOOL) else { return };
    let world = World::on_sqlite().await;
    let key = world.key().await;
    // The example connects accounts of its own.
    let program = world.program.clone().with("PATCHBAY__SERVER__ACTIVATE_AT_ONCE", "true");
    let host = program.serve().await;
    let nobody = Api::new(&host.url, None);
    let example = Example::in_folder(world.dir.path(), &modules);
    example.document(&nobody.get("/api/openapi.json").await.text);
    example.runs("generate").await;
    example.runs("check").await;

    let mut story = example.start(&host.url, &key);
    let mut lines = BufReader::new(story.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.expect("it goes on").unwrap() {
        if let Some(link) = line.strip_prefix("Open this in a browser and agree: ") {
            let path = link.strip_prefix(&host.url).expect("the link leads to the host");
            world.connect_by(&nobody, path, "ada_public").await;
        }
        told.push(line);
    }
    let mut errors = String::new();
    story.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    let told = told.join("\n");
    assert!(story.wait().await.unwrap().success(), "{told}\n{errors}");
    assert!(told.contains("Refused with invalid: /options/privacy_level"), "{told}");
    assert!(told.contains("post.published"), "{told}");
    assert!(told.ends_with(" is published"), "{told}");
    assert_eq!(world.published("Hello from TypeScript"), 1);
}

#[tokio::test]
async fn a_document_without_a_field_that_it_uses_is_found_before_it_runs() {
    let Some(modules) = tool(TOOL) else { return };
    let folder = tempfile::tempdir().unwrap();
    let example = Example::in_folder(folder.path(), &modules);
    let mut document = serde_json::to_value(patchbay_server::api::openapi()).unwrap();
    let session = &mut document["components"]["schemas"]["SessionBody"]["properties"];
    session.as_object_mut().unwrap().remove("connect_url").unwrap();
    example.document(&Value::to_string(&document));
    example.runs("generate").await;
    let checked = example.npm("check").await;
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success(), "it was not missed");
    assert!(told.contains("'connect_url' does not exist"), "{told}");
}

/// A copy of the example, beside a document of the test's choice.
struct Example {
    root: PathBuf,
}

impl Example {
    fn in_folder(root: &Path, modules: &OsStr) -> Self {
        let this = Self { root: root.to_owned() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        for folder in ["examples/typescript", "examples/quickstart", "openapi"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "typescript/package.json",
            "typescript/tsconfig.json",
            "typescript/publish.ts",
            "quickstart/sample.mp4",
        ] {
            std::fs::copy(source.join(file), root.join("examples").join(file)).unwrap();
        }
        std::os::unix::fs::symlink(modules, this.folder().join("node_modules")).unwrap();
        this
    }

    fn folder(&self) -> PathBuf {
        self.root.join("examples/typescript")
    }

    fn document(&self, text: &str) {
        std::fs::write(self.root.join("openapi/openapi.json"), text).unwrap();
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("npm");
        command
            .current_dir(self.folder())
            .args(["run", "--silent", script])
            .env("NPM_CONFIG_UPDATE_NOTIFIER", "false")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn npm(&self, script: &str) -> Output {
        let output = timeout(PATIENCE, self.command(script).output()).await;
        output.expect("npm ends").unwrap()
    }

    async fn runs(&self, script: &str) {
        let output = self.npm(script).await;
        let (told, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{script}: {told}{errors}");
    }

    fn start(&self, url: &str, key: &str) -> Child {
        let mut command = self.command("start");
        command.env("PATCHBAY_URL", url).env("PATCHBAY_KEY", key);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

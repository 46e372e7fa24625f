//! TikTok's provider as a component: the same source that the native one is compiled from.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

/// The hosts that it may reach.
pub const HOSTS: &str = r#"["open.tiktokapis.com", "*.tiktokapis.com", "*.tiktokapis.us", "www.tiktok.com"]"#;

/// Bytes of a component, which `providers/sdk/build` makes, unless the folder that `PATCHBAY_TEST_COMPONENTS` names has it.
pub async fn built(name: &'static str) -> anyhow::Result<Vec<u8>> {
    let file = tokio::task::spawn_blocking(move || file(name)).await??;
    std::fs::read(&file).with_context(|| format!("reading {}", file.display()))
}

fn file(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PATCHBAY_TEST_COMPONENTS") {
        return Ok(Path::new(&folder).join(format!("{name}.wasm")));
    }
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program lies in a folder")?;
    let file = folder.join("components").join(format!("{name}.wasm"));
    let status = Command::new(root.join("providers/sdk/build"))
        .arg(name)
        .arg(&file)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("starting providers/sdk/build")?;
    ensure!(status.success(), "{name} could not be built as a component");
    Ok(file)
}

use super::*;

/// The files of this checkout that a provider needs a line in, in a folder of their own.
fn checkout() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().unwrap();
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "core/Cargo.toml",
        "host/server/Cargo.toml",
        "host/server/src/providers.rs",
    ] {
        let to = dir.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root.join(file), to).unwrap();
    }
    dir
}

fn options(name: &str) -> Options {
    Options {
        name: name.to_owned(),
        title: None,
        path: None,
        patchbay: None,
        register: false,
        wasm: false,
    }
}

fn refusal(options: &Options, here: &Path) -> String {
    match write(options, here) {
        Ok(_) => panic!("it is written"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn in_a_checkout_it_becomes_a_member_and_the_hosts_lines_are_shown() {
    let dir = checkout();
    let host = fs::read_to_string(dir.path().join("host/server/src/providers.rs")).unwrap();
    let report = write(&options("pixel-gram"), dir.path()).unwrap().report();
    let workspace = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
    for line in [
        "    \"providers/pixel-gram\",\n    \"providers/pixel-gram/simulator\",\n",
        "\npatchbay-provider-pixel-gram = { path = \"providers/pixel-gram\" }\n",
        "\npatchbay-simulator-pixel-gram = { path = \"providers/pixel-gram/simulator\" }\n",
    ] {
        assert!(workspace.contains(line), "{line} is missing in\n{workspace}");
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("host/server/src/providers.rs")).unwrap(),
        host
    );
    let lib = fs::read_to_string(dir.path().join("providers/pixel-gram/src/lib.rs")).unwrap();
    assert!(lib.contains("pub const ID: &str = \"pixel-gram\";"), "{lib}");
    for shown in [
        "patchbay conformance providers/pixel-gram\n",
        "providers/pixel-gram: a provider for Pixel Gram,",
        "Entry { id: patchbay_provider_pixel_gram::ID,",
        "patchbay-simulator-pixel-gram.workspace = true",
        "src/manifest.rs:",
        "docs/adding-a-provider.md",
    ] {
        assert!(report.contains(shown), "{shown} is missing in\n{report}");
    }
}

#[test]
fn registering_writes_the_hosts_lines() {
    let dir = checkout();
    let register = Options {
        register: true,
        ..options("aaa")
    };
    let report = write(&register, dir.path()).unwrap().report();
    assert!(!report.contains("Entry {"), "{report}");
    let list = fs::read_to_string(dir.path().join("host/server/src/providers.rs")).unwrap();
    let first = list.lines().find(|line| line.contains("Entry { id: ")).unwrap();
    assert!(first.contains("patchbay_provider_aaa::build"), "{list}");
    let manifest = fs::read_to_string(dir.path().join("host/server/Cargo.toml")).unwrap();
    assert!(
        manifest.contains("\npatchbay-provider-aaa.workspace = true\n"),
        "{manifest}"
    );
}

#[test]
fn outside_of_a_checkout_it_is_a_workspace_of_its_own() {
    let (dir, patchbay) = (tempfile::tempdir().unwrap(), checkout());
    let alone = |patchbay: &str| Options {
        path: Some("new/x".into()),
        patchbay: Some(patchbay.to_owned()),
        ..options("x2")
    };
    write(&alone(patchbay.path().to_str().unwrap()), dir.path()).unwrap();
    let manifest = fs::read_to_string(dir.path().join("new/x/Cargo.toml")).unwrap();
    assert!(manifest.contains("\n[workspace]\n"), "{manifest}");
    let core = patchbay.path().canonicalize().unwrap().join("core");
    assert!(
        manifest.contains(&format!("patchbay-core = {{ path = {core:?} }}")),
        "{manifest}"
    );
    assert!(dir.path().join("new/x/Cargo.lock").is_file());
}

#[test]
fn what_cannot_be_is_refused_with_words_that_help() {
    let (dir, elsewhere) = (checkout(), tempfile::tempdir().unwrap());
    let here = dir.path();
    for name in [
        "",
        "Pixelgram",
        "9gag",
        "pixel_gram",
        "pixel-",
        "a--b",
        "../x",
        &"x".repeat(33),
    ] {
        assert!(
            refusal(&options(name), here).contains("small letters, digits"),
            "{name:?}"
        );
    }
    for name in [BUILT_IN[0].id, "patchbay"] {
        assert!(refusal(&options(name), here).contains("is taken"), "{name:?}");
    }
    let titled = Options {
        title: Some("\"{x}\"".to_owned()),
        ..options("x2")
    };
    assert!(refusal(&titled, here).contains("cannot be the title"));
    let said = refusal(&options("x2"), elsewhere.path());
    assert!(said.contains("--path DIR --patchbay DIR|URL"), "{said}");
    let at = |path: &str, patchbay: Option<&str>| Options {
        path: Some(path.into()),
        patchbay: patchbay.map(str::to_owned),
        ..options("x2")
    };
    let said = refusal(&at("x", None), elsewhere.path());
    assert!(said.contains("say where its source is, with --patchbay"), "{said}");
    let said = refusal(&at("x", Some("nowhere")), elsewhere.path());
    assert!(said.contains("nowhere is no checkout of Patchbay"), "{said}");
    let said = refusal(&at("providers/x2", Some(".")), here);
    assert!(said.contains("leave --patchbay out"), "{said}");
    let said = refusal(&at("host", None), here);
    assert!(said.contains("is not empty. Give another folder (--path)"), "{said}");
    let said = refusal(&at("Cargo.toml", None), here);
    assert!(said.contains("cannot be the new folder"), "{said}");
    let register = Options {
        register: true,
        ..at("x", Some(here.to_str().unwrap()))
    };
    assert!(refusal(&register, elsewhere.path()).contains("--register is for"));
    assert!(
        fs::read_dir(elsewhere.path()).unwrap().next().is_none(),
        "a refusal writes nothing"
    );
    // A second time under the name of the first, in another folder.
    write(&options("x2"), here).unwrap();
    let said = refusal(&at("providers/other", None), here);
    assert!(said.contains("a provider of this name was here"), "{said}");
    assert!(!here.join("providers/other").exists());
}

#[test]
fn a_component_is_a_crate_more() {
    let (dir, elsewhere) = (checkout(), tempfile::tempdir().unwrap());
    let component = Options {
        wasm: true,
        ..options("x2")
    };
    let report = write(&component, dir.path()).unwrap().report();
    let built = "  providers/sdk/build providers/x2/component x2.wasm\n";
    assert!(report.contains(built), "{report}");
    let workspace = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
    assert!(
        workspace.contains("    \"providers/x2\",\n    \"providers/x2/component\",\n"),
        "{workspace}"
    );
    let lib = fs::read_to_string(dir.path().join("providers/x2/component/src/lib.rs")).unwrap();
    assert!(lib.contains("component!(patchbay_provider_x2::build);"), "{lib}");
    let alone = Options {
        path: Some("x2".into()),
        patchbay: Some(dir.path().to_str().unwrap().to_owned()),
        ..component
    };
    let report = write(&alone, elsewhere.path()).unwrap().report();
    assert!(
        report.contains("/providers/sdk/build x2/component x2.wasm\n"),
        "{report}"
    );
}

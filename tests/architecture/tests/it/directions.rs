//! Who may depend on whom.

use super::workspace::{Use, Workspace, is_like};

/// Members, with the members that they may depend on. `*` stands for one name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("providers/*", &["core"]),
    ("providers/*/simulator", &["tests/simkit"]),
    // The same provider as a component. The SDK's own tool makes components, and knows nothing of Patchbay.
    ("providers/*/component", &["providers/*"]),
    ("providers/sdk/pack", &[]),
    ("examples/wasm-provider-rust", &["core", "providers/sdk"]),
    ("tests/hostile", &["core", "providers/sdk"]),
    ("examples/provider", &["core"]),
    ("examples/provider/simulator", &["tests/simkit"]),
    ("examples/provider/component", &["examples/provider", "providers/sdk"]),
    ("host/app", &["core"]),
    ("host/egress", &["core", "host/app"]),
    ("host/store", &["core", "host/app"]),
    ("host/wasm", &["core"]),
    ("host/lambda", &["host/app", "host/server"]),
    (
        "host/server",
        &[
            "core",
            "host/app",
            "host/egress",
            "host/store",
            "host/wasm",
            "providers/*",
            "providers/*/simulator",
            "tests/simkit",
        ],
    ),
    ("tests/simkit", &[]),
    ("tests/architecture", &[]),
    ("tests/conformance", &["core", "host/wasm", "tests/simkit"]),
    ("tests/bench", ANY),
    ("tests/rig", ANY),
    ("tests/e2e", ANY),
    ("tests/faults", ANY_AND_THE_RIG),
];

const ANY: &[&str] = &[
    "core",
    "host/*",
    "providers/*",
    "providers/*/simulator",
    "tests/simkit",
    "tests/conformance",
];

const ANY_AND_THE_RIG: &[&str] = &[
    "core",
    "host/*",
    "providers/*",
    "providers/*/simulator",
    "examples/provider/simulator",
    "tests/simkit",
    "tests/conformance",
    "tests/rig",
];

/// What tests of a member may have besides.
const ALLOWED_IN_TESTS: &[(&str, &[&str])] = &[
    ("core", &[]),
    (
        "providers/*",
        &["providers/*/simulator", "tests/conformance", "tests/simkit"],
    ),
    (
        "examples/provider",
        &["examples/provider/simulator", "tests/conformance", "tests/simkit"],
    ),
    ("providers/*/simulator", &[]),
    ("host/*", ANY),
    ("tests/rig", ANY),
    ("tests/*", ANY_AND_THE_RIG),
];

/// Crates that a member must not reach, however far below.
const OUT_OF_REACH: &[(&str, &[&str])] = &[
    (
        "core",
        &["tokio", "sqlx", "sqlx-core", "axum", "hyper", "reqwest", "wasmtime"],
    ),
    (
        "providers/*",
        &["tokio", "sqlx", "sqlx-core", "axum", "hyper", "reqwest", "wasmtime"],
    ),
    (
        "providers/*/simulator",
        &["sqlx", "sqlx-core", "wasmtime", "patchbay-core", "patchbay-app"],
    ),
    (
        "examples/provider",
        &["tokio", "sqlx", "sqlx-core", "axum", "hyper", "reqwest", "wasmtime"],
    ),
    (
        "examples/provider/simulator",
        &["sqlx", "sqlx-core", "wasmtime", "patchbay-core", "patchbay-app"],
    ),
    (
        "host/app",
        &["sqlx", "sqlx-core", "axum", "hyper", "reqwest", "wasmtime"],
    ),
    ("host/egress", &["sqlx", "sqlx-core", "axum", "wasmtime"]),
    ("host/store", &["axum", "hyper", "reqwest", "wasmtime"]),
    ("host/wasm", &["sqlx", "sqlx-core", "axum", "reqwest"]),
];

#[test]
fn members_depend_in_the_allowed_directions_only() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for (folder, id) in &workspace.members {
        let Some(allowed) = rule(ALLOWED, folder) else {
            wrong.push(format!(
                "{folder} has no rule: say in ALLOWED what it may depend on, and in ARCHITECTURE.md"
            ));
            continue;
        };
        let in_tests = rule(ALLOWED_IN_TESTS, folder).unwrap_or_default();
        for below in workspace.members_below(id, Use::Normal) {
            if !covers(allowed, &below) {
                wrong.push(format!("{folder} depends on {below}"));
            }
        }
        for below in workspace.members_below(id, Use::Dev) {
            if !covers(allowed, &below) && !covers(in_tests, &below) {
                wrong.push(format!("{folder} depends on {below} in its tests"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn members_do_not_reach_what_is_not_theirs() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for (folder, id) in &workspace.members {
        let names = workspace.names_far_below(id);
        let forbidden = rule(OUT_OF_REACH, folder).unwrap_or_default();
        wrong.extend(
            forbidden
                .iter()
                .filter(|name| names.contains(**name))
                .map(|name| format!("{folder} reaches {name}")),
        );
    }
    assert!(
        wrong.is_empty(),
        "\n{}\n`cargo tree -p CRATE -i NAME` shows by which way\n",
        wrong.join("\n")
    );
    // The walk itself works: the server does reach what the others must not.
    let server = workspace.names_far_below(&workspace.members["host/server"]);
    assert!(
        ["sqlx-core", "axum", "hyper", "reqwest"]
            .iter()
            .all(|name| server.contains(*name))
    );
}

#[test]
fn nothing_is_built_with_failpoints() {
    let workspace = Workspace::read();
    for (folder, id) in &workspace.members {
        assert!(
            !workspace.names_far_below(id).contains("fail"),
            "{folder}: a crate that asks for the feature `failpoints` gives it to every program that is built beside it"
        );
    }
    // It is there to be asked for.
    assert!(workspace.features("host/server").contains(&"failpoints"));
}

#[test]
fn a_simulator_and_its_provider_share_nothing() {
    let workspace = Workspace::read();
    for (folder, id) in workspace
        .members
        .iter()
        .filter(|(folder, _)| is_like(folder, "providers/*/simulator") || *folder == "examples/provider/simulator")
    {
        for below in [Use::Normal, Use::Dev]
            .into_iter()
            .flat_map(|wanted| workspace.members_below(id, wanted))
        {
            assert_eq!(
                below, "tests/simkit",
                "{folder}: each is written from the facts alone, so that one's misreading shows"
            );
        }
    }
}

fn rule(table: &'static [(&str, &[&str])], folder: &str) -> Option<&'static [&'static str]> {
    table
        .iter()
        .find(|(pattern, _)| is_like(folder, pattern))
        .map(|(_, value)| *value)
}

fn covers(allowed: &[&str], folder: &str) -> bool {
    allowed.iter().any(|pattern| is_like(folder, pattern))
}

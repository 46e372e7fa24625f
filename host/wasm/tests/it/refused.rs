//! Files that are no usable component: each is refused by name, with a reason and a fix.

use patchbay_core::Settings;
use patchbay_wasm::{Engine, Limits, Refused};

use super::{
    component, engine,
    made::{of_wit, provider_wit, starting_with},
    settings,
};

async fn refusal(bytes: Vec<u8>) -> Refused {
    match engine().load(bytes).await {
        Ok(component) => component.build(&Settings::default()).await.err().expect("it was taken"),
        Err(refused) => refused,
    }
}

#[tokio::test]
async fn bombs_that_go_off_when_an_instance_is_made() {
    for (code, names) in [
        (
            "(table $t 1 funcref) (func $bomb (drop (table.grow $t (ref.null func) (i32.const 1000000)))) (start $bomb)",
            "component_table_limit",
        ),
        (
            "(func $bomb (loop $again (br $again))) (start $bomb)",
            "component_cpu_limit",
        ),
        ("(func $bomb (call $bomb)) (start $bomb)", "component_stack_limit"),
        ("(func $bomb unreachable) (start $bomb)", "component_trap"),
    ] {
        let refused = refusal(starting_with(&provider_wit(), code)).await;
        assert_eq!(refused.code, "describe", "{code}: {refused}");
        assert!(refused.reason.contains(names), "{code}: {refused}");
    }
}

#[tokio::test]
async fn files_that_are_no_components() {
    let whole = component("patchbay-hostile");
    for (what, bytes, code) in [
        ("empty", Vec::new(), "no_component"),
        ("text", b"(component)".to_vec(), "no_component"),
        (
            "machine code",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(),
            "no_component",
        ),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "core_module"),
        ("cut in the middle", whole[..whole.len() / 2].to_vec(), "damaged"),
        ("cut after the header", whole[..20].to_vec(), "damaged"),
    ] {
        let refused = refusal(bytes).await;
        assert_eq!(refused.code, code, "{what}: {refused}");
        assert!(!refused.fix.is_empty() && !refused.reason.is_empty());
    }
}

#[tokio::test]
async fn code_that_another_host_compiled_is_never_taken() {
    let engine = wasmtime::Engine::default();
    let code = engine.precompile_component(&component("patchbay-hostile")).unwrap();
    assert_eq!(refusal(code).await.code, "no_component");
}

#[tokio::test]
async fn a_file_may_be_so_large() {
    let limits = Limits {
        file_bytes: 1000,
        ..Limits::default()
    };
    let refused = Engine::new(limits, None)
        .unwrap()
        .load(component("patchbay-hostile"))
        .await;
    assert_eq!(refused.err().unwrap().code, "too_large");
}

#[tokio::test]
async fn a_world_must_be_whole_and_of_this_version() {
    let whole = provider_wit();
    // The dummy of the world as it is gets as far as being asked what it is, and then it traps.
    assert_eq!(refusal(of_wit(&whole)).await.code, "describe");

    for export in ["meta", "oauth", "publisher", "webhooks"] {
        let refused = refusal(of_wit(&whole.replace(&format!("  export {export};\n"), ""))).await;
        assert_eq!(refused.code, "missing_export", "{refused}");
        assert!(
            refused.reason.contains(&format!("patchbay:provider/{export}")),
            "{refused}"
        );
    }
    for version in ["0.2.0", "1.0.0", "0.1.1"] {
        let refused = refusal(of_wit(&whole.replace("provider@0.1.0", &format!("provider@{version}")))).await;
        assert_eq!(refused.code, "wrong_version", "{refused}");
        assert!(refused.reason.contains(version), "{refused}");
    }
    let refused = refusal(of_wit(
        &whole.replace("  export meta;\n", "  import files: func();\n  export meta;\n"),
    ))
    .await;
    assert_eq!(refused.code, "unknown_import", "{refused}");
    // Types of exports are compared when an instance is made, and those of imports before.
    let other = whole.replace("describe: func() ->", "describe: func(more: u32) ->");
    assert_eq!(refusal(of_wit(&other)).await.code, "describe");
}

#[tokio::test]
async fn what_a_component_says_of_itself_is_checked() {
    let component = engine().load(component("patchbay-hostile")).await.unwrap();
    for (how, code) in [
        ("refuse", "settings"),
        ("loop", "describe"),
        ("panic", "describe"),
        ("giant", "manifest"),
        ("giant_list", "describe"),
        ("contradiction", "manifest"),
        ("answers", "manifest"),
    ] {
        let refused = component.build(&settings(&[("describe", how)])).await.err().unwrap();
        assert_eq!(refused.code, code, "{how}: {refused}");
    }
    let refused = component.build(&settings(&[("id", "Not An Id")])).await.err().unwrap();
    assert_eq!(refused.code, "settings", "{refused}");
    assert!(component.build(&Settings::default()).await.is_ok());
}

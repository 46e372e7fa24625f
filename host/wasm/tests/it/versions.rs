//! A host of a later minor version of the WIT package, which has more to offer, takes the components of this one.

use wasmtime::{
    Engine, Store,
    component::{Component, Linker, Val},
};

use super::component;

#[test]
fn a_later_minor_version_takes_components_of_an_earlier_one() {
    let engine = Engine::default();
    let component = Component::new(&engine, component("patchbay-component-tiktok")).unwrap();
    let named: Vec<_> = component
        .component_type()
        .imports(&engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(named.contains(&"patchbay:provider/http@0.1.0".to_owned()), "{named:?}");

    let mut linker = Linker::<()>::new(&engine);
    // As 0.1.3 might be: the functions of 0.1.0, one more, and one more interface.
    for (interface, functions) in [
        ("types", &[][..]),
        ("http", &["send", "send-many"]),
        ("log", &["write"]),
        ("cache", &["get", "put"]),
    ] {
        let mut instance = linker
            .instance(&format!("patchbay:provider/{interface}@0.1.3"))
            .unwrap();
        for function in functions {
            instance
                .func_new(function, |_, _, _, _| panic!("`describe` needs nothing of the host"))
                .unwrap();
        }
    }
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let meta = instance
        .get_export_index(&mut store, None, "patchbay:provider/meta@0.1.3")
        .unwrap();
    let open = instance.get_export_index(&mut store, Some(&meta), "open").unwrap();
    let open = instance
        .get_typed_func::<(&str,), (Result<(), String>,)>(&mut store, open)
        .unwrap();
    assert_eq!(open.call(&mut store, ("{}",)).unwrap(), (Ok(()),));
    let describe = instance.get_export_index(&mut store, Some(&meta), "describe").unwrap();
    let describe = instance.get_func(&mut store, describe).unwrap();
    let mut described = [Val::Bool(false)];
    describe.call(&mut store, &[], &mut described).unwrap();
    let [Val::Tuple(parts)] = &described else {
        panic!("{described:?}")
    };
    let [Val::Record(manifest), Val::Record(_)] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert_eq!(manifest[0], ("id".to_owned(), Val::String("tiktok".to_owned())));

    // Of another line, nothing fits.
    let mut other = Linker::<()>::new(&engine);
    for interface in ["types", "http", "log"] {
        other.instance(&format!("patchbay:provider/{interface}@0.2.0")).unwrap();
    }
    assert!(other.instantiate(&mut store, &component).is_err());
}

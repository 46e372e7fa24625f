//! The host's side of `core/wit/provider.wit`.

wasmtime::component::bindgen!({
    path: "../../core/wit",
    world: "provider",
    imports: { default: async | trappable },
    exports: { default: async },
});

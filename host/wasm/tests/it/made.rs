//! Components that are made by hand, for what no compiler of a provider would make.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// The world of providers.
pub fn provider_wit() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../core/wit/provider.wit");
    std::fs::read_to_string(path).unwrap()
}

/// A component of a world in text, whose every function traps.
pub fn of_wit(text: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", text).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// The same, whose module runs this when it is instantiated.
pub fn starting_with(text: &str, code: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", text).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    let printed = wasmprinter::print_bytes(&module).unwrap();
    let whole = printed.trim_end().strip_suffix(')').unwrap();
    let mut module = wat::parse_str(format!("{whole} {code} )")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

//! Types of a Rust client, from the schemas of the OpenAPI document, for the test that uses the API by them.

use std::path::Path;

use serde_json::{Value, json};
use typify::{TypeSpace, TypeSpaceSettings};

const DOCUMENT: &str = "../../openapi/openapi.json";

fn main() {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    let text = std::fs::read_to_string(DOCUMENT).expect("the document is there");
    let document: Value = serde_json::from_str(&text).expect("the document is JSON");
    let schemas = json!({ "definitions": document["components"]["schemas"] });
    let mut types = TypeSpace::new(&TypeSpaceSettings::default());
    types
        .add_root_schema(serde_json::from_value(schemas).expect("these are JSON schemas"))
        .expect("each is a type of Rust");
    let folder = std::env::var("OUT_DIR").expect("cargo tells it");
    std::fs::write(Path::new(&folder).join("api.rs"), types.to_stream().to_string()).expect("the types are written");
}

//! Each platform's own options of a post in the OpenAPI document: one schema a provider, made of its manifest, and a
//! reference to all of them wherever a request has `options`.

use patchbay_core::{Manifest, OptionField, PostKind, PostMode};
use serde_json::{Value, json};
use utoipa::openapi::{OpenApi, RefOr, Schema};

/// Requests with `options`. A patch of them may hold `null` anywhere, so it is not among these.
const REQUESTS: [&str; 2] = ["NewPost", "Target"];

const ABOUT: &str = "The platform's own options: those of the account's provider. `publish-options` says which of them the \
                     account has now.";

/// Writes the options of these providers into the document.
pub(super) fn complete(document: &mut OpenApi, manifests: &[&Manifest]) {
    let components = document.components.get_or_insert_default();
    let mut references = Vec::new();
    for manifest in manifests {
        let Ok(schema) = serde_json::from_value::<RefOr<Schema>>(schema(manifest)) else {
            continue;
        };
        let name = format!("PostOptions_{}", manifest.id);
        references.push(json!({ "$ref": format!("#/components/schemas/{name}") }));
        components.schemas.insert(name, schema);
    }
    let mut options = match &references[..] {
        // Without providers no post is taken, whatever its options are.
        [] => return,
        [one] => one.clone(),
        several => json!({ "anyOf": several }),
    };
    options["description"] = ABOUT.into();
    let Ok(options) = serde_json::from_value::<RefOr<Schema>>(options) else {
        return;
    };
    for request in REQUESTS {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(request) {
            object.properties.insert("options".to_owned(), options.clone());
        }
    }
}

fn schema(manifest: &Manifest) -> Value {
    let mut schema = OptionField::schema_of(&manifest.options);
    schema["title"] = format!("Options of {}", manifest.display_name).into();
    schema["description"] = format!("What only {} knows of a post.", manifest.display_name).into();
    for field in &manifest.options {
        let text = &mut schema["properties"][field.name]["description"];
        *text = format!("{} {}", text.as_str().unwrap_or_default(), where_it_is(field)).into();
    }
    schema
}

/// For which posts an option is, in words: a schema of the options alone cannot say it.
fn where_it_is(field: &OptionField) -> String {
    let kinds: Vec<_> = field.posts.iter().map(|kind| PostKind::as_str(*kind)).collect();
    let modes: Vec<_> = field.modes.iter().map(|mode| name_of(*mode)).collect();
    let must = if field.required { " Required there." } else { "" };
    format!("For {}; mode {}.{must}", kinds.join(" and "), modes.join(" or "))
}

fn name_of(mode: PostMode) -> &'static str {
    match mode {
        PostMode::Direct => "direct",
        PostMode::Draft => "draft",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api, providers};

    #[test]
    fn the_document_has_the_options_of_the_providers_that_are_loaded() {
        for provider in providers::all() {
            let manifest = provider.manifest();
            let name = format!("PostOptions_{}", manifest.id);
            let reference = format!("#/components/schemas/{name}");
            let document = serde_json::to_value(api::openapi_of(&[manifest])).unwrap();
            let schemas = &document["components"]["schemas"];
            for field in &manifest.options {
                assert!(schemas[&name]["properties"][field.name].is_object(), "{}", field.name);
            }
            for request in REQUESTS {
                let options = &schemas[request]["properties"]["options"];
                assert_eq!(options["$ref"], reference, "{request}");
            }
        }
        let all = providers::all();
        let twice = [all[0].manifest(), all[0].manifest()];
        let document = serde_json::to_value(api::openapi_of(&twice)).unwrap();
        let options = &document["components"]["schemas"]["NewPost"]["properties"]["options"];
        assert_eq!(options["anyOf"].as_array().unwrap().len(), 2, "{options}");
        let bare = serde_json::to_value(api::openapi_of(&[])).unwrap();
        for request in REQUESTS {
            let options = &bare["components"]["schemas"][request]["properties"]["options"];
            assert_eq!(options["type"], "object", "{request}");
        }
    }
}

//! The provider of this crate's parent folder as a WebAssembly component. The source is the same.

patchbay_provider_sdk::component!(patchbay_provider_quill::build);

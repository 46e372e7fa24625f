//! `patchbay-provider-pack MODULE COMPONENT`: makes a component of what `cargo build --target wasm32-unknown-unknown`
//! has made of a provider. The module says itself which world it is for.

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [module, component] = arguments.as_slice() else {
        bail!("usage: patchbay-provider-pack MODULE COMPONENT");
    };
    let read = std::fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(&read)
        .and_then(|mut encoder| encoder.encode())
        .with_context(|| {
            format!(
                "{} is no provider that was built with patchbay-provider-sdk",
                module.display()
            )
        })?;
    std::fs::write(component, bytes).with_context(|| format!("writing {}", component.display()))
}

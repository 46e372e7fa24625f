//! The OpenAPI document with tools of others: `tests/run contract` installs them. A test whose tool is not named in the
//! environment does nothing.

mod page;
mod rust;
mod schemathesis;
mod typescript;

/// What a variable names: a tool's path.
fn tool(variable: &str) -> Option<std::ffi::OsString> {
    let tool = std::env::var_os(variable);
    if tool.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    tool
}

//! The reference of all keys, in Markdown, written from the tables that the code reads by.

use std::fmt::Write as _;

use super::{
    DEFAULT_FILE,
    key::{Default, Key, Kind, SECTIONS, Section},
};

/// Every key: type, default, names in the environment, meaning.
#[must_use]
pub fn reference() -> String {
    let mut text = intro();
    for section in SECTIONS {
        write_section(&mut text, section);
    }
    text
}

fn intro() -> String {
    format!(
        "\
# Configuration

Values come from four places. Later ones win:

1. the defaults below;
2. a TOML file: the one that `--config` or `PATCHBAY_CONFIG` names, or else `{DEFAULT_FILE}` in the working directory if
   it exists;
3. the plain names of variables, such as `DATABASE_URL`;
4. variables called `PATCHBAY__SECTION__KEY`, with two underscores between the parts.

A key that does not exist is an error, in the file as in a `PATCHBAY__` variable. All problems are reported at once,
each with the file or variable it comes from. `patchbay config check` prints the configuration in force and the source
of each value; secrets are only shown as set or not set.

In variables, lists are written with commas: `a,b`. Tables of hosts are written as `host=address,host=address`. A
plain variable holds one value, commas included. An empty variable counts as not set.

Secrets can stand in files, named by the key with `_file` at its end; set one of the two. White space around a secret
in a file is ignored.
"
    )
}

fn write_section(text: &mut String, section: &Section) {
    let Section { name, about, keys } = section;
    let title = if keys.iter().any(|key| key.path.contains('*')) {
        format!("{name}.<id>")
    } else {
        (*name).to_owned()
    };
    let _ = write!(
        text,
        "\n## `[{title}]`\n\n{about}\n\n| Key | Type | Default | Environment | Meaning |\n|---|---|---|---|---|\n"
    );
    for key in *keys {
        let Key { kind, meaning, .. } = key;
        let short = key.path.rsplit('.').next().unwrap_or_default();
        let (title, default) = (kind.title(), default(key));
        let _ = writeln!(text, "| `{short}` | {title} | {default} | {} | {meaning} |", names(key));
    }
}

fn default(key: &Key) -> String {
    match (&key.default, key.kind) {
        (Default::Unset, Kind::Texts | Kind::Secrets | Kind::Addresses | Kind::Files | Kind::Table) => {
            "empty".to_owned()
        }
        (Default::Unset, _) => "none".to_owned(),
        (Default::Value(value), _) => format!("`{value}`"),
        (Default::Derived(words), _) => (*words).to_owned(),
    }
}

fn names(key: &Key) -> String {
    // One name sets one value inside of a table.
    let inside = if matches!(key.kind, Kind::Table) {
        "__<NAME>"
    } else {
        ""
    };
    let exact = format!("`{}{inside}`", key.env_name());
    match key.plain {
        Some(plain) => format!("`{plain}`, {exact}"),
        None => exact,
    }
}

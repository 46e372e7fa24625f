//! `[site]`: texts that platforms look for on an app's own domain.

use std::collections::BTreeMap;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// Longest content of a file: platforms ask for a line.
const MAX_FILE: usize = 4096;
/// Types that a file may have, by the end of its name.
const TYPES: [(&str, &str); 3] = [
    (".txt", "text/plain; charset=utf-8"),
    (".html", "text/html; charset=utf-8"),
    (".json", "application/json"),
];

/// Texts of the site.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// Names, below the root and below the path of media links, to contents.
    pub files: BTreeMap<String, String>,
    /// The privacy policy, Markdown.
    pub privacy: Option<String>,
    /// The terms of service, Markdown.
    pub terms: Option<String>,
}

pub(super) const SECTION: Section = Section {
    name: "site",
    about: "Texts that platforms look for on an app's own domain when they review it.",
    keys: &[
        Key::new(
            "site.files",
            Kind::Files,
            "Files that prove to a platform that this domain is yours, as its developer portal gives them: \
             `{ \"proof.txt\" = \"its content\" }`. Served at the root, and below `/api/media/pull/`, from where platforms \
             fetch media. Names end in `.txt`, `.html` or `.json`.",
        ),
        Key::new(
            "site.privacy_file",
            Kind::Path,
            "Your privacy policy, as Markdown. Served as the page `/privacy`.",
        ),
        Key::new(
            "site.terms_file",
            Kind::Path,
            "Your terms of service, as Markdown. Served as the page `/terms`.",
        ),
    ],
};

impl SiteConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            files: r.files("site.files"),
            privacy: r.text_of_file("site.privacy_file"),
            terms: r.text_of_file("site.terms_file"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        for (name, content) in &self.files {
            if content_type(name).is_none() {
                let message = format!(
                    "{name:?} is no name of such a file: use letters, digits, dots, hyphens and underscores, and .txt, \
                     .html or .json at the end"
                );
                r.problem("site.files", message);
            } else if content.len() > MAX_FILE {
                r.problem("site.files", format!("{name} has more than {MAX_FILE} bytes"));
            }
        }
    }
}

/// The type of a file by its name; `None`: it is no name for one.
pub fn content_type(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > 128 || name.starts_with('.') || !name.chars().all(plain) {
        return None;
    }
    TYPES.iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| *kind)
}

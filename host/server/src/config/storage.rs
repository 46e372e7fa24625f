//! `[storage]`: where uploaded files live, and for how long.

use std::{path::PathBuf, str::FromStr};

use patchbay_app::secret::Secret;
use url::Url;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
    server::ServerConfig,
};
use crate::media;

/// Where files live.
#[derive(Clone)]
pub struct StorageConfig {
    /// Made if it does not exist.
    pub dir: PathBuf,
    /// The bucket of media; `None`: a folder in `dir`.
    pub s3: Option<S3Config>,
    /// Bytes of media that one tenant may keep.
    pub media_quota_bytes: u64,
    /// Media are deleted after so many days.
    pub media_ttl_days: u32,
}

/// A bucket of an S3-compatible store.
#[derive(Clone)]
pub struct S3Config {
    /// Where the store is; `None`: Amazon's, by the region.
    pub endpoint: Option<Url>,
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// What the names of objects start with.
    pub prefix: String,
    /// The bucket is named in the path, not in the host.
    pub path_style: bool,
    /// Names the key.
    pub access_key_id: Secret<String>,
    /// The key.
    pub secret_access_key: Secret<String>,
}

/// Where media live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StorageKind {
    Local,
    S3,
}

pub(super) const SECTION: Section = Section {
    name: "storage",
    about: "Where uploaded files live, and for how long. Relative paths start at the working directory. The keys that start \
            with `s3_` hold with `kind = \"s3\"` alone.",
    keys: &[
        Key::new(
            "storage.dir",
            Kind::Path,
            "Folder for files; made if it does not exist.",
        )
        .or("data"),
        Key::new(
            "storage.kind",
            Kind::Choice(StorageKind::NAMES),
            "Where media are kept. `local`: in a folder of `dir`, which several hosts must share. `s3`: in a bucket of an \
             S3-compatible store, where an upload can go on at any host.",
        )
        .or("local"),
        Key::new("storage.s3_bucket", Kind::Text, "The bucket. It must exist."),
        Key::new("storage.s3_region", Kind::Text, "The bucket's region.").or("us-east-1"),
        Key::new(
            "storage.s3_endpoint",
            Kind::Url,
            "URL of a store that is not Amazon's: https, except on loopback.",
        ),
        Key::new(
            "storage.s3_prefix",
            Kind::Text,
            "What the names of objects start with, such as `patchbay/`. What is below it belongs to one installation.",
        ),
        Key::new(
            "storage.s3_path_style",
            Kind::Flag,
            "The bucket is named in the path of URLs, and not in the host.",
        )
        .or("true"),
        Key::new("storage.s3_access_key_id", Kind::Secret, "Name of the access key."),
        Key::new(
            "storage.s3_access_key_id_file",
            Kind::Path,
            "A file that holds the name of the access key.",
        ),
        Key::new("storage.s3_secret_access_key", Kind::Secret, "The access key's secret."),
        Key::new(
            "storage.s3_secret_access_key_file",
            Kind::Path,
            "A file that holds the access key's secret.",
        ),
        Key::new(
            "storage.media_quota_bytes",
            Kind::Whole(1, 1 << 50),
            "Bytes of media that one tenant may keep.",
        )
        .or("53687091200"),
        Key::new(
            "storage.media_ttl_days",
            Kind::Whole(1, 3_650),
            "Days after which uploaded media are deleted.",
        )
        .or("7"),
    ],
};

impl StorageConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        let kind: StorageKind = r.parsed("storage.kind");
        Self {
            dir: r.parsed("storage.dir"),
            s3: Some(S3Config::read(r)).filter(|_| kind == StorageKind::S3),
            media_quota_bytes: r.whole("storage.media_quota_bytes"),
            media_ttl_days: r.whole("storage.media_ttl_days"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader, server: &ServerConfig) {
        let Some(s3) = &self.s3 else { return };
        for (path, text) in [
            ("storage.s3_bucket", &s3.bucket),
            ("storage.s3_access_key_id", s3.access_key_id.expose()),
            ("storage.s3_secret_access_key", s3.secret_access_key.expose()),
        ] {
            if text.is_empty() {
                r.problem(path, "must be set, since storage.kind is \"s3\"");
            }
        }
        let plain = |url: &Url| url.path() == "/" && url.query().is_none();
        if let Some(endpoint) = &s3.endpoint {
            if let Err(message) = super::server::check_browser_url(endpoint) {
                r.problem("storage.s3_endpoint", message);
            } else if !plain(endpoint) {
                let message = "must end after the host and port: the bucket has a key of its own";
                r.problem("storage.s3_endpoint", message);
            }
        }
        let prefix = s3.prefix.trim_end_matches('/');
        if prefix.starts_with('/') || prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//")
        {
            r.problem(
                "storage.s3_prefix",
                "must be names with `/` between them, such as \"patchbay/\"",
            );
        }
        if server.max_upload_bytes > media::MOST_S3_BYTES {
            let most = media::MOST_S3_BYTES;
            r.problem(
                "server.max_upload_bytes",
                format!("must not be above {most} while storage.kind is \"s3\""),
            );
        }
    }
}

impl S3Config {
    fn read(r: &mut Reader) -> Self {
        let mut prefix: String = r.optional("storage.s3_prefix").unwrap_or_default();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        let empty = || Secret::new(String::new());
        Self {
            endpoint: r.optional("storage.s3_endpoint"),
            bucket: r.optional("storage.s3_bucket").unwrap_or_default(),
            region: r.parsed("storage.s3_region"),
            prefix,
            path_style: r.flag("storage.s3_path_style"),
            access_key_id: r.secret_or_file("storage.s3_access_key_id").unwrap_or_else(empty),
            secret_access_key: r.secret_or_file("storage.s3_secret_access_key").unwrap_or_else(empty),
        }
    }
}

impl StorageKind {
    const NAMES: &[&str] = &["local", "s3"];
}

impl FromStr for StorageKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "local" => Ok(Self::Local),
            "s3" => Ok(Self::S3),
            _ => Err(()),
        }
    }
}

//! A TikTok user as the app sees one, with the settings that decide what may be posted.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Who can see a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Privacy {
    PublicToEveryone,
    MutualFollowFriends,
    FollowerOfCreator,
    SelfOnly,
}

impl Privacy {
    /// `None` for a word TikTok does not know.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }
}

/// One user. Ids left empty are made up at start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    pub username: String,
    pub nickname: String,
    pub open_id: String,
    pub union_id: String,
    pub private: bool,
    pub comment_disabled: bool,
    pub duet_disabled: bool,
    pub stitch_disabled: bool,
    pub max_video_post_duration_sec: u32,
    pub banned: bool,
    /// The user's app is older than 31.8 and takes no photo drafts.
    pub old_app: bool,
    pub verified: bool,
    pub bio_description: String,
    pub follower_count: u64,
    pub following_count: u64,
    pub likes_count: u64,
    /// Listed as a target user of the sandbox.
    pub sandbox_target: bool,
    /// Posts made in other apps during the last day; TikTok counts them too.
    pub posts_elsewhere: usize,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            username: String::new(),
            nickname: String::new(),
            open_id: String::new(),
            union_id: String::new(),
            private: false,
            comment_disabled: false,
            duet_disabled: false,
            stitch_disabled: false,
            max_video_post_duration_sec: 600,
            banned: false,
            old_app: false,
            verified: false,
            bio_description: String::new(),
            follower_count: 0,
            following_count: 0,
            likes_count: 0,
            sandbox_target: true,
            posts_elsewhere: 0,
        }
    }
}

impl Account {
    pub fn named(username: &str, nickname: &str) -> Self {
        Self {
            username: username.to_owned(),
            nickname: nickname.to_owned(),
            ..Self::default()
        }
    }

    /// The users every simulator has unless told otherwise.
    pub fn built_in() -> Vec<Self> {
        vec![
            Self {
                verified: true,
                bio_description: "Kites, boats and weather.".to_owned(),
                follower_count: 12_345,
                following_count: 42,
                likes_count: 678_901,
                ..Self::named("ada_public", "Ada Public")
            },
            Self {
                private: true,
                follower_count: 7,
                following_count: 9,
                ..Self::named("pia_private", "Pia Private")
            },
            Self {
                comment_disabled: true,
                duet_disabled: true,
                stitch_disabled: true,
                max_video_post_duration_sec: 180,
                ..Self::named("quinn_quiet", "Quinn Quiet")
            },
            Self {
                banned: true,
                ..Self::named("bea_banned", "Bea Banned")
            },
        ]
    }

    /// Ids follow from the names, so that a restarted simulator knows its users again. Current open ids look
    /// like `-000` and 32 URL-safe characters; they differ per app, union ids do not.
    pub(crate) fn with_ids(mut self, client_key: &str) -> Self {
        if self.open_id.is_empty() {
            self.open_id = opaque_id(&["open", client_key, &self.username]);
        }
        if self.union_id.is_empty() {
            self.union_id = opaque_id(&["union", &self.username]);
        }
        if self.nickname.is_empty() {
            self.nickname.clone_from(&self.username);
        }
        self
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.username == name || self.open_id == name
    }

    pub fn privacy_options(&self) -> [Privacy; 3] {
        let widest = if self.private {
            Privacy::FollowerOfCreator
        } else {
            Privacy::PublicToEveryone
        };
        [widest, Privacy::MutualFollowFriends, Privacy::SelfOnly]
    }

    pub(crate) fn avatar_url(&self, size: &str) -> String {
        format!(
            "https://{}/simulated/{}~{size}.jpeg",
            crate::picture::HOST,
            self.username
        )
    }
}

fn opaque_id(of: &[&str]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digest = Sha256::digest(of.join("\n").as_bytes());
    let id: String = digest
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .collect();
    format!("-000{id}")
}

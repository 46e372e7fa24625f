//! Whether the platform takes a post: its fields first, then the account, then the app, then the URL.

use chrono::{DateTime, Utc};
use url::{Host, Url};

use super::request::PostInfo;
use crate::account::{Account, Privacy};
use crate::answer::ApiError;
use crate::post::Wishes;
use crate::switches::Switches;
use crate::world::State;

const VIDEO_TITLE: usize = 2200;
const PHOTO_TITLE: usize = 90;
const PHOTO_DESCRIPTION: usize = 4000;

pub(super) fn video_wishes(info: &PostInfo) -> Result<Wishes, ApiError> {
    within(info.title.as_deref(), VIDEO_TITLE, "title")?;
    Ok(Wishes {
        title: info.title.clone(),
        privacy: Some(privacy(info)?),
        disable_comment: info.disable_comment,
        disable_duet: info.disable_duet,
        disable_stitch: info.disable_stitch,
        brand_content_toggle: info.brand_content_toggle,
        brand_organic_toggle: info.brand_organic_toggle,
        is_aigc: info.is_aigc,
        video_cover_timestamp_ms: info
            .video_cover_timestamp_ms
            .as_ref()
            .and_then(serde_json::Value::as_i64)
            .filter(|ms| i32::try_from(*ms).is_ok_and(|ms| ms >= 0)),
        ..Wishes::default()
    })
}

/// Title and description count in both modes, the rest only when posting directly.
pub(super) fn photo_wishes(info: &PostInfo, direct: bool) -> Result<Wishes, ApiError> {
    within(info.title.as_deref(), PHOTO_TITLE, "title")?;
    within(info.description.as_deref(), PHOTO_DESCRIPTION, "description")?;
    let texts = Wishes {
        title: info.title.clone(),
        description: info.description.clone(),
        ..Wishes::default()
    };
    if !direct {
        return Ok(texts);
    }
    Ok(Wishes {
        privacy: Some(privacy(info)?),
        disable_comment: info.disable_comment,
        brand_content_toggle: info.brand_content_toggle,
        brand_organic_toggle: info.brand_organic_toggle,
        auto_add_music: info.auto_add_music,
        ..texts
    })
}

/// The account's settings win over the wishes.
pub(super) fn forced_by(account: &Account, mut wishes: Wishes) -> Wishes {
    wishes.disable_comment |= account.comment_disabled;
    wishes.disable_duet |= account.duet_disabled || account.private;
    wishes.disable_stitch |= account.stitch_disabled || account.private;
    wishes
}

/// May this account post directly through this app now, with this privacy?
pub(super) fn direct(
    state: &State,
    account: &Account,
    privacy: Option<Privacy>,
    switches: &Switches,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    not_banned(account)?;
    if state.has_too_many_users(account, switches, now) {
        return Err(ApiError::new("reached_active_user_cap"));
    }
    if state.has_posted_too_much(account, switches, now) {
        return Err(ApiError::new("spam_risk_too_many_posts"));
    }
    // The account must be private, and the post too; both were seen refused under the one code.
    if switches.private_only() && !(account.private && privacy == Some(Privacy::SelfOnly)) {
        return Err(ApiError::new("unaudited_client_can_only_post_to_private_accounts"));
    }
    if privacy.is_none_or(|privacy| !account.privacy_options().contains(&privacy)) {
        return Err(ApiError::new("privacy_level_option_mismatch"));
    }
    Ok(())
}

/// May another draft go to this account now?
pub(super) fn draft(state: &State, account: &Account, switches: &Switches, now: DateTime<Utc>) -> Result<(), ApiError> {
    not_banned(account)?;
    if state.has_too_many_drafts(account, switches, now) {
        return Err(ApiError::new("spam_risk_too_many_pending_share"));
    }
    Ok(())
}

/// https, a domain, and verified by the app: a domain covers its subdomains, a prefix what starts with it.
pub(super) fn owned_url(text: &str, switches: &Switches) -> Result<(), ApiError> {
    let url = Url::parse(text).map_err(|_| ApiError::params("The URL is invalid"))?;
    if url.scheme() != "https" {
        return Err(ApiError::params("The URL must be https"));
    }
    let Some(Host::Domain(host)) = url.host() else {
        return Err(ApiError::new("url_ownership_unverified"));
    };
    let owned = switches.owned_domains.iter().any(|domain| {
        host.strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    // The parsed URL is compared, so that `..` cannot leave the prefix.
    if owned
        || switches
            .owned_prefixes
            .iter()
            .any(|prefix| url.as_str().starts_with(prefix.as_str()))
    {
        Ok(())
    } else {
        Err(ApiError::new("url_ownership_unverified"))
    }
}

fn not_banned(account: &Account) -> Result<(), ApiError> {
    if account.banned {
        return Err(ApiError::new("spam_risk_user_banned_from_posting"));
    }
    Ok(())
}

fn privacy(info: &PostInfo) -> Result<Privacy, ApiError> {
    info.privacy_level
        .as_deref()
        .and_then(Privacy::parse)
        .ok_or_else(|| ApiError::params("privacy_level is missing or unknown"))
}

/// Lengths are UTF-16 code units: an emoji counts two.
fn within(text: Option<&str>, limit: usize, name: &str) -> Result<(), ApiError> {
    if text.is_some_and(|text| text.encode_utf16().count() > limit) {
        return Err(ApiError::params(format!("{name} is longer than {limit}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_utf_16() {
        let info = |title: String| PostInfo {
            title: Some(title),
            privacy_level: Some("SELF_ONLY".to_owned()),
            ..PostInfo::default()
        };
        video_wishes(&info("é".repeat(2200))).expect("2200 units");
        video_wishes(&info("😀".repeat(1100))).expect("2200 units");
        video_wishes(&info("😀".repeat(1101))).expect_err("2202 units");
        photo_wishes(&info("x".repeat(91)), true).expect_err("91 units");
    }

    #[test]
    fn ownership_is_by_domain_or_prefix() {
        let switches = Switches {
            owned_domains: vec!["media.example".to_owned()],
            owned_prefixes: vec!["https://cdn.test/ours/".to_owned()],
            ..Switches::default()
        };
        for good in [
            "https://media.example/v.mp4",
            "https://a.b.media.example/v.mp4",
            "https://cdn.test/ours/v.mp4?x=1",
        ] {
            assert_eq!(owned_url(good, &switches), Ok(()), "{good}");
        }
        for foreign in [
            "https://notmedia.example/v.mp4",
            "https://media.example.evil.test/v.mp4",
            "https://cdn.test/other/v.mp4",
            "https://cdn.test/ours/../other/v.mp4",
            "https://media.example@evil.test/v.mp4",
            "https://127.0.0.1/v.mp4",
        ] {
            let refused = owned_url(foreign, &switches).expect_err(foreign);
            assert_eq!(refused.code, "url_ownership_unverified");
        }
        for bad in ["http://media.example/v.mp4", "nothing"] {
            assert_eq!(owned_url(bad, &switches).expect_err(bad).code, "invalid_params");
        }
    }
}

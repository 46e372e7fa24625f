//! The simulator's own consent and error pages. Plain forms, no script, clearly not TikTok's.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use patchbay_simkit::text::escape_html;

use super::authorize::Request;
use crate::account::Account;

/// Remembers who allowed last, for `disable_auto_auth=0`.
pub(super) const SESSION_COOKIE: &str = "simulated_user";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem;color:#1c2330;background:#f4f5f7}\
main{background:#fff;border:1px solid #d9dee6;border-radius:10px;padding:1.5rem}\
.mark{display:inline-block;background:#ffe9a8;color:#5b4300;border-radius:4px;padding:.1rem .5rem;font-weight:600}\
label{display:block;padding:.2rem 0}fieldset{border:1px solid #d9dee6;border-radius:6px;margin:0 0 1rem}\
button{font:inherit;padding:.45rem 1.2rem;margin-right:.6rem;border-radius:6px;border:1px solid #8a94a6;cursor:pointer}\
button.allow{background:#1c2330;color:#fff}.muted{color:#5c6675}";

/// The consent page. Its form repeats the request and adds `account`, `granted` (repeated) and `decision`.
pub(super) fn consent(
    fields: &[(String, String)],
    request: &Request,
    accounts: &[Account],
    client_key: &str,
) -> Response {
    let mut form = String::new();
    let own = ["account", "granted", "decision"];
    for (name, value) in fields.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        let (name, value) = (escape_html(name), escape_html(value));
        let _ = write!(form, r#"<input type="hidden" name="{name}" value="{value}">"#);
    }
    form.push_str("<fieldset><legend>Log in as</legend>");
    for (index, account) in accounts.iter().enumerate() {
        let checked = if index == 0 { " checked" } else { "" };
        let (name, nickname) = (escape_html(&account.username), escape_html(&account.nickname));
        let _ = write!(
            form,
            r#"<label><input type="radio" name="account" value="{name}"{checked}> {nickname} <span class="muted">@{name}{}</span></label>"#,
            notes(account)
        );
    }
    form.push_str("</fieldset><fieldset><legend>Let the app</legend>");
    for scope in &request.scopes {
        let locked = if scope == "user.info.basic" { " disabled" } else { "" };
        let (scope, meaning) = (escape_html(scope), meaning(scope));
        let _ = write!(
            form,
            r#"<label><input type="checkbox" name="granted" value="{scope}" checked{locked}> {meaning} <span class="muted">{scope}</span></label>"#
        );
    }
    form.push_str("</fieldset>");
    html(
        StatusCode::OK,
        &format!(
            r#"<h1>Allow access?</h1><p>The app <strong>{}</strong> asks to use an account of the simulator.</p>
<form method="post" action="/v2/auth/authorize/">{form}
<button class="allow" name="decision" value="allow">Allow</button><button name="decision" value="cancel">Cancel</button></form>"#,
            escape_html(client_key)
        ),
    )
}

/// The page on which TikTok stops, naming only the parameter.
pub(super) fn refusal(parameter: &str) -> Response {
    html(
        StatusCode::BAD_REQUEST,
        &format!(
            "<h1>Something went wrong</h1><p>We couldn't log in. This may be due to specific app settings.</p>\
             <p>If you're a developer, correct the following and try again:</p><ul><li><code>{}</code></li></ul>",
            escape_html(parameter)
        ),
    )
}

fn html(status: StatusCode, content: &str) -> Response {
    let page = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated TikTok</title><style>{STYLE}</style></head><body><main><p class="mark">Simulated TikTok</p>{content}</main></body></html>"#
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(page)).into_response()
}

fn notes(account: &Account) -> String {
    let notes = [
        (account.private, "private"),
        (account.comment_disabled, "comments off"),
        (account.banned, "banned from posting"),
    ];
    notes
        .iter()
        .filter(|(holds, _)| *holds)
        .fold(String::new(), |text, (_, note)| text + ", " + note)
}

fn meaning(scope: &str) -> &'static str {
    match scope {
        "user.info.basic" => "read your name and avatar",
        "user.info.profile" => "read your profile",
        "user.info.stats" => "read your counts of followers, likes and videos",
        "video.list" => "list your public videos",
        "video.publish" => "post to your account",
        "video.upload" => "send drafts to your inbox",
        _ => "use this scope",
    }
}

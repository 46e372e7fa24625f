//! The consent page: what it refuses, and how it sends the user back.

use std::collections::HashMap;

use patchbay_simulator_tiktok::{Account, Pkce, SimulatorConfig, Switches};
use url::{Url, form_urlencoded};

use crate::support::{DESKTOP, KEY, WEB, World, config, world, world_with};

pub const CHALLENGE: &str = "4c3a770bec0fa3768a0cad4183eba43fbf2767d622a940f64e8443f7a1e86875";
pub const VERIFIER: &str = "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFG";

pub fn request(redirect: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = vec![
        ("client_key", KEY),
        ("response_type", "code"),
        ("scope", "user.info.basic,video.publish,video.upload"),
        ("redirect_uri", redirect),
        ("state", "s t&te"),
    ];
    if redirect == DESKTOP {
        fields.extend([("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]);
    }
    fields
}

pub fn with(
    mut fields: Vec<(&'static str, &'static str)>,
    name: &str,
    value: Option<&'static str>,
) -> Vec<(&'static str, &'static str)> {
    fields.retain(|(known, _)| *known != name);
    if let Some(value) = value {
        fields.push((name.to_owned().leak(), value));
    }
    fields
}

impl World {
    fn authorize_url(&self) -> String {
        format!("http://{}/v2/auth/authorize/", self.tiktok.www)
    }

    pub async fn show(&self, fields: &[(&str, &str)]) -> reqwest::Response {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.client
            .get(format!("{}?{query}", self.authorize_url()))
            .send()
            .await
            .unwrap()
    }

    /// Presses a button; the fields the app gets back.
    pub async fn decide(
        &self,
        fields: &[(&str, &str)],
        account: &str,
        granted: &[&str],
        decision: &str,
    ) -> HashMap<String, String> {
        let mut form: Vec<(&str, &str)> = fields.to_vec();
        form.extend([("account", account), ("decision", decision)]);
        form.extend(granted.iter().map(|scope| ("granted", *scope)));
        let response = self.client.post(self.authorize_url()).form(&form).send().await.unwrap();
        back(&response)
    }

    pub async fn allowed(&self, fields: &[(&str, &str)], account: &str) -> HashMap<String, String> {
        self.decide(fields, account, &["video.publish", "video.upload"], "allow")
            .await
    }
}

fn back(response: &reqwest::Response) -> HashMap<String, String> {
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap();
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn consent_returns_an_encoded_code_the_granted_scopes_and_the_state() {
    let world = world().await;
    let page = world.show(&request(WEB)).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("Simulated TikTok") && page.contains("@pia_private"));
    assert!(page.contains("s t&amp;te"), "fields are repeated, escaped");

    let mut form = request(WEB);
    form.extend([
        ("account", "ada_public"),
        ("decision", "allow"),
        ("granted", "video.upload"),
    ]);
    let response = world
        .client
        .post(world.authorize_url())
        .form(&form)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&format!("{WEB}?code=")));
    assert!(location.contains("%2A") && location.contains("%21"), "{location}");
    let fields = back(&response);
    assert!(fields["code"].contains('*') && fields["code"].contains('!'));
    assert_eq!(fields["scopes"], "user.info.basic,video.upload");
    assert_eq!(fields["state"], "s t&te");
}

#[tokio::test]
async fn the_page_works_without_the_slash_and_with_unknown_parameters() {
    let world = world().await;
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(request(WEB))
        .append_pair("client_id", KEY)
        .append_pair("prompt", "login")
        .finish();
    let url = format!("http://{}/v2/auth/authorize?{query}", world.tiktok.www);
    assert_eq!(world.client.get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn cancel_comes_back_as_access_denied() {
    let world = world().await;
    let fields = world.decide(&request(WEB), "ada_public", &[], "cancel").await;
    assert_eq!(fields["error"], "access_denied");
    assert_eq!(fields["state"], "s t&te");
    assert!(!fields.contains_key("code"));
}

#[tokio::test]
async fn a_bad_parameter_stops_on_a_page_that_names_it() {
    let world = world().await;
    let cases: [(&str, &str, Option<&'static str>, &str); 13] = [
        (WEB, "client_key", Some("other"), "client_key"),
        (WEB, "client_key", None, "client_key"),
        (WEB, "response_type", Some("token"), "response_type"),
        (WEB, "redirect_uri", Some("https://app.test/callback/"), "redirect_uri"),
        (WEB, "redirect_uri", Some("https://evil.test/callback"), "redirect_uri"),
        (WEB, "scope", Some("user.info.basic video.publish"), "scope"),
        (WEB, "scope", Some("user.info.basic, video.publish"), "scope"),
        (WEB, "scope", Some("video.create"), "scope"),
        (WEB, "scope", None, "scope"),
        (WEB, "state", None, "state"),
        (DESKTOP, "code_challenge", None, "code_challenge"),
        (DESKTOP, "code_challenge_method", Some("plain"), "code_challenge_method"),
        (
            DESKTOP,
            "redirect_uri",
            Some("http://localhost/callback"),
            "redirect_uri",
        ),
    ];
    for (redirect, name, value, named) in cases {
        let redirect = if redirect == WEB { WEB } else { DESKTOP };
        let page = world.show(&with(request(redirect), name, value)).await;
        assert_eq!(page.status(), 400, "{name}={value:?}");
        let page = page.text().await.unwrap();
        assert!(
            page.contains(&format!("<code>{named}</code>")),
            "{name}={value:?}: {page}"
        );
    }
}

#[tokio::test]
async fn the_strict_switch_asks_every_redirect_for_a_challenge() {
    let world = world().await;
    assert_eq!(world.show(&request(WEB)).await.status(), 200);
    world.tiktok.change_switches(|switches| switches.pkce = Pkce::Every);
    assert_eq!(world.show(&request(WEB)).await.status(), 400);
}

#[tokio::test]
async fn an_unapproved_app_is_sent_back_without_consent() {
    let world = world().await;
    world.tiktok.change_switches(|switches| switches.approved = false);
    let fields = back(&world.show(&request(WEB)).await);
    assert_eq!(fields["error"], "unauthorized_client");
    assert_eq!(fields["error_type"], "client_key");
}

#[tokio::test]
async fn a_sandbox_knows_only_its_target_users() {
    let config = config();
    let world = world_with(SimulatorConfig {
        switches: Switches {
            sandbox: true,
            ..config.switches.clone()
        },
        accounts: vec![
            Account::named("target", "Target"),
            Account {
                sandbox_target: false,
                ..Account::named("other", "Other")
            },
        ],
        ..config
    })
    .await;
    assert!(world.allowed(&request(WEB), "target").await.contains_key("code"));
    let refused = world.allowed(&request(WEB), "other").await;
    assert_eq!(refused["error"], "non_sandbox_target");
}

#[tokio::test]
async fn a_returning_user_can_skip_the_page() {
    let world = world().await;
    let mut fields = request(WEB);
    fields.push(("disable_auto_auth", "0"));
    world.token("ada_public");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&fields)
        .finish();
    let request = world.client.get(format!("{}?{query}", world.authorize_url()));
    let response = request
        .header("cookie", "simulated_user=ada_public")
        .send()
        .await
        .unwrap();
    assert!(back(&response).contains_key("code"));
    assert_eq!(world.show(&fields).await.status(), 200, "no session, so the page");
}

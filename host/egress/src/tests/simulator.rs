//! Simulator mode: real URLs, sent to a loopback address.

use std::collections::HashMap;

use patchbay_app::wire::{Wire, WireBody};
use patchbay_core::ProviderId;
use tokio::io::AsyncWriteExt;
use url::Url;

use super::{HOST, Names, Server, assert_blocked, assert_not_sent, get, header, ok, read_request, simulated, tiktok};
use crate::{Config, ConfigError, Egress};

#[tokio::test]
async fn a_mapped_host_is_called_by_its_real_name() {
    let (requests, mut seen) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await).await.unwrap();
            stream.write_all(ok("simulated").as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut request = get("https://API.example.com/v2/post?a=b%20c#fragment");
    request.method = "POST".to_owned();
    request.headers = vec![("Authorization".to_owned(), "Bearer token".into())];
    request.body = WireBody::Bytes("{}".into());
    let answer = simulated(&server).send(request).await.unwrap();
    assert_eq!(answer.body, "simulated");
    let (head, body) = seen.recv().await.unwrap();
    assert!(head.starts_with("POST /v2/post?a=b%20c HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "host"), Some("api.example.com"));
    assert_eq!(header(&head, "authorization"), Some("Bearer token"));
    assert_eq!(
        header(&head, "user-agent"),
        Some(concat!("Patchbay/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(header(&head, "content-length"), Some("2"));
    assert_eq!(body, b"{}");

    simulated(&server)
        .send(get("https://api.example.com:8443/"))
        .await
        .unwrap();
    assert_eq!(
        header(&seen.recv().await.unwrap().0, "host"),
        Some("api.example.com:8443")
    );
}

#[tokio::test]
async fn only_the_mapped_host_of_the_mapped_provider_reaches_loopback() {
    let server = Server::answering(ok("")).await;
    let egress = simulated(&server);
    let mut other_provider = get(format!("https://{HOST}/"));
    other_provider.provider = ProviderId::parse("other").unwrap();
    assert_not_sent(egress.send(other_provider).await, "");
    assert_not_sent(egress.send(get("https://www.example.com/")).await, "");
    assert_blocked(
        &egress
            .send(get(format!("https://127.0.0.1:{}/", server.address.port())))
            .await,
        "literal",
    );
    assert_blocked(&egress.send(get(format!("http://{}/", server.address))).await, "http");
    assert_eq!(server.connects(), 0);
}

#[tokio::test]
async fn a_browser_is_sent_to_the_simulator_for_mapped_hosts_only() {
    let server = Server::canary().await;
    let egress = simulated(&server);
    let mapped: Url = "https://api.example.com/auth/authorize/?state=s&scope=a%2Cb"
        .parse()
        .unwrap();
    let expected = format!("http://{}/auth/authorize/?state=s&scope=a%2Cb", server.address);
    assert_eq!(egress.browser_url(&tiktok(), &mapped).as_str(), expected);
    let other: Url = "https://www.example.com/?a=b".parse().unwrap();
    assert_eq!(egress.browser_url(&tiktok(), &other), other);
    assert_eq!(
        egress.browser_url(&ProviderId::parse("other").unwrap(), &mapped),
        mapped
    );
}

#[test]
fn settings_that_would_open_the_guard_are_refused() {
    let hosts = HashMap::from([(HOST.to_owned(), "10.0.0.1:80".parse().unwrap())]);
    let config = Config {
        simulators: HashMap::from([(tiktok(), hosts)]),
        ..Config::default()
    };
    assert!(matches!(Egress::new(config), Err(ConfigError::SimulatorNotLoopback(_))));
    let config = Config {
        open_cidrs: vec!["127.0.0.0/8".parse().unwrap()],
        ..Config::default()
    };
    let refused = Egress::with_lookup(config, Names::fixed(&[]));
    assert!(matches!(refused, Err(ConfigError::CidrNotOpenable(_))));
}

//! Addresses written into the URL. The canary listens on loopback on an allowed port, so that every spelling of
//! loopback that slips through is a connection.

use patchbay_app::wire::Wire;

use super::{LOOPBACK, Names, Server, assert_blocked, get};
use crate::{Blocked, Config, Egress, address::AddressFilter, policy::Policy};

#[rustfmt::skip]
const FORMS: &[&str] = &[
    // Loopback: plain, short, decimal, hex, octal, mixed, full-width, percent-encoded.
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F000001",
    "0x7f.1", "0x7f.0.0.1", "0x7f.0x0.0x0.0x1", "017700000001", "0177.0.0.1", "0177.1", "0177.0x0.0.01",
    "00000177.0.0.1", "127.0.0.1.", "１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1",
    "127.0.0.%31", "localhost", "LOCALHOST", "localhost.", "app.localhost", "ｌｏｃａｌｈｏｓｔ",
    // This host.
    "0", "0x0", "0.0.0.0", "0.0.0.1", "00.0.0.0",
    // Private and shared.
    "10.0.0.1", "10.1", "167772161", "0xa000001", "012.0.0.1", "100.64.0.1", "100.127.255.254", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.1", "0xc0a80001", "3232235521", "0300.0250.0.1",
    // Link-local and metadata.
    "169.254.169.254", "169.254.1.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
    "0xa9.254.0251.0376", "168.63.129.16", "0xa83f8110", "2822734096", "100.100.100.200", "192.0.0.192",
    // Other ranges without a public host.
    "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "4294967295", "0xffffffff",
    // IPv6 loopback, unspecified, and IPv4 inside.
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[::FFFF:7F00:1]", "[::ffff:0.0.0.0]", "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:168.63.129.16]", "[::ffff:0:127.0.0.1]",
    "[::10.0.0.1]",
    // NAT64, 6to4, Teredo.
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::1.1.1.1]", "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1:fffe::a9fe:a9fe]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2002:a00:1::1]", "[2001::1]",
    "[2001:0:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    // IPv6 ranges without a public host.
    "[100::1]", "[2001:db8::1]", "[3fff::1]", "[3fff:fff::1]", "[5f00::1]", "[fc00::1]", "[fd12:3456::1]",
    "[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::1]", "[febf::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]",
    "[4000::1]", "[::2]",
    // Zones.
    "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]", "[::1%lo]", "[fe80::1%251]",
];

#[tokio::test]
async fn no_spelling_of_a_blocked_address_is_dialled() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    let policy = Policy::new(AddressFilter::new(Vec::new()).unwrap()).and_port(port);
    // Names that slip through as names resolve to the canary.
    let egress = Egress::build(
        Config::default(),
        policy,
        Names::fixed(&["127.0.0.1"]),
        Some(super::tls::ca().root),
    );
    let egress = egress.unwrap();
    assert!(FORMS.len() >= 70);
    for form in FORMS {
        for url in [format!("https://{form}:{port}/hook"), format!("https://{form}/hook")] {
            assert!(egress.user_url(&url).is_err(), "{url} passed");
            assert_blocked(&egress.send(get(&url)).await, &url);
        }
    }
    assert_eq!(canary.connects(), 0);
}

#[tokio::test]
async fn the_loopback_canary_would_be_reached_without_the_address_rule() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    let policy = Policy::new(AddressFilter::with_test_listener(LOOPBACK)).and_port(port);
    let egress = Egress::build(
        Config::default(),
        policy,
        Names::fixed(&[]),
        Some(super::tls::ca().root),
    )
    .unwrap();
    egress
        .send(get(format!("https://0x7f.1:{port}/hook")))
        .await
        .unwrap_err();
    assert_eq!(canary.connects(), 1);
}

#[tokio::test]
async fn urls_are_https_without_credentials_on_two_ports() {
    let canary = Server::canary().await;
    let egress = super::simulated(&canary);
    for (url, reason) in [
        ("http://api.example.com/", Blocked::Scheme),
        ("ws://api.example.com/", Blocked::Scheme),
        ("https://u:p@api.example.com/", Blocked::Userinfo),
        ("https://api.example.com:444/", Blocked::Port),
        ("https://api.example.com/\r\nX: y", Blocked::ControlCharacter),
        ("https://api.example.com./", Blocked::HostName),
        ("api.example.com", Blocked::NotAUrl),
    ] {
        assert_blocked(&egress.user_url(url), &reason.to_string());
        assert_blocked(&egress.send(get(url)).await, url);
    }
    let mut smuggling = get("https://api.example.com/");
    smuggling.headers = vec![("X-A".to_owned(), "b\r\nX-B: c".into())];
    assert_blocked(&egress.send(smuggling).await, "header");
    let mut method = get("https://api.example.com/");
    method.method = "CONNECT".to_owned();
    assert_blocked(&egress.send(method).await, "method");
    assert_eq!(canary.connects(), 0, "not even the simulator is dialled");
}

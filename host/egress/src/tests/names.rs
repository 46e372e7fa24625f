//! Names and what they resolve to. The one listener counts as public; every other address is what it is.

use std::{io, net::IpAddr, sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use patchbay_app::wire::{Wire, WireError};

use super::{
    Names, assert_blocked, assert_not_sent, get,
    tls::{TlsServer, ca},
};
use crate::{Config, Lookup};

#[tokio::test]
async fn one_blocked_address_refuses_the_whole_name() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    for addresses in [
        &["10.0.0.1"][..],
        &["169.254.169.254"],
        &["::1"],
        &["fd12::1"],
        &["::ffff:10.0.0.1"],
        &["127.0.0.1", "10.0.0.1"],
        &["10.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "fe80::1"],
        &["::1", "127.0.0.1"],
        // Past the number that would be dialled.
        &["127.0.0.1"; 20]
            .iter()
            .copied()
            .chain(["192.168.0.1"])
            .collect::<Vec<_>>(),
    ] {
        let egress = server.egress(Names::fixed(addresses));
        assert_blocked(&egress.send(get(server.url())).await, &format!("{addresses:?}"));
    }
    assert_eq!(server.connects(), 0);
    let egress = server.egress(Names::fixed(&["127.0.0.1"]));
    assert_eq!(egress.send(get(server.url())).await.unwrap().status, 200);
    assert_eq!(server.connects(), 1);
}

#[tokio::test]
async fn a_name_that_flips_is_judged_and_dialled_by_the_same_lookup() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let names = Names::new(|asked| {
        let address = if asked.is_multiple_of(2) {
            "127.0.0.1"
        } else {
            "127.0.0.2"
        };
        Ok(vec![address.parse::<IpAddr>().unwrap()])
    });
    let egress = server.egress(names.clone());
    let (mut answered, mut blocked) = (0, 0);
    for _ in 0..200 {
        match egress.send(get(server.url())).await {
            Ok(_) => answered += 1,
            Err(WireError::Blocked(_)) => blocked += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((answered, blocked, server.connects()), (100, 100, 100));
    assert_eq!(names.asked.load(Ordering::SeqCst), 200, "one lookup per call");
}

#[tokio::test]
async fn a_name_without_an_address_is_not_sent() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let egress = server.egress(Names::new(|_| Err(io::Error::other("canary"))));
    assert_not_sent(egress.send(get(server.url())).await, "the host name has no address");
    let egress = server.egress(Names::fixed(&[]));
    assert_not_sent(egress.send(get(server.url())).await, "");
}

#[tokio::test]
async fn a_silent_name_server_is_cut_by_the_connect_timeout() {
    struct Silent;
    #[async_trait]
    impl Lookup for Silent {
        async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
            std::future::pending().await
        }
    }
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let config = Config {
        connect_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let egress = server.egress_with(config, std::sync::Arc::new(Silent));
    assert_not_sent(egress.send(get(server.url())).await, "timed out");
}

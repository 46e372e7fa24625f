//! Certificates and protocol versions. Whatever fails before the handshake is done is not sent.

use std::{sync::Arc, time::Duration};

use patchbay_app::wire::Wire;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{LOOPBACK, Names, Server, assert_not_sent, get, ok, read_request};
use crate::{Config, Egress, Lookup, address::AddressFilter, policy::Policy};

/// A certificate authority that exists for one test.
pub(super) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(super) root: reqwest::Certificate,
}

pub(super) fn ca() -> Ca {
    ca_named("Trusted")
}

fn ca_named(name: &str) -> Ca {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let root = reqwest::Certificate::from_der(issuer.der()).unwrap();
    Ca { issuer, root }
}

/// An https server on loopback that answers once per connection.
pub(super) struct TlsServer {
    server: Server,
    root: reqwest::Certificate,
}

impl TlsServer {
    pub(super) const NAME: &str = "receiver.example.com";

    pub(super) async fn start(ca: &Ca, name: &str) -> Self {
        Self::with_params(ca, &CertificateParams::new(vec![name.to_owned()]).unwrap()).await
    }

    async fn with_params(ca: &Ca, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca.issuer).unwrap();
        Self::with_certificate(ca, &certificate, &key).await
    }

    /// `trusted` is what the client trusts, whoever signed the certificate.
    async fn with_certificate(trusted: &Ca, certificate: &Certificate, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                read_request(&mut stream).await;
                let answer = ok("hello").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        })
        .await;
        Self {
            server,
            root: trusted.root.clone(),
        }
    }

    pub(super) fn url(&self) -> String {
        format!(
            "https://{}:{}/hook?token=canary",
            Self::NAME,
            self.server.address.port()
        )
    }

    pub(super) fn connects(&self) -> usize {
        self.server.connects()
    }

    /// A client that trusts this server's authority, may dial loopback here, and looks names up in `lookup`.
    pub(super) fn egress(&self, lookup: Arc<dyn Lookup>) -> Egress {
        self.egress_with(Config::default(), lookup)
    }

    pub(super) fn egress_with(&self, config: Config, lookup: Arc<dyn Lookup>) -> Egress {
        egress_at(&self.server, config, lookup, self.root.clone())
    }
}

fn egress_at(server: &Server, config: Config, lookup: Arc<dyn Lookup>, root: reqwest::Certificate) -> Egress {
    let policy = Policy::new(AddressFilter::with_test_listener(LOOPBACK)).and_port(server.address.port());
    Egress::build(config, policy, lookup, Some(root)).unwrap()
}

#[tokio::test]
async fn a_trusted_certificate_for_the_name_is_accepted() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let answer = server
        .egress(Names::fixed(&["127.0.0.1"]))
        .send(get(server.url()))
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn bad_certificates_are_refused_before_anything_is_sent() {
    let trusted = ca();
    let params = || CertificateParams::new(vec![TlsServer::NAME.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let self_signed = TlsServer::with_certificate(&trusted, &params().self_signed(&key).unwrap(), &key).await;
    let by_stranger = params().signed_by(&key, &ca_named("Stranger").issuer).unwrap();
    let by_stranger = TlsServer::with_certificate(&trusted, &by_stranger, &key).await;
    let by_namesake = params().signed_by(&key, &ca().issuer).unwrap();
    let by_namesake = TlsServer::with_certificate(&trusted, &by_namesake, &key).await;
    let wrong_name = TlsServer::start(&trusted, "other.example.com").await;
    let mut old = params();
    old.not_before = date_time_ymd(2019, 1, 1);
    old.not_after = date_time_ymd(2020, 1, 1);
    let expired = TlsServer::with_params(&trusted, &old).await;
    let mut young = params();
    young.not_before = date_time_ymd(4000, 1, 1);
    let not_yet_valid = TlsServer::with_params(&trusted, &young).await;

    for (server, reason) in [
        (self_signed, "issuer is not trusted"),
        (by_stranger, "issuer is not trusted"),
        (by_namesake, "the certificate is refused"),
        (wrong_name, "for another name"),
        (expired, "has expired"),
        (not_yet_valid, "not valid yet"),
    ] {
        let result = server
            .egress(Names::fixed(&["127.0.0.1"]))
            .send(get(server.url()))
            .await;
        assert_not_sent(result, reason);
        assert_eq!(server.connects(), 1);
    }
}

#[tokio::test]
async fn the_systems_authorities_are_what_a_plain_client_trusts() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let policy = Policy::new(AddressFilter::with_test_listener(LOOPBACK)).and_port(server.server.address.port());
    // With a simulator configured, the client is built on machines without authorities too.
    let config = super::simulator_config(&server.server);
    let egress = Egress::build(config, policy, Names::fixed(&["127.0.0.1"]), None).unwrap();
    assert_not_sent(egress.send(get(server.url())).await, "issuer is not trusted");
}

#[tokio::test]
async fn an_older_protocol_is_refused() {
    // A ServerHello that picks TLS 1.1 with TLS_RSA_WITH_AES_128_CBC_SHA (RFC 4346), whatever the client offers.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    let answers_to_any_hello = [
        (hello, "TLS: no common version"),
        // Alert: protocol_version.
        (vec![0x15, 3, 1, 0, 2, 2, 70], "TLS: no common version"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "TLS: the handshake failed",
        ),
        (Vec::new(), ""),
    ];
    for (answer, reason) in answers_to_any_hello {
        let server = Server::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                let _hello = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        })
        .await;
        let egress = egress_at(&server, Config::default(), Names::fixed(&["127.0.0.1"]), ca().root);
        let url = format!("https://{}:{}/", TlsServer::NAME, server.address.port());
        assert_not_sent(egress.send(get(url)).await, reason);
    }
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_is_cut_by_the_connect_timeout() {
    let server = Server::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let config = Config {
        connect_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let egress = egress_at(&server, config, Names::fixed(&["127.0.0.1"]), ca().root);
    let url = format!("https://{}:{}/", TlsServer::NAME, server.address.port());
    assert_not_sent(egress.send(get(url)).await, "timed out");
    assert_eq!(server.connects(), 1);
}

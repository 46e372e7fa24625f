use std::fs;
use std::path::PathBuf;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::*;

#[expect(
    clippy::disallowed_methods,
    reason = "a plain client that speaks HTTP/2 to our own listener"
)]
pub(super) fn http2_client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap()
}

struct PemFiles {
    _dir: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

fn pem_files() -> PemFiles {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    PemFiles {
        _dir: dir,
        certificate,
        key,
        der: cert.der().clone(),
    }
}

pub(super) fn tls() -> (Tls, CertificateDer<'static>) {
    let files = pem_files();
    (Tls::from_files(&files.certificate, &files.key).unwrap(), files.der)
}

fn connector(
    root: CertificateDer<'static>,
    alpn: &[&[u8]],
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn requests_share_a_connection_and_may_be_pipelined() {
    let server = Server::start(patient()).await;
    let answer = server.exchange(format!("{GET}\r\n{GET}{LAST_GET}")).await;
    assert_eq!(answer.matches("hello").count(), 3);
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn handlers_see_the_peers_address() {
    let server = Server::start(patient()).await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let own = socket.local_addr().unwrap().to_string();
    read_until(&mut socket, &own).await;
}

#[tokio::test]
async fn a_chunked_body_arrives_whole_however_it_is_cut() {
    let server = Server::start(patient()).await;
    let mut socket = server.connect().await;
    socket.set_nodelay(true).unwrap();
    let request = "POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;note=1\r\nhello\r\n00c\r\n hello hello\r\n0\r\nX-Sum: 17\r\n\r\n";
    for byte in request.as_bytes() {
        socket.write_all(std::slice::from_ref(byte)).await.unwrap();
    }
    let answer = text(closed(&mut socket).await);
    assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{answer}");
    assert!(answer.ends_with("\r\n\r\n17"));
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let server = Server::start(patient()).await;
    let size = 8 << 20;
    let mut request =
        format!("POST /length HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n")
            .into_bytes();
    request.resize(request.len() + size, b'x');
    request.extend_from_slice(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (mut read, mut write) = server.connect().await.into_split();
    let writer = tokio::spawn(async move { write.write_all(&request).await.map(|()| write) });
    let answer = text(closed(&mut read).await);
    assert!(writer.await.unwrap().is_ok());
    assert!(answer.starts_with("HTTP/1.1 100 Continue"));
    assert!(answer.contains(&format!("\r\n\r\n{size}HTTP/1.1 200 OK")));
    assert!(answer.contains(&format!("content-length: {size}\r\n")));
    assert_eq!(answer.bytes().rev().take_while(|byte| *byte == b'x').count(), size);
}

#[tokio::test]
async fn http2_works_without_tls() {
    let server = Server::start(patient()).await;
    let client = http2_client();
    let url = format!("http://{}", server.addr);
    let answer = within("for an answer", client.get(&url).send()).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "hello");

    let upload = client.post(format!("{url}/length")).body(vec![0; 3 << 20]).send();
    let answer = within("for an answer", upload).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), (3 << 20).to_string());
    let large = within("for an answer", client.get(format!("{url}/large")).send())
        .await
        .unwrap();
    assert_eq!(large.bytes().await.unwrap().len(), 8 << 20);
}

#[tokio::test]
async fn http2_bodies_have_deadlines_too() {
    let server = Server::start(Limits {
        body_idle: SHORT,
        ..patient()
    })
    .await;
    let never = reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let upload = http2_client()
        .post(format!("http://{}/length", server.addr))
        .body(never)
        .send();
    let answer = within("for an answer", upload).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn tls_serves_http1_and_http2() {
    let (tls, root) = tls();
    let server = Server::start_with(patient(), Some(tls)).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let connector = connector(root.clone(), &[b"http/1.1"], version);
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, server.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        stream.write_all(LAST_GET.as_bytes()).await.unwrap();
        assert!(text(closed(&mut stream).await).ends_with("hello"));
    }

    let connector = connector(root, &[b"h2", b"http/1.1"], &rustls::version::TLS13);
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, server.connect().await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    stream.write_all(h2::PREFACE).await.unwrap();
    stream.write_all(&h2::settings()).await.unwrap();
    let request = h2::get(1, h2::END_STREAM | h2::END_HEADERS, "/");
    stream.write_all(&request).await.unwrap();
    let mut received = Vec::new();
    within("for an answer", async {
        while !received.ends_with(b"hello") {
            assert!(stream.read_buf(&mut received).await.unwrap() > 0);
        }
    })
    .await;
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_closed() {
    let server = Server::start_with(patient(), Some(tls().0)).await;
    let mut socket = server.connect().await;
    socket.write_all(GET.as_bytes()).await.unwrap();
    closed(&mut socket).await;
    assert_eq!(server.requests(), 0);
}

#[test]
fn tls_files_that_cannot_serve_are_refused_with_the_reason() {
    let (one, other) = (pem_files(), pem_files());
    let missing = Tls::from_files(&one.certificate.with_extension("no"), &one.key).unwrap_err();
    assert!(matches!(missing, TlsError::Certificate { .. }));
    let swapped = Tls::from_files(&one.key, &one.certificate).unwrap_err();
    assert!(matches!(swapped, TlsError::NoCertificate { .. }));
    let no_key = Tls::from_files(&one.certificate, &one.certificate).unwrap_err();
    assert!(matches!(no_key, TlsError::Key { .. }));
    let foreign_key = Tls::from_files(&one.certificate, &other.key).unwrap_err();
    assert!(matches!(foreign_key, TlsError::Unusable(_)));
    let fine = Tls::from_files(&one.certificate, &one.key).unwrap();
    assert_eq!(format!("{fine:?}"), "Tls");
}

#[tokio::test]
async fn shutdown_lets_a_request_in_flight_finish() {
    let server = Server::start(patient()).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within("for the handler", server.world.started.notified()).await;

    server.shutdown.cancel();
    closed(&mut idle).await;
    closed(&mut silent).await;
    assert!(!server.task.is_finished());
    assert!(TcpStream::connect(server.addr).await.is_err(), "no new clients");

    server.world.release.notify_one();
    let answer = text(closed(&mut busy).await);
    assert!(answer.contains("connection: close"));
    assert!(answer.ends_with("done"));
    within("for the server to end", server.task).await.unwrap();
}

#[tokio::test]
async fn shutdown_lets_an_http2_request_in_flight_finish() {
    let server = Server::start(patient()).await;
    let request = http2_client().get(format!("http://{}/wait", server.addr)).send();
    let request = tokio::spawn(request);
    within("for the handler", server.world.started.notified()).await;
    server.shutdown.cancel();
    server.world.release.notify_one();
    let answer = within("for an answer", request).await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "done");
    within("for the server to end", server.task).await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let server = Server::start(Limits {
        drain: SHORT,
        ..patient()
    })
    .await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within("for the handler", server.world.started.notified()).await;
    server.shutdown.cancel();
    within("for the server to end", server.task).await.unwrap();
    assert_eq!(closed(&mut busy).await, b"");
}

#[tokio::test]
async fn dropping_the_server_closes_every_connection() {
    let server = Server::start(patient()).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within("for the handler", server.world.started.notified()).await;
    server.task.abort();
    assert_eq!(closed(&mut busy).await, b"");
    within("for the handler to be dropped", server.world.dropped.notified()).await;
}

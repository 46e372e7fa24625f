//! Answers that lead elsewhere, never end, or are larger than asked for.

use std::{io, time::Duration};

use futures_util::StreamExt;
use patchbay_app::wire::{Wire, WireResponse};
use tokio::io::AsyncWriteExt;

use super::{Server, assert_lost, get, ok, read_request, simulated};

const URL: &str = "https://api.example.com/v2/post?access_token=canary";

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let canary = Server::canary().await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/", canary.address);
        let server = Server::answering(format!(
            "HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
        let answer = simulated(&server).send(get(URL)).await.unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.headers.contains(&("location".to_owned(), location)));
        assert_eq!((server.connects(), canary.connects()), (1, 0));
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_and_not_a_byte_further() {
    let limited = |answer: String| async move {
        let server = Server::answering(answer).await;
        let mut request = get(URL);
        request.max_answer_bytes = 1000;
        simulated(&server).send(request).await
    };
    let fits = "x".repeat(1000);
    assert_eq!(limited(ok(&fits)).await.unwrap().body.len(), 1000);
    assert_eq!(
        limited(format!("HTTP/1.1 200 OK\r\n\r\n{fits}"))
            .await
            .unwrap()
            .body
            .len(),
        1000
    );
    assert_lost(limited(ok(&format!("{fits}y"))).await, "answer too large");
    assert_lost(
        limited(format!("HTTP/1.1 200 OK\r\n\r\n{fits}y")).await,
        "answer too large",
    );
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{fits}y\r\n0\r\n\r\n");
    assert_lost(limited(chunked).await, "answer too large");
    // Announced, never sent.
    assert_lost(
        limited("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned()).await,
        "answer too large",
    );
}

/// Sends `start` once and then `rest` until the client goes away.
async fn endless(
    start: &'static str,
    rest: &'static str,
    pause: Duration,
) -> Result<WireResponse, patchbay_app::wire::WireError> {
    let server = Server::start(move |mut stream| async move {
        read_request(&mut stream).await;
        let mut next = start;
        let mut tick = tokio::time::interval(pause.max(Duration::from_nanos(1)));
        while stream.write_all(next.as_bytes()).await.is_ok() {
            next = rest;
            if !pause.is_zero() {
                tick.tick().await;
            }
        }
    })
    .await;
    let mut request = get(URL);
    if !pause.is_zero() {
        request.timeout = Duration::from_millis(200);
    }
    simulated(&server).send(request).await
}

#[tokio::test]
async fn endless_answers_are_cut() {
    let body = "0123456789".repeat(1000).leak();
    assert_lost(
        endless("HTTP/1.1 200 OK\r\n\r\n", body, Duration::ZERO).await,
        "answer too large",
    );
    assert_lost(
        endless("HTTP/1.1 200 OK\r\n", "X-Flood: 0123456789\r\n", Duration::ZERO).await,
        "",
    );
    assert_lost(endless("HTTP/1.1 200 OK\r\nX-Flood: ", body, Duration::ZERO).await, "");
    assert_lost(
        endless("", "HTTP/1.1 100 Continue\r\n\r\n", Duration::from_millis(5)).await,
        "timed out",
    );
}

#[tokio::test]
async fn dripping_answers_are_cut_by_the_total_time_although_bytes_keep_coming() {
    let pause = Duration::from_millis(5);
    assert_lost(endless("HTTP/1.1 200 OK\r\n\r\n", "x", pause).await, "timed out");
    assert_lost(endless("HTTP/1.1 200 OK\r\nX-Slow: ", "x", pause).await, "timed out");
}

#[tokio::test]
async fn a_silent_server_is_cut() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut request = get(URL);
    request.timeout = Duration::from_millis(100);
    assert_lost(simulated(&server).send(request).await, "timed out");
    // The client's own limit holds, whatever the call asks for.
    let mut config = super::simulator_config(&server);
    config.total_timeout = Duration::from_millis(100);
    assert_lost(crate::Egress::new(config).unwrap().send(get(URL)).await, "timed out");
}

#[tokio::test]
async fn answer_headers_are_bounded() {
    let with_headers = |count: usize, len: usize| async move {
        let headers: String = (0..count).map(|n| format!("x-{n}: {}\r\n", "v".repeat(len))).collect();
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")).await;
        simulated(&server).send(get(URL)).await
    };
    assert_eq!(with_headers(99, 100).await.unwrap().headers.len(), 100);
    assert_lost(with_headers(100, 100).await, "");
    assert_lost(with_headers(50, 2000).await, "answer headers too large");
}

#[tokio::test]
async fn packed_answers_are_neither_asked_for_nor_unpacked() {
    // 1 KiB of zeros, by gzip.
    let packed: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x63, 0x60, 0x18, 5, 0xa3, 0x60, 0x14, 0x0c, 0x54, 0, 0, 0x2e, 0xaf, 0xb5,
        0xef, 0, 4, 0, 0,
    ];
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    answer.extend(packed);
    let (heads, mut seen) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let (heads, answer) = (heads.clone(), answer.clone());
        async move {
            heads.send(read_request(&mut stream).await.0).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await;
    let answer = simulated(&server).send(get(URL)).await.unwrap();
    assert_eq!(&answer.body[..], packed);
    assert_eq!(
        super::header(&seen.recv().await.unwrap(), "accept-encoding"),
        Some("identity")
    );
}

/// Opens an answer that is read as it comes, with 200 ms for each 64 KiB.
async fn opened(server: &Server) -> patchbay_app::wire::WireStream {
    let mut request = get(URL);
    request.timeout = Duration::from_millis(200);
    simulated(server).open(request).await.unwrap()
}

async fn read_all(stream: patchbay_app::wire::WireStream) -> (usize, Option<io::ErrorKind>) {
    let mut body = stream.body;
    let mut came = 0;
    while let Some(part) = body.next().await {
        match part {
            Ok(bytes) => came += bytes.len(),
            Err(error) => return (came, Some(error.kind())),
        }
    }
    (came, None)
}

#[tokio::test]
async fn an_answer_of_any_length_is_read_as_it_comes() {
    let body = "x".repeat(10_000_000);
    let server = Server::answering(ok(&body)).await;
    let answer = opened(&server).await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("10000000"))
    );
    assert_eq!(read_all(answer).await, (body.len(), None));
    // One that ends too early is no whole one.
    let short = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").await;
    let (came, error) = read_all(opened(&short).await).await;
    assert!(came == 5 && error.is_some(), "{came} {error:?}");
    let redirect =
        Server::answering("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(opened(&redirect).await.status, 302);
}

#[tokio::test]
async fn an_answer_that_drips_or_stands_still_is_cut_and_a_reader_may_take_its_time() {
    let drip = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let mut next = "HTTP/1.1 200 OK\r\n\r\n";
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while stream.write_all(next.as_bytes()).await.is_ok() {
            next = "x";
            tick.tick().await;
        }
    })
    .await;
    let (came, error) = read_all(opened(&drip).await).await;
    assert!(came > 0, "it keeps coming");
    assert_eq!(error, Some(io::ErrorKind::TimedOut));

    let whole = Server::answering(ok(&"x".repeat(4_000_000))).await;
    let mut answer = opened(&whole).await;
    let first = answer.body.next().await.unwrap().unwrap().len();
    // Longer than the server may stand still.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(read_all(answer).await, (4_000_000 - first, None));
}

#[tokio::test]
async fn an_answer_that_is_read_as_it_comes_is_called_for_by_the_same_rules() {
    let canary = Server::canary().await;
    let mut request = get(URL);
    request.url = format!("https://{}/", canary.address).into();
    assert!(matches!(
        simulated(&canary).open(request).await,
        Err(patchbay_app::wire::WireError::Blocked(_))
    ));
    assert_eq!(canary.connects(), 0);
}

//! Streamed bodies: their length on the wire, their memory, and what happens when they stop.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use patchbay_app::wire::{Wire, WireBody, WireRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::{Server, assert_lost, get, header, ok, read_head, simulated};

const MIB: usize = 1024 * 1024;

fn put<S>(len: usize, pieces: S) -> WireRequest
where
    S: futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let mut request = get("https://api.example.com/upload?token=canary");
    request.method = "PUT".to_owned();
    request.body = WireBody::Stream {
        len: len as u64,
        stream: pieces.boxed(),
    };
    request
}

/// Reads a request until its sender stops, reports head and body, and answers if the body is complete.
async fn receiver() -> (Server, mpsc::Receiver<(String, Vec<u8>)>) {
    let (sender, received) = mpsc::channel(4);
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await;
            // A body that is known to be wrong at once is given up before even the head is sent.
            let len = header(&head, "content-length").map_or(u64::MAX, |len| len.parse().unwrap());
            let mut body = Vec::new();
            // A reset counts as the end.
            (&mut stream).take(len).read_to_end(&mut body).await.ok();
            let complete = body.len() as u64 == len;
            sender.send((head, body)).await.unwrap();
            if complete {
                stream.write_all(ok("").as_bytes()).await.ok();
            }
        }
    })
    .await;
    (server, received)
}

#[tokio::test]
async fn a_stream_is_sent_with_its_exact_length_and_without_chunks() {
    let (server, mut received) = receiver().await;
    let pieces = [&b"abc"[..], b"", b"defg", b"hij"].map(|piece| Ok(Bytes::from_static(piece)));
    let answer = simulated(&server).send(put(10, stream::iter(pieces))).await.unwrap();
    assert_eq!(answer.status, 200);
    let (head, body) = received.recv().await.unwrap();
    assert_eq!(header(&head, "content-length"), Some("10"));
    assert_eq!(header(&head, "transfer-encoding"), None);
    assert_eq!(head.to_ascii_lowercase().matches("content-length").count(), 1);
    assert_eq!(body, b"abcdefghij");

    simulated(&server).send(put(0, stream::empty())).await.unwrap();
    assert_eq!(header(&received.recv().await.unwrap().0, "content-length"), Some("0"));
}

#[tokio::test]
async fn a_stream_that_does_not_match_its_length_never_completes() {
    let (server, mut received) = receiver().await;
    let egress = simulated(&server);
    let piece = || Ok(Bytes::from_static(b"0123456789"));

    let short = egress.send(put(21, stream::iter([piece(), piece()]))).await;
    assert_lost(short, "ended before its announced length");
    assert!(received.recv().await.unwrap().1.len() < 21);

    let long = egress.send(put(20, stream::iter([piece(), piece(), piece()]))).await;
    assert_lost(long, "longer than announced");
    assert!(received.recv().await.unwrap().1.len() < 20);

    let failed = egress
        .send(put(20, stream::iter([piece(), Err(io::Error::other("canary"))])))
        .await;
    assert_lost(failed, "the source of the request body failed");
    assert!(received.recv().await.unwrap().1.len() < 20);
    assert_eq!(server.connects(), 3, "a broken connection is not used again");
}

/// A piece that counts how many bytes are alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_large_upload_keeps_little_in_memory() {
    const PIECES: usize = 256;
    let server = Server::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let mut left: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(ok("").as_bytes()).await.unwrap();
    })
    .await;
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_seen = Arc::clone(&most);
    let pieces = stream::iter(0..PIECES).map(move |_| {
        let now = alive.fetch_add(MIB, Ordering::SeqCst) + MIB;
        most_seen.fetch_max(now, Ordering::SeqCst);
        Ok(Bytes::from_owner(Counted(vec![7; MIB], Arc::clone(&alive))))
    });
    assert_eq!(
        simulated(&server).send(put(PIECES * MIB, pieces)).await.unwrap().status,
        200
    );
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 4 * MIB, "{most} bytes alive at once");
}

#[tokio::test]
async fn a_receiver_that_stops_reading_is_cut() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let (alive, mut dropped) = mpsc::channel::<()>(1);
    let pieces = stream::repeat_with(move || {
        let _alive = &alive;
        Ok(Bytes::from_static(&[0; 64 * 1024]))
    });
    let mut request = put(1024 * MIB, pieces);
    request.timeout = Duration::from_millis(300);
    assert_lost(simulated(&server).send(request).await, "timed out");
    assert_eq!(dropped.recv().await, None, "the source is let go");
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_cut_after_the_drain_time() {
    let server = Server::start(|mut stream| async move {
        super::read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = super::simulator_config(&server);
    config.drain_timeout = Duration::from_millis(100);
    let mut request = put(3, stream::iter([Ok(Bytes::from_static(b"abc"))]));
    request.timeout = Duration::from_millis(100);
    assert_lost(crate::Egress::new(config).unwrap().send(request).await, "timed out");
}

#[tokio::test]
async fn a_slow_but_steady_upload_may_take_longer_than_its_stall_time() {
    let (server, _received) = receiver().await;
    let ticks = tokio::time::interval(Duration::from_millis(100));
    let pieces = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Ok(Bytes::from_static(b"0123456789")), ticks))
    });
    let mut request = put(200, pieces.take(20));
    request.timeout = Duration::from_secs(1);
    let started = std::time::Instant::now();
    assert_eq!(simulated(&server).send(request).await.unwrap().status, 200);
    assert!(started.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn a_steady_upload_still_has_an_end() {
    let (server, _received) = receiver().await;
    let ticks = tokio::time::interval(Duration::from_millis(10));
    let pieces = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Ok(Bytes::from_static(b"x")), ticks))
    });
    let mut config = super::simulator_config(&server);
    config.stream_timeout = Duration::from_millis(300);
    assert_lost(
        crate::Egress::new(config).unwrap().send(put(MIB, pieces)).await,
        "timed out",
    );
}

#[tokio::test]
async fn a_body_stops_when_the_answer_comes_first() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let (alive, mut dropped) = mpsc::channel::<()>(1);
    let first = stream::iter([Ok(Bytes::from_static(b"abc"))]);
    let pieces = first.chain(stream::once(async move {
        let _alive = alive;
        std::future::pending().await
    }));
    assert_eq!(simulated(&server).send(put(100, pieces)).await.unwrap().status, 413);
    assert_eq!(dropped.recv().await, None, "the source is let go");
}

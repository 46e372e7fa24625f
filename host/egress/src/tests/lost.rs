//! Not sent or lost. Only what certainly never left may count as not sent, because it will be sent again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use patchbay_app::wire::{Wire, WireRequest};
use tokio::io::AsyncWriteExt;

use super::{Server, assert_lost, assert_not_sent, get, ok, read_request, simulated};

const URL: &str = "https://api.example.com/v2/post?access_token=canary";

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let server = Server::canary().await;
    let egress = simulated(&server);
    server.task.abort();
    // The port is free once the task has dropped its listener.
    while !server.task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_not_sent(egress.send(get(URL)).await, "connection refused");
}

#[tokio::test]
async fn a_connection_closed_before_the_request_is_read_is_lost() {
    let server = Server::start(|stream| async move { drop(stream) }).await;
    assert_lost(simulated(&server).send(get(URL)).await, "");
    assert_eq!(server.connects(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_connection_closed_after_the_request_is_read_is_lost() {
    let server = Server::answering("").await;
    assert_lost(simulated(&server).send(get(URL)).await, "connection closed");
    assert_eq!(server.connects(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_partial_answer_is_lost() {
    for part in [
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "not http at all\r\n\r\n",
    ] {
        let server = Server::answering(part).await;
        assert_lost(simulated(&server).send(get(URL)).await, "");
        assert_eq!(server.connects(), 1);
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_its_loss_is_not_tried_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let server = Server::start(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            stream.write_all(ok("one").as_bytes()).await.unwrap();
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let egress = simulated(&server);
    assert_eq!(egress.send(get(URL)).await.unwrap().body, "one");
    assert_lost(egress.send(get(URL)).await, "");
    assert_eq!((requests.load(Ordering::SeqCst), server.connects()), (2, 1));
}

#[tokio::test]
async fn an_answer_that_came_while_the_process_stood_still_is_not_lost() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(ok("in time").as_bytes()).await.unwrap();
        // Of the one thread that all of this test runs on.
        std::thread::sleep(Duration::from_millis(1_500));
    })
    .await;
    let call = WireRequest {
        timeout: Duration::from_millis(200),
        ..get(URL)
    };
    assert_eq!(simulated(&server).send(call).await.unwrap().body, "in time");
}

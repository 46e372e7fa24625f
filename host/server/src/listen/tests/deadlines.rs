use super::*;

#[tokio::test]
async fn a_silent_client_is_closed() {
    let server = Server::start(Limits {
        first_byte: SHORT,
        ..patient()
    })
    .await;
    assert_eq!(closed(&mut server.connect().await).await, b"");
}

#[tokio::test]
async fn a_client_that_does_not_finish_the_tls_handshake_is_closed() {
    let limits = Limits {
        tls_handshake: SHORT,
        ..patient()
    };
    let server = Server::start_with(limits, Some(protocols::tls().0)).await;
    let mut socket = server.connect().await;
    // The start of a record with a ClientHello of 512 bytes.
    socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    assert_eq!(closed(&mut socket).await, b"");
}

#[tokio::test]
async fn headers_that_drip_are_closed() {
    let server = Server::start(Limits {
        headers: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    drip(socket, b"X: a\r\n").await;
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn headers_that_drip_on_a_used_connection_are_closed() {
    let server = Server::start(Limits {
        headers: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut socket, "hello").await;
    drip(socket, b"A").await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_beginning_that_could_become_http2_is_closed() {
    let server = Server::start(Limits {
        headers: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(&h2::PREFACE[..10]).await.unwrap();
    assert_eq!(closed(&mut socket).await, b"");
}

#[tokio::test]
async fn http2_without_a_request_is_closed() {
    let server = Server::start(Limits {
        headers: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(h2::PREFACE).await.unwrap();
    socket.write_all(&h2::settings()).await.unwrap();
    // Headers that never end do not count as a request.
    socket.write_all(&h2::get(1, h2::END_STREAM, "/")).await.unwrap();
    closed(&mut socket).await;
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_body_that_stops_is_answered_with_408_and_closed() {
    let server = Server::start(Limits {
        body_idle: SHORT,
        ..patient()
    })
    .await;
    for body in [
        "Content-Length: 100\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let answer = server
            .exchange(format!("POST /length HTTP/1.1\r\nHost: a\r\n{body}"))
            .await;
        assert_eq!(status(&answer), "HTTP/1.1 408 Request Timeout");
        assert!(answer.contains("connection: close"));
    }
}

#[tokio::test]
async fn a_body_that_drips_is_answered_with_408_and_closed() {
    let server = Server::start(Limits {
        body_bytes_per_second: 16 * 1024,
        body_rate_window: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    let answer = drip(socket, b"abc").await;
    assert_eq!(status(&answer), "HTTP/1.1 408 Request Timeout");
}

#[tokio::test]
async fn the_time_a_handler_takes_is_not_the_clients() {
    let server = Server::start(Limits {
        body_idle: SLOW_READER_PAUSE * 4 / 5,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    let head = "POST /slow-reader HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in [b"abc", b"def"] {
        within("for the handler", server.world.started.notified()).await;
        socket.write_all(piece).await.unwrap();
    }
    let answer = text(closed(&mut socket).await);
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.ends_with("\r\n\r\n6"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(Limits {
        idle: SHORT,
        ..patient()
    })
    .await;
    let answer = server.exchange(GET).await;
    assert!(answer.ends_with("hello"));
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let server = Server::start(Limits {
        idle: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(h2::PREFACE).await.unwrap();
    socket.write_all(&h2::settings()).await.unwrap();
    socket
        .write_all(&h2::get(1, h2::END_STREAM | h2::END_HEADERS, "/"))
        .await
        .unwrap();
    let received = closed(&mut socket).await;
    assert!(received.windows(5).any(|bytes| bytes == b"hello"));
}

#[tokio::test]
async fn a_request_in_progress_is_not_idle() {
    let server = Server::start(Limits {
        idle: SHORT,
        headers: SHORT,
        linger: Duration::from_millis(1),
        ..patient()
    })
    .await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within("for the handler", server.world.started.notified()).await;
    // Others come and are closed for being idle, one after the other, while this one goes on.
    for _ in 0..3 {
        server.exchange(GET).await;
    }
    server.world.release.notify_one();
    assert!(read_until(&mut busy, "done").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_response_that_pauses_is_not_taken_for_a_client_that_does_not_read() {
    let server = Server::start(Limits {
        idle: SHORT,
        response_stall: SHORT,
        linger: Duration::from_millis(1),
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    let request = b"GET /pausing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    read_until(&mut socket, "one\r\n").await;
    // Each of these lasts as long as the deadline.
    for _ in 0..3 {
        server.exchange(GET).await;
    }
    server.world.release.notify_one();
    assert!(text(closed(&mut socket).await).contains("two"));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_closed() {
    let server = Server::start(Limits {
        response_stall: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    within("for the response to be dropped", server.world.dropped.notified()).await;
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_its_answer_is_closed() {
    let server = Server::start(Limits {
        response_stall: SHORT,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(h2::PREFACE).await.unwrap();
    socket.write_all(&h2::settings()).await.unwrap();
    socket
        .write_all(&h2::get(1, h2::END_STREAM | h2::END_HEADERS, "/endless"))
        .await
        .unwrap();
    // It reads the socket, but never widens the flow control window.
    closed(&mut socket).await;
    within("for the response to be dropped", server.world.dropped.notified()).await;
}

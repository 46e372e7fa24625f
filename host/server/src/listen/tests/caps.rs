use super::*;

/// Takes a connection that is known to be accepted.
async fn accepted(server: &Server) -> TcpStream {
    let mut socket = server.connect().await;
    socket.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut socket, "hello").await;
    socket
}

/// Tries until a connection gets an answer.
async fn accepted_again(server: &Server) {
    within("for a free connection", async {
        loop {
            let mut socket = server.connect().await;
            let mut received = Vec::new();
            if socket.write_all(LAST_GET.as_bytes()).await.is_ok() {
                while let Ok(1..) = socket.read_buf(&mut received).await {}
            }
            if received.ends_with(b"hello") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn one_address_has_its_share_of_connections() {
    let server = Server::start(Limits {
        sockets_per_ip: 2,
        ..patient()
    })
    .await;
    let first = accepted(&server).await;
    let _second = accepted(&server).await;
    assert_eq!(closed(&mut server.connect().await).await, b"");
    drop(first);
    accepted_again(&server).await;
}

#[tokio::test]
async fn connections_are_capped_in_all() {
    let server = Server::start(Limits {
        sockets: 2,
        ..patient()
    })
    .await;
    let first = accepted(&server).await;
    let _second = accepted(&server).await;
    assert_eq!(closed(&mut server.connect().await).await, b"");
    drop(first);
    accepted_again(&server).await;
}

#[tokio::test]
async fn oversized_heads_are_answered_and_closed() {
    let server = Server::start(patient()).await;
    let limits = patient();
    let long_uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(limits.uri_bytes));
    let answer = server.exchange(&long_uri).await;
    assert_eq!(status(&answer), "HTTP/1.1 414 URI Too Long");
    assert!(answer.contains("connection: close"));

    let endless_uri = "a".repeat(300_000);
    assert_eq!(
        status(&server.exchange(&endless_uri).await),
        "HTTP/1.1 414 URI Too Long"
    );

    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: b\r\n".repeat(limits.header_count)
    );
    let too_large = "HTTP/1.1 431 Request Header Fields Too Large";
    assert_eq!(status(&server.exchange(&many).await), too_large);

    let long_header = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "a".repeat(limits.header_bytes)
    );
    assert_eq!(status(&server.exchange(&long_header).await), too_large);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_client_still_sending_gets_its_refusal_without_a_reset() {
    let server = Server::start(Limits {
        linger: HOUR,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    // No handler reads this body.
    let head = b"POST /no-such-thing HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    socket.write_all(head).await.unwrap();
    assert_eq!(status(&text(closed(&mut socket).await)), "HTTP/1.1 404 Not Found");
    for _ in 0..1000 {
        socket.write_all(&[b'x'; 100]).await.expect("still connected");
    }
    socket.shutdown().await.expect("still connected");
    within("for the server to let go", async {
        server.shutdown.cancel();
        server.task.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_largest_allowed_head_is_served() {
    let server = Server::start(patient()).await;
    let limits = patient();
    let query = "q".repeat(limits.uri_bytes - 2);
    let value = "v".repeat(limits.header_bytes - 100);
    let answer = server
        .exchange(format!(
            "GET /?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {value}\r\n\r\n"
        ))
        .await;
    assert!(answer.ends_with("hello"), "{}", status(&answer));
}

#[tokio::test]
async fn http2_heads_are_capped_too() {
    let server = Server::start(patient()).await;
    let limits = patient();
    let client = protocols::http2_client();
    let url = format!("http://{}", server.addr);
    let get = |url: String, headers: http::HeaderMap| {
        let client = client.clone();
        async move { within("for an answer", client.get(url).headers(headers).send()).await }
    };

    let long_uri = format!("{url}/{}", "a".repeat(limits.uri_bytes));
    let answer = get(long_uri, http::HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::URI_TOO_LONG);

    let mut many = http::HeaderMap::new();
    for _ in 0..=limits.header_count {
        many.append("x", http::HeaderValue::from_static("b"));
    }
    let answer = get(url.clone(), many).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let mut long = http::HeaderMap::new();
    long.append("x", "v".repeat(limits.header_bytes).parse().unwrap());
    let answer = get(url, long).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_client_that_keeps_abandoning_requests_is_closed() {
    let server = Server::start(Limits {
        h2_resets: 20,
        ..patient()
    })
    .await;
    let mut socket = server.connect().await;
    socket.write_all(h2::PREFACE).await.unwrap();
    socket.write_all(&h2::settings()).await.unwrap();
    let (mut read, mut write) = socket.into_split();
    let world = server.world.clone();
    let flood = tokio::spawn(async move {
        for stream in (1..).step_by(2) {
            let request = h2::get(stream, h2::END_STREAM | h2::END_HEADERS, "/wait");
            if write.write_all(&request).await.is_err() {
                break;
            }
            // Only a request that a handler works on costs something.
            world.started.notified().await;
            if write.write_all(&h2::reset(stream)).await.is_err() {
                break;
            }
        }
    });
    closed(&mut read).await;
    flood.abort();
}

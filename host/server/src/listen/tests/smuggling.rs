//! Row T69: what two readers could understand in two ways is answered with 400 and closed, and nothing that follows
//! is taken for a request.

use super::*;

#[tokio::test]
async fn ambiguous_heads_get_400_and_the_connection_is_closed() {
    let corpus = [
        (
            "length and chunked",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked and length",
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\n",
        ),
        (
            "the same length twice",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a list of lengths",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
        ),
        (
            "a signed length",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
        ),
        (
            "a space before the colon",
            "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length : 30\r\n\r\n",
        ),
        ("a bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("a bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("a bare LF for the last line", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        (
            "a bare CR",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 30\r\n\r\n",
        ),
        ("a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        (
            "a folded encoding",
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a first header with a space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        (
            "an unknown encoding",
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "an encoding list",
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "an encoding twice",
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        ),
        (
            "an encoding before its time",
            "POST /length HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a null in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a version of the future", "GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
    ];
    let server = Server::start(patient()).await;
    for (name, head) in corpus {
        // The hidden request must not be answered.
        let answer = server.exchange(format!("{head}{GET}")).await;
        assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request", "{name}");
        assert!(answer.contains("connection: close\r\n"), "{name}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}");
        assert_eq!(server.requests(), 0, "{name}");
    }
}

#[tokio::test]
async fn requests_before_a_bad_one_are_answered_first() {
    let server = Server::start(patient()).await;
    let answer = server
        .exchange(format!("{GET}{GET}GET / HTTP/1.1\nHost: a\r\n\r\n{GET}"))
        .await;
    let lines: Vec<_> = answer.lines().filter(|line| line.contains("HTTP/1.1")).collect();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    assert_eq!(lines[1], "helloHTTP/1.1 200 OK");
    assert_eq!(lines[2], "helloHTTP/1.1 400 Bad Request");
    assert_eq!(lines.len(), 3);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn broken_chunks_get_400_and_the_connection_is_closed() {
    let server = Server::start(patient()).await;
    for (count, body) in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let head = "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = server.exchange(format!("{head}{body}{GET}")).await;
        assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request", "{body:?}");
        assert!(answer.contains("connection: close\r\n"), "{body:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{body:?}");
        assert_eq!(server.requests(), count + 1, "only the handler of the broken body ran");
    }
}

use super::*;

fn framing() -> Framing {
    Framing::http1(&Limits::default())
}

/// Feeds `input` in pieces of `size` and collects what passes, up to the first refusal.
fn run(input: &[u8], size: usize) -> (Vec<u8>, usize, Option<Step>) {
    let mut framing = framing();
    let (mut raw, mut passed, mut heads) = (Vec::new(), Vec::new(), 0);
    for piece in input.chunks(size) {
        raw.extend_from_slice(piece);
        loop {
            match framing.step(&raw) {
                Step::More => break,
                Step::Pass(len) => passed.extend(raw.drain(..len)),
                Step::PassHead(len) => {
                    heads += 1;
                    passed.extend(raw.drain(..len));
                }
                bad => return (passed, heads, Some(bad)),
            }
        }
    }
    (passed, heads, None)
}

/// Whole, byte by byte, and in uneven pieces: the outcome must not depend on how the network cut it.
#[track_caller]
fn check(input: &str, heads: usize, end: Option<&Step>) {
    for size in [usize::MAX, 1, 2, 3, 7] {
        let (passed, found, bad) = run(input.as_bytes(), size);
        assert_eq!(bad.as_ref(), end, "{input:?} in pieces of {size}");
        assert_eq!(found, heads, "{input:?} in pieces of {size}");
        assert!(input.as_bytes().starts_with(&passed), "nothing is changed on the way");
        if end.is_none() {
            assert_eq!(passed.len(), input.len(), "{input:?} in pieces of {size}");
        }
    }
}

#[track_caller]
fn passes(input: &str, heads: usize) {
    check(input, heads, None);
}

#[track_caller]
fn refuses(input: &str, status: u16) {
    check(input, 0, Some(&Step::Refuse(StatusCode::from_u16(status).unwrap())));
}

#[track_caller]
fn breaks(body: &str) {
    let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    check(&input, 1, Some(&Step::Broken));
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_in_a_row_are_told_apart() {
    passes(GET, 1);
    passes(&GET.repeat(3), 3);
    passes(
        &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /{GET}"),
        2,
    );
    passes(
        &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t0 \r\n\r\n{GET}"),
        2,
    );
    passes(&format!("\r\n{GET}\r\n{GET}"), 2);
    passes("GET / HTTP/1.0\r\n\r\n", 1);
}

#[test]
fn chunked_bodies_end_where_they_say() {
    let head = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
    passes(&format!("{head}0\r\n\r\n{GET}"), 2);
    passes(
        &format!("{head}5\r\nhello\r\n00A;note=\"x\"\r\n0123456789\r\n0\r\n\r\n{GET}"),
        2,
    );
    passes(&format!("{head}1\r\n\n\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n{GET}"), 2);
}

#[test]
fn two_ways_to_tell_the_length_are_refused() {
    refuses(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
    refuses(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        400,
    );
    refuses(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        400,
    );
    refuses(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
        400,
    );
    refuses(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
}

#[test]
fn lengths_and_encodings_must_be_plain() {
    for length in [
        "",
        "+5",
        "-1",
        "5, 5",
        "0x5",
        "5 5",
        "5;",
        "99999999999999999999",
        "9223372036854775808",
    ] {
        refuses(
            &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
            400,
        );
    }
    for encoding in [
        "gzip",
        "gzip, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "\u{b}chunked",
        "",
    ] {
        refuses(
            &format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {encoding}\r\n\r\n"),
            400,
        );
    }
    refuses("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

#[test]
fn lines_end_with_cr_lf_only() {
    refuses("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    refuses(
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
    refuses("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refuses("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn header_lines_are_a_name_a_colon_and_text() {
    for line in [
        " folded: value",
        "\tfolded",
        "X: a\r\n continued",
        "Content-Length : 5",
        ": empty",
        "no colon",
        "X\0: a",
        "X: a\0b",
        "X: a\u{7f}b",
        "(X): a",
    ] {
        refuses(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"), 400);
    }
    passes(
        "GET / HTTP/1.1\r\nhost: a\r\nx-empty:\r\nx-tab:\ta\tb\r\nx-wide: \u{e9}\r\n\r\n",
        1,
    );
}

#[test]
fn request_lines_are_three_words() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        " GET / HTTP/1.1",
    ] {
        refuses(&format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
    refuses("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501);
}

#[test]
fn a_request_names_one_host() {
    refuses("GET / HTTP/1.1\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn sizes_are_capped_to_the_byte() {
    let limits = Limits::default();
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    passes(&target(limits.uri_bytes), 1);
    refuses(&target(limits.uri_bytes + 1), 414);
    refuses(&"A".repeat(limits.uri_bytes + 100), 414);

    // `Host: a`, `X: ` and three line ends.
    let headers = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(len - 16));
    passes(&headers(limits.header_bytes), 1);
    refuses(&headers(limits.header_bytes + 1), 431);
    refuses(
        &format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(limits.header_bytes)),
        431,
    );

    let count = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: b\r\n".repeat(count - 1));
    passes(&count(limits.header_count), 1);
    refuses(&count(limits.header_count + 1), 431);
}

#[test]
fn broken_chunks_are_noticed() {
    for body in [
        "\r\n",
        "5\nhello\r\n",
        "5 \r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "g\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n0\r\n",
        "5\r\nhello\rX",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\n\n",
    ] {
        breaks(body);
    }
    breaks(&format!("5;{}\r\nhello", "a".repeat(CHUNK_LINE_BYTES)));
    breaks(&format!(
        "0\r\n{}\r\n",
        "X: aaaaaaaaaaaaaaa\r\n".repeat(TRAILER_BYTES / 16)
    ));
}

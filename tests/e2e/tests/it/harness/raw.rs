//! HTTP by hand, for what a well-behaved client does not do: bodies without an end, callers that hang up.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends a head and then pieces of a chunked body, for as long as the other side takes them. Gives the answer, and
/// whether the connection was closed after it.
pub async fn endless(base: &str, head: &str, piece: &[u8], most_pieces: usize) -> (u16, bool) {
    let stream = connect(base).await;
    let (mut reader, mut writer) = stream.into_split();
    writer
        .write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let piece = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let sending = tokio::spawn(async move {
        for _ in 0..most_pieces {
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(60), async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    })
    .await
    .is_ok();
    sending.abort();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {text:?}")), closed)
}

/// Sends a whole request and keeps the connection open, to be dropped by the caller.
pub async fn begin(base: &str, request: &str) -> TcpStream {
    let mut stream = connect(base).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn connect(base: &str) -> TcpStream {
    TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap()
}

//! Many clients that send webhooks over connections that stay open, each the next one when the last is answered.
//!
//! They share the machine with what is measured, so they do as little as possible: one thread, requests that were
//! made before, one write and one read for each, and no more of an answer than its status and length.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

use crate::{cpu, webhooks::Webhooks};

/// What to do.
#[derive(Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// Clients, one connection each.
    pub connections: usize,
    /// What they send.
    pub webhooks: Arc<Webhooks>,
    /// Time before anything counts. It ends at the first answer, if that comes later.
    pub warmup: Duration,
    /// Time that counts.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Answers {
    /// Numbers of the webhooks that were answered 200, at any time.
    pub accepted: Vec<usize>,
    /// Webhooks that were answered otherwise.
    pub refused: usize,
    /// 200s within the time that counts.
    pub counted: usize,
    /// That time; shorter than planned if the webhooks ran out.
    pub elapsed: Duration,
    /// From a request to its answer, of those that count, in seconds.
    pub latencies: Vec<f64>,
    /// Processor time of the clients, for all that was sent.
    pub cpu: Duration,
}

impl Answers {
    /// Accepted webhooks a second.
    pub fn rate(&self) -> f64 {
        self.counted as f64 / self.elapsed.as_secs_f64()
    }
}

/// Longest head of an answer.
const HEAD_BYTES: usize = 8 * 1024;
/// Longest wait for an answer. A host gives up on its database after 2 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends until the time is over. Every webhook that was sent is answered by then.
///
/// # Errors
/// A connection broke, or an answer did not come.
pub async fn run(load: Load) -> anyhow::Result<Answers> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let before = cpu::of_this_thread()?;
        let mut answers = LocalSet::new().block_on(&runtime, send_all(load))?;
        answers.cpu = cpu::of_this_thread()? - before;
        Ok(answers)
    })
    .await?
}

struct Shared {
    load: Load,
    next: Cell<usize>,
    /// When it begins to count; later if there is no answer yet.
    from: Cell<Instant>,
    answers: RefCell<Answers>,
    last: Cell<Instant>,
}

impl Shared {
    fn until(&self) -> Instant {
        self.from.get() + self.load.time
    }

    /// Whether what was answered now counts. A server that is slow to begin does not use up the time.
    fn counts(&self, now: Instant) -> bool {
        let is_first = self.answers.borrow().accepted.is_empty();
        if is_first && now > self.from.get() {
            self.from.set(now);
            self.last.set(now);
        }
        (self.from.get()..self.until()).contains(&now)
    }
}

async fn send_all(load: Load) -> anyhow::Result<Answers> {
    let mut sockets = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        let socket = TcpStream::connect(load.address).await.context("connecting")?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let from = Instant::now() + load.warmup;
    let shared = Rc::new(Shared {
        next: Cell::new(0),
        from: Cell::new(from),
        answers: RefCell::default(),
        last: Cell::new(from),
        load,
    });
    let clients: Vec<_> = sockets
        .into_iter()
        .map(|socket| tokio::task::spawn_local(client(socket, shared.clone())))
        .collect();
    let all = async {
        for client in clients {
            client.await??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout_at((from + PATIENCE + shared.load.time + PATIENCE).into(), all)
        .await
        .context("an answer did not come")??;
    let mut answers = shared.answers.take();
    let ran_out = shared.next.get() >= shared.load.webhooks.count();
    answers.elapsed = if ran_out {
        shared.last.get().min(shared.until()) - shared.from.get()
    } else {
        shared.load.time
    };
    ensure!(answers.counted > 0, "nothing was accepted in the time that counts");
    Ok(answers)
}

async fn client(mut socket: TcpStream, shared: Rc<Shared>) -> anyhow::Result<()> {
    let mut answer = vec![0; HEAD_BYTES];
    loop {
        let sent = Instant::now();
        let number = shared.next.get();
        // Until there is an answer, the time has not begun.
        let over = sent >= shared.until() && !shared.answers.borrow().accepted.is_empty();
        if number >= shared.load.webhooks.count() || over {
            return Ok(());
        }
        shared.next.set(number + 1);
        socket.write_all(shared.load.webhooks.request(number)).await?;
        let accepted = read_answer(&mut socket, &mut answer).await?;
        let now = Instant::now();
        if !accepted {
            shared.answers.borrow_mut().refused += 1;
            continue;
        }
        let counts = shared.counts(now);
        let mut answers = shared.answers.borrow_mut();
        answers.accepted.push(number);
        if counts {
            answers.counted += 1;
            answers.latencies.push((now - sent).as_secs_f64());
            shared.last.set(now);
        }
    }
}

/// Whether the answer is a 200. Reads it whole.
async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<bool> {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed a connection, or its answer is too long");
        filled += read;
        if let Some(end) = end_of_answer(&buffer[..filled])? {
            ensure!(end == filled, "the server sent more than an answer");
            return Ok(buffer[..filled].get(9..12) == Some(b"200"));
        }
    }
}

/// Where the answer ends, once all of it is there.
fn end_of_answer(read: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    for line in read[..head].split(|byte| *byte == b'\n').skip(1) {
        const NAME: &[u8] = b"content-length:";
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let length: usize = std::str::from_utf8(line[NAME.len()..].trim_ascii())?.parse()?;
            let end = head + 4 + length;
            return Ok((read.len() >= end).then_some(end));
        }
    }
    bail!("an answer without a length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(end_of_answer(whole).unwrap(), Some(whole.len()));
        assert_eq!(end_of_answer(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(end_of_answer(&whole[..20]).unwrap(), None);
        assert!(end_of_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}

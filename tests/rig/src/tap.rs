//! A TCP tap between host and simulator: it hears what is said, and can stand still or be closed at a chosen byte.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// As much of both directions is kept.
const MAX_HEARD: usize = 8 << 20;

/// Stands between the host and one listener of the simulator.
pub struct Tap {
    /// Where the host is to connect.
    pub address: SocketAddr,
    line: Arc<Line>,
    closed: Option<TcpSocket>,
    accepting: Option<AbortHandle>,
}

struct Line {
    target: SocketAddr,
    listens: bool,
    heard: Mutex<Vec<u8>>,
    up: AtomicU64,
    rules: watch::Sender<Rules>,
}

#[derive(Clone, Copy, Default)]
struct Rules {
    /// Requests go no further than this many bytes, counted from the start.
    stall_after: Option<u64>,
    /// Answers are held once this many bytes of requests have passed.
    hold_answers_after: Option<u64>,
    /// Answers are under way for this long.
    answers_take: Duration,
}

impl Tap {
    /// An open tap that remembers what it hears.
    pub fn hearing(target: SocketAddr) -> Self {
        Self::new(target, true)
    }

    /// An open tap that only counts.
    pub fn counting(target: SocketAddr) -> Self {
        Self::new(target, false)
    }

    /// A tap whose address refuses connections until it is opened.
    pub fn closed(target: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Bound, so that the address is ours; it refuses as long as nobody listens on it.
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            line: Arc::new(Line {
                target,
                listens: true,
                heard: Mutex::default(),
                up: AtomicU64::new(0),
                rules: watch::Sender::default(),
            }),
            closed: Some(socket),
            accepting: None,
        }
    }

    fn new(target: SocketAddr, listens: bool) -> Self {
        let mut tap = Self::closed(target);
        Arc::get_mut(&mut tap.line).unwrap().listens = listens;
        tap.open();
        tap
    }

    /// Takes connections from now on.
    pub fn open(&mut self) {
        let socket = self.closed.take().expect("a tap is opened once");
        let listener = socket.listen(128).unwrap();
        self.accepting = Some(tokio::spawn(accept(listener, self.line.clone())).abort_handle());
    }

    /// Bytes of requests that have passed.
    pub fn sent(&self) -> u64 {
        self.line.up.load(Ordering::SeqCst)
    }

    /// Everything that was said, in both directions.
    pub fn heard(&self) -> Vec<u8> {
        self.line.heard.lock().unwrap().clone()
    }

    /// Lets requests go no further than this many bytes from now.
    pub fn stall_after(&self, more: u64) {
        let at = self.sent() + more;
        self.line.rules.send_modify(|rules| rules.stall_after = Some(at));
    }

    /// Holds answers once this many more bytes of requests have passed.
    pub fn hold_answers_after(&self, more: u64) {
        let at = self.sent() + more;
        self.line.rules.send_modify(|rules| rules.hold_answers_after = Some(at));
    }

    /// Lets answers take their time: that between an effect and the host's knowing of it.
    pub fn answers_take(&self, time: Duration) {
        self.line.rules.send_modify(|rules| rules.answers_take = time);
    }

    /// Whether requests stand still.
    pub fn is_stalled(&self) -> bool {
        self.line.rules.borrow().stall_after.is_some_and(|at| self.sent() >= at)
    }

    /// Lets everything pass again.
    pub fn release(&self) {
        self.line.rules.send_modify(|rules| *rules = Rules::default());
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    while let Ok((from, _)) = listener.accept().await {
        let line = line.clone();
        tokio::spawn(async move {
            let Ok(to) = TcpStream::connect(line.target).await else {
                return;
            };
            let (from_host, to_host) = from.into_split();
            let (from_platform, to_platform) = to.into_split();
            // One side's end is the end: HTTP here leaves nothing half open.
            tokio::select! {
                () = requests(&line, from_host, to_platform) => {}
                () = answers(&line, from_platform, to_host) => {}
            }
        });
    }
}

async fn requests(line: &Line, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut rules = line.rules.subscribe();
    let mut piece = vec![0; 64 * 1024];
    let mut pending = Vec::new();
    loop {
        let room = line
            .rules
            .borrow()
            .stall_after
            .map_or(u64::MAX, |at| at.saturating_sub(line.up.load(Ordering::SeqCst)));
        let now = pending.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if now > 0 {
            if to.write_all(&pending[..now]).await.is_err() {
                return;
            }
            line.up.fetch_add(now as u64, Ordering::SeqCst);
            pending.drain(..now);
            continue;
        }
        // Reading goes on while requests stand still: only so is it seen that the host is gone.
        tokio::select! {
            _ = rules.wait_for(|rules| rules.stall_after.is_none()), if !pending.is_empty() => {}
            read = from.read(&mut piece) => match read {
                Ok(length @ 1..) => {
                    line.hear(&piece[..length]);
                    pending.extend_from_slice(&piece[..length]);
                }
                Ok(0) | Err(_) => return,
            },
        }
    }
}

async fn answers(line: &Line, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        line.hear(&piece[..length]);
        let delay = line.rules.borrow().answers_take;
        tokio::time::sleep(delay).await;
        let mut rules = line.rules.subscribe();
        let free = |rules: &Rules| {
            rules
                .hold_answers_after
                .is_none_or(|at| line.up.load(Ordering::SeqCst) < at)
        };
        if rules.wait_for(free).await.is_err() || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

impl Line {
    fn hear(&self, piece: &[u8]) {
        let mut heard = self.heard.lock().unwrap();
        if self.listens && heard.len() < MAX_HEARD {
            heard.extend_from_slice(piece);
        }
    }
}

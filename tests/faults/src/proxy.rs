//! A bad line: a TCP proxy before the database or a platform that delays, drips, cuts, refuses, resets, loses answers,
//! or lets nothing through.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use patchbay_rig::host;
use patchbay_simulator_tiktok::simkit::Random;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// Stands before one address. Open at first.
pub struct Proxy {
    /// Where to connect instead.
    pub address: SocketAddr,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

struct Line {
    target: SocketAddr,
    rules: watch::Sender<Rules>,
    losing: Mutex<Option<Losing>>,
    lost: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Rules {
    passage: Passage,
    delay: Duration,
    /// So many bytes, then a pause.
    drip: Option<(usize, Duration)>,
    /// Raised to end every connection there is.
    cuts: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    /// Nothing passes, and nobody is told: as if a cable were pulled.
    Silent,
    /// Nobody listens.
    Refused,
    /// Connections are taken, and reset at the first word.
    Reset,
}

/// Requests whose answers are lost on the way, after they have taken effect.
struct Losing {
    /// What the request holds.
    request: Vec<u8>,
    /// How many of a thousand.
    per_mille: u64,
    random: Random,
}

impl Proxy {
    /// Listens at an address of its own.
    pub async fn before(target: SocketAddr) -> Self {
        // Not one that the system hands out: the same one is taken again after it has refused for a while.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, host::free_port()));
        let line = Arc::new(Line {
            target,
            rules: watch::Sender::default(),
            losing: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let accepting = tokio::spawn(accept(listener, line.clone()));
        Self {
            address,
            line,
            accepting,
        }
    }

    /// A database URL that leads through this proxy.
    pub fn in_url(&self, url: &str) -> String {
        let plain = format!("127.0.0.1:{}", self.line.target.port());
        assert!(url.contains(&plain), "{url} does not lead to {plain}");
        url.replace(&plain, &self.address.to_string())
    }

    /// Every piece, either way, takes this long.
    pub fn delay(&self, delay: Duration) {
        self.change(|rules| rules.delay = delay);
    }

    /// Lets through so many bytes, then pauses.
    pub fn drip(&self, bytes: usize, pause: Duration) {
        assert!(bytes > 0);
        self.change(|rules| rules.drip = Some((bytes, pause)));
    }

    /// Ends every connection. New ones are taken.
    pub fn cut(&self) {
        self.change(|rules| rules.cuts += 1);
    }

    /// Lets nothing through, without a word to either side. Connections stay, and go on when it is healed.
    pub fn partition(&self) {
        self.change(|rules| rules.passage = Passage::Silent);
    }

    /// Ends every connection and refuses new ones.
    pub fn refuse(&self) {
        self.change(|rules| {
            rules.passage = Passage::Refused;
            rules.cuts += 1;
        });
    }

    /// Ends every connection, and resets (RST) new ones as soon as something is sent.
    pub fn reset(&self) {
        self.change(|rules| {
            rules.passage = Passage::Reset;
            rules.cuts += 1;
        });
    }

    /// Loses the answers of some of the requests that hold this text: they are passed on, answered, and then the
    /// connection ends.
    pub fn lose_answers(&self, request: &str, per_mille: u64, seed: u64) {
        *self.line.losing.lock().unwrap() = Some(Losing {
            request: request.as_bytes().to_vec(),
            per_mille,
            random: Random::seeded(seed),
        });
    }

    /// Answers that were lost, and requests that were reset.
    pub fn lost(&self) -> u64 {
        self.line.lost.load(Ordering::SeqCst)
    }

    /// A good line again.
    pub fn heal(&self) {
        *self.line.losing.lock().unwrap() = None;
        self.change(|rules| {
            *rules = Rules {
                cuts: rules.cuts,
                ..Rules::default()
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.line.rules.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    let address = listener.local_addr().unwrap();
    let mut rules = line.rules.subscribe();
    let mut listening = Some(listener);
    loop {
        let Some(listener) = &listening else {
            if rules.wait_for(|rules| rules.passage != Passage::Refused).await.is_err() {
                return;
            }
            listening = Some(TcpListener::bind(address).await.unwrap());
            continue;
        };
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(carry(client, line.clone()));
                }
            }
            refused = rules.wait_for(|rules| rules.passage == Passage::Refused) => {
                if refused.is_err() {
                    return;
                }
                listening = None;
            }
        }
    }
}

async fn carry(client: TcpStream, line: Arc<Line>) {
    let mut rules = line.rules.subscribe();
    let cuts = rules.borrow().cuts;
    let whole = async {
        // Behind a pulled cable nobody answers the first packet either.
        passable(&line).await;
        if line.rules.borrow().passage == Passage::Reset {
            reset(&client, &line).await;
            return;
        }
        let Ok(server) = TcpStream::connect(line.target).await else {
            return;
        };
        // Small packets of a database's talk must not wait for each other.
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let loses = AtomicBool::new(false);
        tokio::select! {
            () = requests(&line, from_client, to_server, &loses) => {}
            () = answers(&line, from_server, to_client, &loses) => {}
        }
    };
    tokio::select! {
        () = whole => {}
        _ = rules.wait_for(|rules| rules.cuts != cuts) => {}
    }
}

async fn reset(client: &TcpStream, line: &Line) {
    if client.readable().await.is_ok() {
        line.lost.fetch_add(1, Ordering::SeqCst);
        client.set_zero_linger().ok();
    }
}

async fn requests(line: &Line, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, loses: &AtomicBool) {
    let mut piece = vec![0; PIECE];
    while let Some(length) = read(line, &mut from, &mut piece).await {
        if let Some(losing) = &*line.losing.lock().unwrap()
            && contains(&piece[..length], &losing.request)
        {
            loses.store(losing.random.between(0, 1_000) < losing.per_mille, Ordering::SeqCst);
        }
        if write(line, &mut to, &piece[..length]).await.is_none() {
            return;
        }
    }
}

async fn answers(line: &Line, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, loses: &AtomicBool) {
    let mut piece = vec![0; PIECE];
    while let Some(length) = read(line, &mut from, &mut piece).await {
        if loses.load(Ordering::SeqCst) {
            line.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if write(line, &mut to, &piece[..length]).await.is_none() {
            return;
        }
    }
}

/// What has come; also an end is heard of only when the line is good.
async fn read(line: &Line, from: &mut (impl AsyncRead + Unpin), piece: &mut [u8]) -> Option<usize> {
    let length = from.read(piece).await.unwrap_or(0);
    passable(line).await;
    (length > 0).then_some(length)
}

async fn write(line: &Line, to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> Option<()> {
    let Rules { delay, drip, .. } = *line.rules.borrow();
    sleep(delay).await;
    let (bytes, pause) = drip.unwrap_or((piece.len(), Duration::ZERO));
    for drop in piece.chunks(bytes) {
        passable(line).await;
        to.write_all(drop).await.ok()?;
        sleep(pause).await;
    }
    Some(())
}

async fn passable(line: &Line) {
    let mut rules = line.rules.subscribe();
    // The sender lives as long as the line.
    rules.wait_for(|rules| rules.passage != Passage::Silent).await.ok();
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

//! A host as a process: its environment, its log, its end.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

pub use crate::ports::free_port;
use crate::{PATIENCE, api::http, binary};

/// How the program is started: always in a folder of its own, with no environment but this.
#[derive(Clone)]
pub struct Program {
    /// Working folder, and home of the log.
    pub dir: PathBuf,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Where it listens, if it serves.
    pub port: u16,
    /// The executable.
    pub binary: PathBuf,
}

impl Program {
    /// A program that is told nothing but where to listen.
    pub fn bare(dir: &Path) -> Self {
        let port = free_port();
        let this = Self {
            dir: dir.to_owned(),
            env: BTreeMap::new(),
            port,
            binary: binary::patchbay().to_owned(),
        };
        this.with("PATCHBAY__SERVER__LISTEN", format!("127.0.0.1:{port}"))
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The same with one variable less.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Everything that any run of this program has written to standard error and output.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join(format!("log-{}", self.port))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.dir)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(std::env::var_os("TMPDIR").map(|path| ("TMPDIR", path)))
            .envs(&self.env)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end. What it writes goes to the log as well.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output());
        let output = output.await.expect("the command ends").expect("the command starts");
        let mut log = self.log();
        std::io::Write::write_all(&mut log, &output.stderr).unwrap();
        Ran(output)
    }

    fn log(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap()
    }

    /// Starts the program, and does not wait for anything.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(self.log()).stderr(self.log());
        command.spawn().expect("the host starts")
    }

    /// Starts a host, and waits until it answers.
    pub async fn serve(&self) -> Host {
        self.start(&["serve"], self.port).await
    }

    /// Starts a host or a worker, and waits until its health is told at this port.
    pub async fn start(&self, arguments: &[&str], health_port: u16) -> Host {
        let mut child = self.spawn(arguments);
        let url = format!("http://127.0.0.1:{health_port}");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the host ended with {status}:\n{}", self.log_tail());
            }
            let answer = http().get(format!("{url}/healthz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Host {
                    child,
                    program: self.clone(),
                    url,
                };
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the host does not answer:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The end of the log, for messages.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A command that ended.
pub struct Ran(pub Output);

impl Ran {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code(), Some(0), "{}\n{}", self.stdout(), self.stderr());
        self
    }
}

/// A running host. It is killed when this is dropped.
pub struct Host {
    child: Child,
    pub program: Program,
    pub url: String,
}

impl Host {
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running process has an id")
    }

    /// How the process ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// kill -9. Returns when the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM, and does not wait.
    pub async fn ask_to_stop(&self) {
        signal("TERM", self.pid()).await;
    }

    /// Stops the process where it stands (SIGSTOP). Its connections stay, its clocks go on.
    pub async fn freeze(&self) {
        signal("STOP", self.pid()).await;
    }

    /// Lets a frozen process go on (SIGCONT).
    pub async fn thaw(&self) {
        signal("CONT", self.pid()).await;
    }

    /// Waits for the end of a host that was asked to stop.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("the host does not end:\n{}", self.program.log_tail()))
            .unwrap()
    }

    /// Stops the host in an orderly way.
    pub async fn stop(mut self) {
        self.ask_to_stop().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.program.log_tail());
    }
}

/// Sends a signal by its short name to a process of the test.
pub async fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .await
        .unwrap();
    assert!(sent.success(), "SIG{name} did not reach process {pid}");
}

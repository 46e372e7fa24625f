//! A PostgreSQL server that a test owns: it can be killed and started again, and syncs to disk as a real one does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use patchbay_rig::{Database, host, until};
use tempfile::TempDir;
use tokio::process::Command;

/// Room for several hosts with full pools, and for the test.
const MAX_CONNECTIONS: u32 = 200;

/// A server on a data folder of its own. Stopped and gone when dropped.
pub struct Server {
    programs: PathBuf,
    dir: TempDir,
    port: u16,
    /// Account that the server runs as, if it may not be ours.
    runs_as: Option<&'static str>,
}

impl Server {
    /// Starts a server. Without PostgreSQL's programs there is none, and the test is skipped; under `CI` it fails.
    pub async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed, and CI tests both databases"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        // The path of a Unix socket is at most 107 bytes long.
        let dir = tempfile::Builder::new()
            .prefix("patchbay-faults.")
            .tempdir_in("/tmp")
            .unwrap();
        let runs_as = is_root().then_some("postgres");
        if let Some(user) = runs_as {
            ran(Command::new("chown").arg(user).arg(dir.path())).await;
        }
        let server = Self {
            programs,
            dir,
            port: host::free_port(),
            runs_as,
        };
        let data = server.data();
        // Only what is written from now on has to survive.
        let mut initdb = server.command("initdb");
        ran(initdb
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(data))
        .await;
        server.start_again().await;
        Some(server)
    }

    /// Makes a database on this server.
    pub async fn database(&self, name: &str) -> Database {
        self.admin().execute(&format!("CREATE DATABASE {name}")).await;
        Database::Postgres(self.url(name))
    }

    /// The server's own database, for questions about the server.
    pub fn admin(&self) -> Database {
        Database::Postgres(self.url("postgres"))
    }

    /// Where the server listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// kill -9 of the server. Returns when all of its processes are gone: they notice their parent's death by
    /// themselves, and a server that is started beside them would refuse, or worse.
    pub async fn kill(&self) {
        let pid = self.pid();
        let mut processes = children(pid).await;
        processes.push(pid);
        host::signal("KILL", pid).await;
        until("the server's processes are gone", async || {
            let alive = processes.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists());
            (!alive).then_some(())
        })
        .await;
    }

    /// Ends all connections at once and the server without a checkpoint, as a crash would.
    pub async fn stop_at_once(&self) {
        let mut stop = self.command("pg_ctl");
        ran(stop.args(["-m", "immediate", "-w", "stop", "-D"]).arg(self.data())).await;
    }

    /// Starts a server that was killed or stopped, and waits until it has recovered.
    pub async fn start_again(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c max_connections={MAX_CONNECTIONS}",
            self.port,
            self.dir.path().display()
        );
        let mut start = self.command("pg_ctl");
        ran(start
            .args(["-w", "-t", "60", "start", "-o", &options, "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.dir.path().join("log")))
        .await;
    }

    /// Connections of hosts that the server has now.
    pub async fn connections(&self) -> u64 {
        self.admin()
            .count("pg_stat_activity WHERE backend_type = 'client backend' AND datname <> 'postgres'")
            .await
    }

    fn pid(&self) -> u32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        file.lines().next().unwrap().parse().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.std_command(program).into()
    }

    fn std_command(&self, program: &str) -> std::process::Command {
        let program = self.programs.join(program);
        let mut command = match self.runs_as {
            None => std::process::Command::new(program),
            Some(user) => {
                let mut command = std::process::Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
        };
        // That user may not see the folder that we are in.
        command.current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.std_command("pg_ctl");
        // It may be dead already.
        stop.args(["-m", "immediate", "-w", "stop", "-D"])
            .arg(self.data())
            .output()
            .ok();
    }
}

async fn ran(command: &mut Command) -> Output {
    // To a file, not a pipe: the server would hold the pipe open for as long as it runs.
    let told = tempfile::tempfile().unwrap();
    let status = tokio::time::timeout(
        Duration::from_secs(90),
        command
            .stdin(std::process::Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told.try_clone().unwrap())
            .status(),
    );
    let status = status.await.expect("a command of PostgreSQL ends").unwrap();
    let mut said = String::new();
    let mut told = told;
    std::io::Seek::rewind(&mut told).unwrap();
    std::io::Read::read_to_string(&mut told, &mut said).unwrap();
    assert!(status.success(), "{command:?} ended with {status}:\n{said}");
    Output {
        status,
        stdout: said.into_bytes(),
        stderr: Vec::new(),
    }
}

async fn children(parent: u32) -> Vec<u32> {
    let list = ran(Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="])).await;
    let list = String::from_utf8(list.stdout).unwrap();
    let pairs = list.lines().filter_map(|line| {
        let mut words = line.split_whitespace().map(str::parse::<u32>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    pairs.filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

/// Debian keeps the server's programs off the PATH, one folder for each version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .collect::<Vec<_>>(),
    );
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

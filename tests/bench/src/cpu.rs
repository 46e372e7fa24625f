//! Processor time: of this host's figures the one that others on the machine hardly change.

use std::{fs, time::Duration};

use anyhow::Context;

/// Parts of a second in which Linux tells processor time (`USER_HZ`), on every architecture that it runs on today.
const TICKS: f64 = 100.0;

/// Of a process with its threads, and of all whose parent it is.
pub fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let mut ticks = Ticks::read(&format!("/proc/{pid}/stat"))?.all();
    for entry in fs::read_dir("/proc").context("this needs Linux")? {
        // Those that end meanwhile are counted by their parent.
        if let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Ok(child) = Ticks::read(&format!("/proc/{child}/stat"))
            && child.parent == pid
        {
            ticks += child.all();
        }
    }
    Ok(time(ticks))
}

/// Of the thread that asks.
pub fn of_this_thread() -> anyhow::Result<Duration> {
    Ok(time(Ticks::read("/proc/thread-self/stat")?.own))
}

struct Ticks {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    gone: u64,
}

impl Ticks {
    fn read(path: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {path}: this needs Linux"))?;
        Self::parse(&text).with_context(|| format!("{path} is not as expected"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            gone: number(13)? + number(14)?,
        })
    }

    fn all(&self) -> u64 {
        self.own + self.gone
    }
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_behind_the_name() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 50 25 5 2 20 0 1 0 100 1 1";
        let ticks = Ticks::parse(line).unwrap();
        assert_eq!((ticks.parent, ticks.own, ticks.all()), (3, 75, 82));
        assert!(Ticks::parse("7 (a) S").is_none());
    }

    #[test]
    fn this_process_has_some() {
        assert!(of_process(std::process::id()).is_ok());
        assert!(of_this_thread().is_ok());
    }
}

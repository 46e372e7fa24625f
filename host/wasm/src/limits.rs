//! What a component may use.

use std::time::Duration;

/// Limits of one call, but for the first three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls of all components that run at once; further ones wait.
    pub calls: u32,
    /// Largest file.
    pub file_bytes: u64,
    /// Longest time until a component is compiled.
    pub compile: Duration,
    /// Memory.
    pub memory_bytes: usize,
    /// Elements of all tables together.
    pub table_elements: usize,
    /// Time on a CPU, in ticks of the epoch: every time that the guest is found running counts as one.
    pub cpu: Duration,
    /// Time by the clock, without what calls to the platform take: those have the limits of their op rows.
    pub wall: Duration,
    /// Bytes that cross from the guest to the host in one go.
    pub hostcall_bytes: usize,
    /// Calls to the platform.
    pub http_calls: u32,
    /// Lines of the log; also of all calls of one component in a second.
    pub log_lines: u32,
    /// Length of a line; what is longer is cut.
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 256,
            file_bytes: 32 << 20,
            compile: Duration::from_secs(30),
            memory_bytes: 64 << 20,
            table_elements: 10_000,
            cpu: Duration::from_secs(2),
            wall: Duration::from_secs(60),
            hostcall_bytes: 8 << 20,
            http_calls: 64,
            log_lines: 100,
            log_line_bytes: 4 << 10,
        }
    }
}

/// Largest manifest, as JSON.
pub(crate) const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// Largest answer of a platform: the host holds it while the guest takes it.
pub(crate) const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Lengths of a failed call's texts. They are stored and shown.
pub(crate) const MAX_CODE_BYTES: usize = 64;
pub(crate) const MAX_MESSAGE_BYTES: usize = 2 << 10;
/// How often a running guest is looked at: as long it may hold a thread of the host while others wait.
pub(crate) const TICK: Duration = Duration::from_millis(2);
/// Ticks for a call that cannot be waited for, such as `validate`: it holds a thread of the host.
pub(crate) const INLINE_TICKS: u64 = 100;
/// Ticks that a call may compute where it began, before it goes on behind all other work. Usual ones take less than one.
pub(crate) const FRONT_TICKS: u64 = 2;
/// Ticks that a call may compute at full speed.
pub(crate) const FULL_SPEED_TICKS: u64 = 25;
/// Pause after each further tick, so that whoever computes long leaves most of its thread to others.
const PAUSE: Duration = Duration::from_millis(8);

impl Limits {
    /// [`Limits::cpu`] in ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let ticks = self.cpu.as_millis().div_ceil(TICK.as_millis());
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Time by the clock that a call which computes long goes on behind all others, before it gets a small share of the
    /// CPUs in any case. On an idle machine the longest ends sooner.
    pub(crate) fn patience(&self) -> Duration {
        self.wall / 5
    }

    /// Pause of a call that computes long. All of them together leave it half of its time by the clock, so that its CPU
    /// time is what ends.
    pub(crate) fn pause(&self) -> Duration {
        let ticks = u32::try_from(self.cpu_ticks()).unwrap_or(u32::MAX).max(1);
        PAUSE.min(self.wall / 2 / ticks)
    }
}

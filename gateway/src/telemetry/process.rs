//! What the kernel says about this process, read from `/proc/self` at each scrape. Absent where there is no `/proc`.

use std::fs;
use std::time::Duration;

/// One reading. A number that could not be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Resident memory, bytes.
    pub memory: Option<u64>,
    /// User and system CPU time since the start.
    pub cpu: Option<Duration>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Soft limit of open file descriptors.
    pub fds_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Milliseconds per tick of `/proc/*/stat`: Linux shows user space 100 ticks a second on every architecture we run on.
const TICK_MILLIS: u64 = 10;

/// Reads all numbers now: a few short system calls and one look at the list of descriptors.
#[must_use]
pub fn read() -> Reading {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    Reading {
        memory: field(&status, "VmRSS:").map(|kib| kib.saturating_mul(1024)),
        cpu: cpu(&stat),
        fds: fs::read_dir("/proc/self/fd").ok().map(|entries| u64::try_from(entries.count()).unwrap_or(u64::MAX)),
        fds_max: field(&limits, "Max open files"),
        threads: field(&status, "Threads:"),
    }
}

/// Resident memory alone, bytes.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    field(&status, "VmRSS:").map(|kib| kib.saturating_mul(1024))
}

/// The number that follows `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, counted from 1; the command in field 2 may hold blanks, so counting starts behind its bracket.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(user.saturating_add(system).saturating_mul(TICK_MILLIS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_may_hold_brackets_and_blanks() {
        let stat = "7 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("nonsense"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read() {
        let reading = read();
        assert!(reading.memory.is_some_and(|bytes| bytes > 100_000));
        assert!(
            reading.cpu.is_some() && reading.fds.is_some() && reading.fds_max.is_some() && reading.threads.is_some()
        );
    }
}

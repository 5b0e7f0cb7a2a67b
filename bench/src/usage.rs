//! What a process uses, read from /proc (Linux).

use std::time::Duration;

use anyhow::{Context, Result};

/// Memory a process holds in RAM, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS is there")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")?;
    Ok(kib * 1024)
}

/// Processor time of all threads of a process so far, from the scheduler's own count (not ticks).
pub fn processor_time(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut nanos = 0;
    for thread in std::fs::read_dir(&folder).with_context(|| format!("read {folder}"))? {
        let path = thread?.path().join("schedstat");
        // A thread may end between the listing and the look.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        nanos += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

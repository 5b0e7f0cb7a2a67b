//! The task that lets messages expire and locks run out when their time has come, and writes down who was seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::store::Devices;

/// The clock is looked at no later than this, in case the machine's own was moved.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often it is written down who has connected or disconnected.
const WRITE_SEEN: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(devices: Arc<Devices>, stop: CancellationToken) {
    let mut clock_moves = devices.clock().moves();
    let mut changes = devices.timer_changes();
    let mut next_write = Instant::now() + WRITE_SEEN;
    loop {
        let now = Instant::now();
        if now >= next_write {
            devices.write_seen();
            next_write = now + WRITE_SEEN;
        }
        let due = devices.sweep().map(|at| now + at.since(devices.clock().now()));
        let wake = due.unwrap_or(next_write).min(next_write).min(now + LONGEST_SLEEP);
        tokio::select! {
            () = sleep_until(wake.into()) => {}
            Ok(()) = clock_moves.changed() => {}
            Ok(()) = changes.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

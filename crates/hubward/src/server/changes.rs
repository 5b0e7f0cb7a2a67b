//! Tells open pages what changed: looks, while somebody listens, what is different from the last look.

use std::time::Duration;

use hubward_api::Services;
use hubward_api::changes::Watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PartEnd;

/// Time between two looks, unless looking takes long.
const EVERY: Duration = Duration::from_millis(500);
/// A look is followed by so many times as long without one: pages cost a twentieth of one core at most.
const REST: u32 = 19;
/// But no longer than this: on a busy machine a look takes long because it waits, and open pages must not wait for minutes.
const LONGEST: Duration = Duration::from_secs(5);

/// Looks until `stop`.
pub(super) async fn run(services: Services, stop: CancellationToken) -> PartEnd {
    let mut watch = Watch::default();
    let mut pause = EVERY;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = EVERY;
        if services.changes.receiver_count() == 0 {
            watch.forget();
            continue;
        }
        let begun = Instant::now();
        for change in watch.look(&services).await {
            // Nobody listens any more: that is no error.
            let _ = services.changes.send(change);
        }
        pause = (begun.elapsed() * REST).clamp(EVERY, LONGEST);
    }
    ("changes", Ok(()))
}

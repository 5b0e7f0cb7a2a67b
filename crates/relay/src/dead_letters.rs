//! Sending dead letters again, and discarding them.

use std::collections::HashSet;

use futures_util::future::join_all;
use hubward_model::{IntegrationId, Problem, Timestamp};
use hubward_registry::{DeadLetter, DeadLetterFilter};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::RelayError;
use crate::lane::Again;
use crate::lanes::Lanes;
use crate::status::RetryReport;

/// So many are in memory at a time: each may be as large as a message can be.
const PAGE: u32 = 64;

/// Sends those of `filter` again.
pub(crate) async fn retry(lanes: &Lanes, filter: &DeadLetterFilter) -> Result<RetryReport, RelayError> {
    let until = Instant::now() + lanes.word_within();
    let mut report = RetryReport::default();
    let mut after: Option<(Timestamp, String)> = filter.after.clone();
    let mut left = filter.limit.unwrap_or(u32::MAX);
    // What dies again meanwhile comes once more, as the latest: it is no part of this.
    let begun = Timestamp::now();
    let mut tried = HashSet::new();
    while left > 0 && after.as_ref().is_none_or(|(at, _)| *at <= begun) {
        let page = DeadLetterFilter { after: after.take(), limit: Some(PAGE.min(left)), ..filter.clone() };
        let mut letters = lanes.registry().dead_letters(&page).await?;
        let Some(last) = letters.last() else { break };
        after = Some((last.at, last.id.clone()));
        letters.retain(|letter| letter.at <= begun && tried.insert(letter.id.clone()));
        left = left.saturating_sub(u32::try_from(letters.len()).unwrap_or(u32::MAX));
        for (id, outcome) in join_all(letters.iter().map(|letter| retry_one(lanes, letter, until))).await {
            match outcome {
                Ok(()) => report.done += 1,
                Err(problem) => report.failed.push((id, problem)),
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok(report)
}

async fn retry_one(lanes: &Lanes, letter: &DeadLetter, until: Instant) -> (String, Result<(), Problem>) {
    let id = letter.id.clone();
    let outcome = async {
        let showing = lanes.showing(&letter.integration);
        let lane = showing.shared.filter(|_| !showing.paused).and_then(|s| s.roster().get(&letter.device).cloned());
        let lane = lane.ok_or_else(|| {
            let message = "its integration is paused or its device is not ready there".to_owned();
            Problem::new("not_running", message, "resume the integration, then retry")
        })?;
        let (letter, record) = lanes.registry().dead_letter(&id).await.map_err(|error| error.problem())?;
        let (word, answer) = oneshot::channel();
        lane.again(Again { id: id.clone(), record, attempts: letter.attempts, word });
        let refused = |why: String| {
            Problem::new("not_accepted", why, "see why with `hubward deadletter show`, then retry or discard it")
        };
        match timeout_at(until, answer).await {
            Ok(Ok(word)) => word.map_err(refused),
            Ok(Err(_)) => Err(refused("the lane was stopped".to_owned())),
            Err(_) => Err(refused("no word from the hub in time".to_owned())),
        }
    };
    (id.clone(), outcome.await)
}

/// Removes those of `filter`; lanes that hold because of their number go on.
pub(crate) async fn discard(lanes: &Lanes, filter: &DeadLetterFilter) -> Result<u64, RelayError> {
    let discarded = lanes.registry().remove_dead_letters(filter).await?;
    metrics::counter!("hubward_dead_letters_discarded_total").increment(discarded);
    if discarded > 0 {
        let concerned: HashSet<IntegrationId> = match &filter.integration {
            Some(integration) => HashSet::from([integration.clone()]),
            None => lanes.registry().integrations().await?.into_iter().map(|integration| integration.id).collect(),
        };
        for integration in concerned {
            let counts = lanes.registry().dead_letter_counts(&integration).await?;
            if let Some(shared) = lanes.showing(&integration).shared {
                for (device, lane) in shared.roster().iter() {
                    lane.set_dead_letters(counts.get(device).copied().unwrap_or(0));
                }
            }
        }
    }
    Ok(discarded)
}

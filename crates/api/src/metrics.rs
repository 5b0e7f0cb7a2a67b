//! The metrics page: every figure there is, with what it means. Tests compare the table with what the code records and
//! with `docs/operations.md`.

use std::fmt::Write as _;
use std::time::Duration;

use hubward_journal::{COMMIT_BOUNDS, Info};
use hubward_registry::AlarmKind;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::{Services, integrations};

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start of the server.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Values by size.
    Histogram,
}

/// A figure of the page.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels. Each has few values: kinds and reasons are words of the code, integrations and hubs are what the
    /// operator set up. Never a device, a topic or an address.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

use Kind::{Counter, Gauge, Histogram};

/// Labels that a figure may have.
pub const LABELS: &[&str] = &["qos", "reason", "integration", "state", "host", "kind", "budget", "outcome"];

/// All figures, in the order of a signal's journey.
pub const METRICS: &[Metric] = &[
    metric("hubward_mqtt_connections", Gauge, &[], "MQTT clients connected"),
    metric("hubward_mqtt_received_total", Counter, &["qos"], "PUBLISH packets received"),
    metric("hubward_mqtt_durable_total", Counter, &[], "received messages that became durable"),
    metric("hubward_mqtt_delivered_total", Counter, &[], "messages sent to MQTT subscribers"),
    metric("hubward_mqtt_duplicates_total", Counter, &[], "repeated QoS 2 messages that were not recorded again"),
    metric("hubward_mqtt_dropped_total", Counter, &["reason"], "messages dropped before a journal or a subscriber"),
    metric("hubward_mqtt_refused_total", Counter, &["reason"], "connections, subscriptions and messages refused"),
    metric("hubward_journal_records_total", Counter, &[], "records committed to the journal"),
    metric("hubward_journal_commits_total", Counter, &[], "commits, one sync of the disk each"),
    metric(
        "hubward_journal_commit_seconds",
        Histogram,
        &[],
        "how long commits took, from the write to the end of the sync",
    ),
    metric("hubward_journal_failed_commits_total", Counter, &[], "commits whose write or sync failed"),
    metric("hubward_journal_refused_total", Counter, &["reason"], "records that the journal did not take"),
    metric("hubward_journal_removed_segments_total", Counter, &[], "segments removed after their time"),
    metric("hubward_journal_damaged_gaps_total", Counter, &[], "gaps that readers met because records are damaged"),
    metric("hubward_journal_bytes", Gauge, &[], "bytes of records on disk"),
    metric("hubward_journal_limit_bytes", Gauge, &[], "what the journal may become"),
    metric("hubward_journal_pending_bytes", Gauge, &[], "bytes that wait for their commit"),
    metric("hubward_delivered_total", Counter, &["integration"], "signals accepted by the hub"),
    metric(
        "hubward_delivery_delay_seconds",
        Histogram,
        &["integration"],
        "from the receipt of a signal to the hub's word that it has it",
    ),
    metric("hubward_retried_total", Counter, &["integration"], "signals sent once more"),
    metric("hubward_dead_lettered_total", Counter, &["reason"], "signals given up as dead letters"),
    metric(
        "hubward_expired_total",
        Counter,
        &["integration", "reason"],
        "signals given up because more waited than may",
    ),
    metric("hubward_dead_letters_discarded_total", Counter, &[], "dead letters discarded by command"),
    metric("hubward_dead_letters", Gauge, &["integration"], "dead letters that are kept"),
    metric("hubward_dropped_total", Counter, &["reason"], "signals discarded by command while they waited"),
    metric("hubward_gaps_total", Counter, &["integration"], "gaps in the journal that an integration skipped"),
    metric("hubward_backlog_records", Gauge, &["integration"], "signals that wait for the hub"),
    metric("hubward_backlog_seconds", Gauge, &["integration"], "age of the oldest signal that waits"),
    metric("hubward_lanes", Gauge, &["integration", "state"], "lanes (a device in an integration) by state"),
    metric("hubward_hub_away", Gauge, &["host"], "1 while no connection to the hub can be opened"),
    metric("hubward_hub_state", Gauge, &["host", "state"], "1 for what the hub does now, 0 for what it does not"),
    metric("hubward_hub_throttled_total", Counter, &["budget"], "times a hub said that it is used too fast"),
    metric("hubward_alarms", Gauge, &["kind"], "open alarms"),
    metric("hubward_webhook_sent_total", Counter, &[], "notices of alarms that the webhook took"),
    metric("hubward_webhook_dropped_total", Counter, &[], "notices of alarms that the webhook was never told"),
    metric("hubward_webhook_waiting", Gauge, &[], "notices of alarms that wait for the webhook"),
];

/// Says what each figure means, to the recorder that is in use.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Counter => describe_counter!(metric.name, metric.help),
            Gauge => describe_gauge!(metric.name, metric.help),
            Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// The whole page.
pub(crate) async fn page(services: &Services) -> String {
    let info = services.journal.info();
    take(services, &info).await;
    let mut text = services.metrics.render();
    let times = &info.commit_times;
    counted_histogram("hubward_journal_commit_seconds", &COMMIT_BOUNDS, &times.counts, times.sum, &mut text);
    text
}

/// A histogram that somebody counts already: so many up to each bound, and over all of them. The recorder takes single
/// values only.
fn counted_histogram(name: &str, bounds: &[Duration], counts: &[u64], sum: Duration, text: &mut String) {
    let help = METRICS.iter().find(|metric| metric.name == name).map_or("", |metric| metric.help);
    let bounds = bounds.iter().map(|bound| bound.as_secs_f64().to_string()).chain(["+Inf".to_owned()]);
    let mut total = 0;
    let mut lines = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
    for (bound, count) in bounds.zip(counts) {
        total += count;
        let _ = writeln!(lines, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(lines, "{name}_sum {}\n{name}_count {total}", sum.as_secs_f64());
    text.push_str(&lines);
}

/// Figures that somebody keeps already are taken when the page is asked for.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
async fn take(services: &Services, info: &Info) {
    counter!("hubward_journal_records_total").absolute(info.records);
    counter!("hubward_journal_commits_total").absolute(info.commits);
    counter!("hubward_journal_failed_commits_total").absolute(info.failed_commits);
    counter!("hubward_journal_refused_total", "reason" => "full").absolute(info.refused_full);
    counter!("hubward_journal_refused_total", "reason" => "failed").absolute(info.refused_failed);
    counter!("hubward_journal_removed_segments_total").absolute(info.removed_segments);
    counter!("hubward_journal_damaged_gaps_total").absolute(info.damaged_gaps);
    gauge!("hubward_journal_bytes").set(info.bytes as f64);
    gauge!("hubward_journal_limit_bytes").set(info.limit_bytes as f64);
    gauge!("hubward_journal_pending_bytes").set(info.pending_bytes as f64);
    let open = services.registry.open_alarms_by_kind();
    for kind in AlarmKind::ALL {
        let number = open.get(kind).copied().unwrap_or(0);
        gauge!("hubward_alarms", "kind" => kind.as_str()).set(number as f64);
    }
    if let Err(error) = take_stored(services).await {
        tracing::warn!(code = error.problem.code, "some figures of the metrics page are old: the registry failed");
    }
}

/// Figures that are in the registry: a handful of rows.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
async fn take_stored(services: &Services) -> Result<(), crate::ApiError> {
    let now = hubward_model::Timestamp::now();
    for integration in services.registry.integrations().await? {
        // Its removal may have been finished meanwhile.
        let Ok(shown) = integrations::summary(services, &integration.id).await else { continue };
        let label = || integration.id.as_str().to_owned();
        let age = shown.oldest_waiting_at.map_or(0.0, |since| now.since(since).as_secs_f64());
        gauge!("hubward_backlog_seconds", "integration" => label()).set(age);
        gauge!("hubward_dead_letters", "integration" => label()).set(shown.dead_letters as f64);
    }
    if let Some(webhook) = services.registry.webhook().await? {
        counter!("hubward_webhook_sent_total").absolute(webhook.sent);
        counter!("hubward_webhook_dropped_total").absolute(webhook.dropped);
        gauge!("hubward_webhook_waiting").set(webhook.waiting as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_histogram_is_shown_as_prometheus_reads_it() {
        let bounds = [Duration::from_millis(1), Duration::from_millis(20), Duration::from_secs(5)];
        let mut text = "before 1\n".to_owned();
        let sum = Duration::from_micros(6_001_500);
        counted_histogram("hubward_journal_commit_seconds", &bounds, &[2, 0, 3, 1], sum, &mut text);
        let shown = "before 1\n\
            # HELP hubward_journal_commit_seconds how long commits took, from the write to the end of the sync\n\
            # TYPE hubward_journal_commit_seconds histogram\n\
            hubward_journal_commit_seconds_bucket{le=\"0.001\"} 2\n\
            hubward_journal_commit_seconds_bucket{le=\"0.02\"} 2\n\
            hubward_journal_commit_seconds_bucket{le=\"5\"} 5\n\
            hubward_journal_commit_seconds_bucket{le=\"+Inf\"} 6\n\
            hubward_journal_commit_seconds_sum 6.0015\n\
            hubward_journal_commit_seconds_count 6\n";
        assert_eq!(text, shown);
    }
}

//! `hubward signals`, `trace`, `watch`: what came, and what became of it.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hubward_api::shapes::Page;
use hubward_api::shapes::events::DeliveryEvent;
use hubward_api::shapes::signals::{SignalLine, SignalTrace};
use hubward_model::{Offset, Timestamp};
use tokio::time::Instant;

use super::api::{ApiArgs, Client, segment};
use super::sse::{Event, Events};
use super::{Failure, output};

/// Signals shown when nobody says how many.
const SHOWN: usize = 50;
/// The same with `--json`.
const SHOWN_JSON: usize = 10_000;
/// How long `watch --json` waits for the hub's word before it prints a signal as it is.
const HUB_WORD: Duration = Duration::from_secs(2);

/// `hubward signals`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hubward signals kitchen\n  hubward signals kitchen --follow\n  hubward signals kitchen --json | tail -1"
)]
pub struct SignalsArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Name or id of the device
    device: String,
    /// Go on with signals as they come
    #[arg(long, short)]
    follow: bool,
    /// How many of the latest [default: 50; with --json 10000]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// `hubward trace`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hubward trace kitchen                 the latest signal\n  hubward trace kitchen --offset 42"
)]
pub struct TraceArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Name or id of the device
    device: String,
    /// Which signal [default: the latest]
    #[arg(long)]
    offset: Option<Offset>,
}

/// `hubward watch`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hubward watch\n  hubward watch --device kitchen --count 1 --json")]
pub struct WatchArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Only this device
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// End after so many signals
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::units::duration)]
    duration: Option<Duration>,
}

pub(super) async fn signals(args: SignalsArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    let limit = args.limit.unwrap_or(if json { SHOWN_JSON } else { SHOWN });
    let mut lines = latest(&client, &args.device, limit).await?;
    lines.reverse();
    for line in &lines {
        print_signal(line, json)?;
    }
    if lines.is_empty() && !json && !args.follow {
        return output::line("No signals of this device are kept.");
    }
    if !args.follow {
        return Ok(());
    }
    let mut query = vec![("device", args.device), ("types", "signal,delivery".to_owned())];
    query.extend(lines.last().map(|line| ("from", line.offset.next().to_string())));
    follow(&client, &query, json, usize::MAX).await
}

/// The latest signals, newest first.
async fn latest(client: &Client, device: &str, limit: usize) -> Result<Vec<SignalLine>, Failure> {
    let path = format!("/api/v1/devices/{}/signals", segment(device));
    let mut lines = Vec::new();
    let mut before: Option<String> = None;
    while lines.len() < limit {
        let mut query = vec![("limit", (limit - lines.len()).min(500).to_string())];
        query.extend(before.take().map(|before| ("before", before)));
        let page: Page<SignalLine> = client.get(&path, &query).await?;
        lines.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Ok(lines)
}

pub(super) async fn trace(args: TraceArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    let offset = match args.offset {
        Some(offset) => offset,
        None => latest(&client, &args.device, 1).await?.pop().map(|line| line.offset).ok_or_else(|| {
            Failure::new(
                "signal_not_found",
                format!("device {:?} has sent no signal that is kept", args.device),
                "see 'hubward device config NAME' for what to put on it",
            )
        })?,
    };
    let path = format!("/api/v1/devices/{}/signals/{offset}", segment(&args.device));
    let line: SignalLine = client.get(&path, &[]).await?;
    let trace: SignalTrace = client.get(&format!("{path}/trace"), &[]).await?;
    if json {
        return output::json(&with_trace(&line, &trace)?);
    }
    for text in told(&line, &trace) {
        output::line(&text)?;
    }
    Ok(())
}

/// The signal as `signals` shows it, with its way beside it.
fn with_trace(line: &SignalLine, trace: &SignalTrace) -> Result<serde_json::Value, Failure> {
    let failed = |error: serde_json::Error| {
        Failure::new("internal", format!("the trace cannot be printed: {error}"), "report it, with the signal's offset")
    };
    let mut value = serde_json::to_value(line).map_err(failed)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("durable_at".to_owned(), serde_json::to_value(trace.durable_at).map_err(failed)?);
        fields.insert("deliveries".to_owned(), serde_json::to_value(&trace.deliveries).map_err(failed)?);
    }
    Ok(value)
}

/// A signal and its way, for people.
fn told(line: &SignalLine, trace: &SignalTrace) -> Vec<String> {
    let after = |at: Option<Timestamp>| match at {
        Some(at) => format!("{at} (after {} ms)", at.since(trace.received_at).as_millis()),
        None => "time not kept".to_owned(),
    };
    let mut lines = vec![
        format!("signal      {} of {} ({})", trace.offset, trace.device, trace.device_id),
        format!("received    {}, {} on {}, QoS {}", trace.received_at, bytes(trace.size), trace.topic, trace.qos),
        format!("payload     {}", payload(line)),
        format!(
            "durable     {}",
            trace.durable_at.map_or_else(|| "yes, time not kept".to_owned(), |at| after(Some(at)))
        ),
    ];
    if trace.deliveries.is_empty() {
        lines.push("goes to     no integration".to_owned());
    }
    for delivery in &trace.deliveries {
        lines.push(format!("goes to     {}: {}", delivery.integration, words(&delivery.state)));
        if delivery.first_sent_at.is_some() || delivery.state != "waiting" {
            lines.push(format!("  first sent  {}", after(delivery.first_sent_at)));
        }
        if delivery.state != "waiting" {
            lines.push(format!("  {:<11} {}", words(&delivery.state), after(delivery.settled_at)));
        }
        if let Some(attempts) = delivery.attempts {
            lines.push(format!("  attempts    {attempts}"));
        }
        lines.push(format!("  message-id  {}", delivery.message_id));
        if let Some(refused) = &delivery.last_refusal {
            lines.push(format!("  refused     {}: {}", refused.code, refused.message));
            lines.push(format!("  remedy      {}", refused.remedy));
        }
    }
    lines
}

pub(super) async fn watch(args: WatchArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    let mut query = vec![("types", "signal,delivery".to_owned())];
    query.extend(args.device.map(|device| ("device", device)));
    let work = follow(&client, &query, json, args.count.unwrap_or(usize::MAX));
    match args.duration {
        Some(duration) => tokio::time::timeout(duration, work).await.unwrap_or(Ok(())),
        None => work.await,
    }
}

async fn follow(client: &Client, query: &[(&str, String)], json: bool, count: usize) -> Result<(), Failure> {
    let mut events = Events::new(client.stream("/api/v1/events", query).await?);
    let mut shown = if json { Shown::json(count) } else { Shown::text(count) };
    while !shown.done() {
        let event = tokio::select! {
            event = events.next() => event?,
            () = shown.due() => {
                shown.print_due()?;
                continue;
            }
        };
        let Some(event) = event else { return shown.print_all() };
        shown.take(&event)?;
    }
    Ok(())
}

/// What was printed and what waits for the hub's word.
struct Shown {
    json: bool,
    left: usize,
    /// With `--json`: signals in the order they came, each printed once, when its fate is known or after a while.
    waiting: VecDeque<(Instant, SignalLine)>,
}

impl Shown {
    fn json(count: usize) -> Self {
        Self { json: true, left: count, waiting: VecDeque::new() }
    }

    fn text(count: usize) -> Self {
        Self { json: false, left: count, waiting: VecDeque::new() }
    }

    fn done(&self) -> bool {
        self.left == 0
    }

    async fn due(&self) {
        match self.waiting.front() {
            Some((due, _)) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        match event.kind.as_str() {
            "signal" => {
                let line: SignalLine = parse(&event.data)?;
                if !self.json {
                    print_signal(&line, false)?;
                }
                self.waiting.push_back((Instant::now() + HUB_WORD, line));
            }
            "delivery" => self.delivered(&parse(&event.data)?)?,
            "lagged" | "gap" if !self.json => {
                output::line("(some events were missed: this end is too slow, or the history has a gap)")?;
            }
            _ => {}
        }
        self.print_due()
    }

    fn delivered(&mut self, event: &DeliveryEvent) -> Result<(), Failure> {
        let waiting = self.waiting.iter_mut().map(|(_, line)| line);
        let Some(line) = waiting.rev().find(|line| line.offset == event.offset) else { return Ok(()) };
        for delivery in line.deliveries.iter_mut().filter(|d| d.message_id == event.message_id) {
            if delivery.integration == event.integration {
                delivery.state.clone_from(&event.state);
            }
        }
        if self.json {
            return Ok(());
        }
        let delay = event.at.since(line.received_at).as_millis();
        output::line(&format!(
            "{}  {}  #{}  {}: {} after {delay} ms",
            clock(event.at),
            event.device,
            event.offset,
            event.integration,
            words(&event.state)
        ))
    }

    /// Prints (or, as text, forgets) from the front what is settled or has waited long enough.
    fn print_due(&mut self) -> Result<(), Failure> {
        while let Some((due, line)) = self.waiting.front() {
            let settled = line.deliveries.iter().all(|delivery| delivery.state != "waiting");
            // As text a signal is remembered longer, for the line that tells its fate.
            let over = if self.json { Instant::now() >= *due } else { self.waiting.len() > 10_000 };
            if !(settled || over || (!self.json && Instant::now() >= *due + 30 * HUB_WORD)) {
                return Ok(());
            }
            if self.json {
                output::json(line)?;
            }
            self.waiting.pop_front();
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn print_all(&mut self) -> Result<(), Failure> {
        if self.json {
            for (_, line) in self.waiting.drain(..).take(self.left) {
                output::json(&line)?;
            }
        }
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Failure> {
    serde_json::from_str(data).map_err(|error| {
        Failure::new(
            "not_understood",
            format!("an event of the server is not understood: {error}"),
            "use a hubward of the same version as the server",
        )
    })
}

fn print_signal(line: &SignalLine, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(line);
    }
    let test = if line.test { " test message;" } else { "" };
    let fate = match line.deliveries.as_slice() {
        [] => "durable; no integration".to_owned(),
        deliveries => {
            let fates: Vec<String> =
                deliveries.iter().map(|d| format!("{}: {}", d.integration, words(&d.state))).collect();
            format!("durable;{test} {}", fates.join(", "))
        }
    };
    output::line(&format!(
        "{}  {}  #{}  {}  {}  [{fate}]",
        clock(line.received_at),
        line.device,
        line.offset,
        line.topic,
        payload(line)
    ))
}

fn words(state: &str) -> &str {
    if state == "dead_letter" { "dead letter" } else { state }
}

/// `22:19:00.123` of the day's time in UTC.
fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T').map_or(text.clone(), |(_, clock)| clock.to_owned())
}

fn bytes(size: usize) -> String {
    if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") }
}

/// The payload for people: the value of a Pybytes frame, a short text, or the first bytes.
fn payload(line: &SignalLine) -> String {
    if let (Some(signal), Some(value)) = (line.signal, &line.value) {
        return format!("signal {signal} = {value}");
    }
    let bytes = STANDARD.decode(&line.body_base64).unwrap_or_default();
    match std::str::from_utf8(&bytes) {
        Ok("") => "(empty)".to_owned(),
        Ok(text) if text.chars().all(|c| !c.is_control()) => {
            let short: String = text.chars().take(60).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("{short:?}{more} ({})", self::bytes(line.size))
        }
        _ => {
            let more = if bytes.len() > 16 { "…" } else { "" };
            format!("{}{more} ({})", hex::encode(&bytes[..bytes.len().min(16)]), self::bytes(line.size))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(offset: u64, state: &str) -> String {
        json!({
            "device": "d", "offset": offset, "received_at": "2026-11-22T22:19:00.123Z", "topic": "t", "qos": 1,
            "size": 0, "body_base64": "", "signal": null, "value": null, "device_id": "x",
            "deliveries": [{"integration": "azure", "state": state, "message_id": format!("m{offset}")}]
        })
        .to_string()
    }

    fn event(kind: &str, data: String) -> Event {
        Event { kind: kind.into(), data }
    }

    #[tokio::test]
    async fn a_watched_signal_is_printed_once_with_the_hubs_word_in_order() {
        let mut shown = Shown::json(2);
        shown.take(&event("signal", line(1, "waiting"))).unwrap();
        shown.take(&event("signal", line(2, "accepted"))).unwrap();
        assert_eq!(shown.left, 2, "the second waits for the first");
        let delivery = json!({
            "device": "d", "offset": 1, "integration": "azure", "state": "accepted", "message_id": "m1",
            "at": "2026-11-22T22:19:00.130Z"
        });
        shown.take(&event("delivery", delivery.to_string())).unwrap();
        assert!(shown.done());
    }

    #[test]
    fn a_trace_tells_each_time_the_attempts_and_what_to_do() {
        let line: SignalLine = serde_json::from_str(&line(7, "waiting")).unwrap();
        let mut trace: SignalTrace = serde_json::from_value(json!({
            "device": "kitchen", "device_id": "x", "offset": 7, "topic": "t", "qos": 1, "size": 1,
            "received_at": "2026-11-22T22:19:00.000Z", "durable_at": "2026-11-22T22:19:00.002Z",
            "deliveries": [{
                "integration": "azure", "integration_id": "i", "state": "accepted", "message_id": "m",
                "first_sent_at": "2026-11-22T22:19:00.003Z", "settled_at": "2026-11-22T22:19:01.000Z", "attempts": 2,
                "last_refusal": {"code": "throttled", "message": "too fast", "remedy": "nothing"}
            }]
        }))
        .unwrap();
        let text = told(&line, &trace).join("\n");
        for part in
            ["1 byte on t", "durable     2026-11-22T22:19:00.002Z (after 2 ms)", "(after 3 ms)", "(after 1000 ms)"]
        {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        for part in ["attempts    2", "message-id  m", "refused     throttled: too fast", "remedy      nothing"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        trace.deliveries.clear();
        trace.durable_at = None;
        let text = told(&line, &trace).join("\n");
        assert!(text.contains("yes, time not kept") && text.contains("no integration"), "{text}");
    }

    #[test]
    fn payloads_are_shown_as_people_read_them() {
        let shown = |bytes: &[u8]| {
            let mut line: SignalLine = serde_json::from_str(&line(1, "waiting")).unwrap();
            (line.size, line.body_base64) = (bytes.len(), STANDARD.encode(bytes));
            payload(&line)
        };
        assert_eq!(shown(b""), "(empty)");
        assert_eq!(shown(b"21.5"), "\"21.5\" (4 bytes)");
        assert_eq!(shown(&[0, 255]), "00ff (2 bytes)");
        assert_eq!((shown(b"7"), shown(&[1])), ("\"7\" (1 byte)".to_owned(), "01 (1 byte)".to_owned()));
    }
}

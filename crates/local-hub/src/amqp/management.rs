//! `$management`: what there is to read (reference, 6.2).

use hubward_amqp::cbs::Reply;
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::{Array, Text, Value};

use super::tokens::Tokens;
use crate::state::State;

/// Answers a READ of the hub or of a partition.
pub(super) async fn read(request: &Message, tokens: &Tokens, state: &State) -> Message {
    match answer(request, tokens, state).await {
        Ok(map) => {
            let mut message = Reply::new(200, "OK").to_message(request);
            message.body = Body::Value(Value::Map(map));
            message
        }
        Err(reply) => {
            tracing::info!(status = reply.status_code, why = reply.status_description, "amqp: $management refused");
            reply.to_message(request)
        }
    }
}

type Map = Vec<(Value, Value)>;

async fn answer(request: &Message, tokens: &Tokens, state: &State) -> Result<Map, Reply> {
    let text = |name: &str| request.application_property(name).and_then(Value::as_str);
    if text("operation") != Some("READ") {
        return Err(Reply::new(400, "the only operation is READ"));
    }
    let hub = state.names.hub.as_str();
    let paths: [&[&str]; 3] = [&[hub], &[hub, "$management"], &["messages", "events"]];
    let in_message = || text("security_token").and_then(|token| state.access.check(token).ok());
    if !tokens.may_read(&paths, state.clock.now()) && !in_message().is_some_and(|grant| grant.may_read(&paths)) {
        return Err(Reply::new(401, "reading needs a policy with ServiceConnect"));
    }
    let not_found = |what: &str| Reply::new(404, format!("there is no {what}"));
    if !text("name").is_some_and(|name| name.eq_ignore_ascii_case(hub)) {
        return Err(not_found("event hub of that name"));
    }
    match text("type") {
        Some("com.microsoft:eventhub") => Ok(hub_info(state)),
        Some("com.microsoft:partition") => {
            let partition = text("partition").unwrap_or_default();
            partition_info(state, partition).await.ok_or_else(|| not_found("such partition"))
        }
        _ => Err(Reply::new(400, "type is com.microsoft:eventhub or com.microsoft:partition")),
    }
}

fn hub_info(state: &State) -> Map {
    let count = state.about.partitions;
    let ids = Array::strings((0..count).map(|number| Text::from(number.to_string())));
    vec![
        entry("name", Value::String(state.names.hub.as_str().into())),
        entry("type", Value::String("com.microsoft:eventhub".into())),
        entry("created_at", Value::Timestamp(state.about.created_at.as_millis())),
        entry("partition_count", Value::Int(i32::try_from(count).unwrap_or(i32::MAX))),
        entry("partition_ids", Value::Array(ids)),
        entry("georeplication_factor", Value::Int(1)),
    ]
}

async fn partition_info(state: &State, partition: &str) -> Option<Map> {
    let number: u32 = partition.parse().ok()?;
    let info = state.events.info(number).await?;
    Some(vec![
        entry("name", Value::String(state.names.hub.as_str().into())),
        entry("type", Value::String("com.microsoft:partition".into())),
        entry("partition", Value::String(number.to_string().into())),
        entry("begin_sequence_number", Value::Long(info.begin_sequence)),
        entry("last_enqueued_sequence_number", Value::Long(info.last.sequence)),
        entry("last_enqueued_offset", Value::String(info.last.offset_text().into())),
        entry("last_enqueued_time_utc", Value::Timestamp(info.last.enqueued_at.as_millis())),
        entry("is_partition_empty", Value::Bool(info.is_empty())),
    ])
}

fn entry(key: &'static str, value: Value) -> (Value, Value) {
    (Value::String(Text::from_static(key)), value)
}

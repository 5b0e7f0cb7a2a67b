//! Queries over devices: the part of the service's query language that SDKs and portals use.
//!
//! - [`lexer`], [`parser`]: a query's text understood; [`syntax`]: what it says;
//! - [`evaluate`]: whether a twin meets its condition; [`answer`]: the rows that answer it.
//!
//! What is not understood is refused with its place rather than answered wrongly.

mod answer;
mod evaluate;
mod lexer;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use self::answer::{Groups, is_grouped, row};
use self::evaluate::holds;
use self::syntax::{Comparison, Expression, Query, Select};
use super::body;
use super::caller::Caller;
use super::error::RestError;
use super::twin_json::shown_as_twin;
use crate::identity::Identity;
use crate::limits::Kind;
use crate::policies::Right;
use crate::state::State;

const ITEM_COUNT: &str = "x-ms-max-item-count";
const CONTINUATION: &str = "x-ms-continuation";
const ITEM_TYPE: &str = "x-ms-item-type";
/// Items on a page, unless fewer are asked for. UNCONFIRMED: the service's own bound.
const PAGE: usize = 100;
/// Identities looked at before other work gets its turn.
const STEP: usize = 256;

#[derive(Deserialize)]
struct Body {
    query: String,
}

pub(super) async fn post(
    state: axum::extract::State<Arc<State>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    if name != "query" {
        return Err(RestError::unknown_path(&format!("POST /devices/{name}")));
    }
    caller.may(Right::ServiceConnect, &["devices", "query"])?;
    let query = parser::parse(&body::json::<Body>(body)?.query).map_err(|why| RestError::argument(why.to_string()))?;
    let limit = match text(&headers, ITEM_COUNT)? {
        // The service documents -1 for "as many as you like".
        None | Some("-1") => PAGE,
        Some(text) => match text.parse::<usize>() {
            Ok(count) if count > 0 => count.min(PAGE),
            _ => return Err(RestError::argument(format!("{ITEM_COUNT} is not a count"))),
        },
    };
    let from = text(&headers, CONTINUATION)?.filter(|text| !text.is_empty());
    let from = from.map(Continuation::read).transpose()?.unwrap_or_default();
    state.limits.admit(Kind::Query).await?;
    let page = Search { state: &state, query: &query }.page(from, limit).await;
    let kind = if query.select == Select::All { "Twin" } else { "Raw" };
    let body = serde_json::to_vec(&page.rows).unwrap_or_default();
    state.limits.charge_answer(body.len().saturating_sub(4096));
    let mut response = (StatusCode::OK, [(ITEM_TYPE, kind)], Json(page.rows)).into_response();
    if let Some(more) = page.more.and_then(|more| more.write().parse().ok()) {
        response.headers_mut().insert(CONTINUATION, more);
    }
    Ok(response)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RestError> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| RestError::argument(format!("{name} is not text")))
}

/// Where the next page goes on. Ours alone to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Continuation {
    /// The last id that was looked at.
    after: Option<String>,
    /// Rows given so far, for TOP.
    given: usize,
}

impl Continuation {
    fn read(text: &str) -> Result<Self, RestError> {
        let read = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let (given, after) = text.split_once('/')?;
            Some(Self { after: Some(after.to_owned()), given: given.parse().ok()? })
        };
        read().ok_or_else(|| RestError::argument(format!("{CONTINUATION} is not one this hub gave")))
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}", self.given, self.after.as_deref().unwrap_or_default()))
    }
}

struct Page {
    rows: Vec<Value>,
    more: Option<Continuation>,
}

/// A query being answered.
struct Search<'a> {
    state: &'a Arc<State>,
    query: &'a Query,
}

impl Search<'_> {
    async fn page(&self, from: Continuation, limit: usize) -> Page {
        if is_grouped(self.query) {
            return self.groups().await;
        }
        let limit = self.query.top.map_or(limit, |top| limit.min(top.saturating_sub(from.given)));
        let mut rows = Vec::new();
        let mut after = from.after;
        let mut candidates = Candidates::new(self.query);
        while let Some(found) = candidates.next(self.state, after.as_deref()) {
            for identity in found {
                let twin = shown_as_twin(&identity, self.state);
                if !self.meets(&twin) {
                    after = Some(identity.device_id.to_string());
                    continue;
                }
                if rows.len() == limit {
                    let given = from.given + rows.len();
                    let done = self.query.top.is_some_and(|top| given >= top);
                    return Page { rows, more: (!done).then_some(Continuation { after, given }) };
                }
                after = Some(identity.device_id.to_string());
                rows.push(row(&self.query.select, twin));
            }
            tokio::task::yield_now().await;
        }
        Page { rows, more: None }
    }

    async fn groups(&self) -> Page {
        let mut groups = Groups::new(self.query);
        let mut candidates = Candidates::new(self.query);
        let mut after: Option<String> = None;
        while let Some(found) = candidates.next(self.state, after.as_deref()) {
            for identity in found {
                after = Some(identity.device_id.to_string());
                let twin = shown_as_twin(&identity, self.state);
                if self.meets(&twin) {
                    groups.add(&twin);
                }
            }
            tokio::task::yield_now().await;
        }
        let mut rows = groups.rows();
        rows.truncate(self.query.top.unwrap_or(usize::MAX));
        Page { rows, more: None }
    }

    fn meets(&self, twin: &Value) -> bool {
        self.query.condition.as_ref().is_none_or(|condition| holds(condition, twin))
    }
}

/// The identities a query may concern: all of them, or those it names.
struct Candidates<'a> {
    named: Option<Vec<&'a str>>,
    asked: bool,
}

impl<'a> Candidates<'a> {
    fn new(query: &'a Query) -> Self {
        let mut named = query.condition.as_ref().and_then(named);
        if let Some(ids) = &mut named {
            ids.sort_unstable();
            ids.dedup();
        }
        Self { named, asked: false }
    }

    fn next(&mut self, state: &State, after: Option<&str>) -> Option<Vec<Arc<Identity>>> {
        let found = match &self.named {
            None => state.identities.page(after, STEP),
            Some(_) if self.asked => Vec::new(),
            Some(ids) => {
                self.asked = true;
                ids.iter()
                    .filter(|id| after.is_none_or(|after| **id > after))
                    .filter_map(|id| state.identities.get(id))
                    .collect()
            }
        };
        (!found.is_empty()).then_some(found)
    }
}

/// The ids outside of which `condition` holds for nothing, if it names any.
fn named(condition: &Expression) -> Option<Vec<&str>> {
    let is_id = |expression: &Expression| matches!(expression, Expression::Path(path) if path.len() == 1 && path[0].eq_ignore_ascii_case("deviceId"));
    match condition {
        Expression::And(all) => all.iter().find_map(named),
        Expression::Compare(Comparison::Equal, left, right) if is_id(left) => literal(right).map(|id| vec![id]),
        Expression::Compare(Comparison::Equal, left, right) if is_id(right) => literal(left).map(|id| vec![id]),
        Expression::In { what, list, negated: false } if is_id(what) => {
            // What is no text equals no id.
            list.iter()
                .all(|item| matches!(item, Expression::Literal(_)))
                .then(|| list.iter().filter_map(literal).collect())
        }
        _ => None,
    }
}

fn literal(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Literal(Value::String(id)) => Some(id),
        _ => None,
    }
}

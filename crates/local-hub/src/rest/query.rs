//! Queries: the part of the query language that lists devices.
//!
//! `SELECT * FROM devices`, and with `WHERE deviceId = '…'` or `WHERE deviceId IN ['…', …]`. Anything else is refused by
//! name rather than answered wrongly.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::caller::Caller;
use super::devices;
use super::error::RestError;
use super::identity_json::shown_as_twin;
use crate::identity::Identity;
use crate::policies::Right;
use crate::state::State;

const ITEM_COUNT: &str = "x-ms-max-item-count";
const CONTINUATION: &str = "x-ms-continuation";
const ITEM_TYPE: &str = "x-ms-item-type";
/// Items on a page, unless fewer are asked for. UNCONFIRMED: the service's own bound.
const PAGE: usize = 100;

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
    let selection = Selection::parse(&devices::json::<Body>(body)?.query).map_err(RestError::argument)?;
    let limit = match text(&headers, ITEM_COUNT)? {
        None => PAGE,
        // The service documents -1 for "as many as you like".
        Some("-1") => PAGE,
        Some(text) => match text.parse::<usize>() {
            Ok(count) if count > 0 => count.min(PAGE),
            _ => return Err(RestError::argument(format!("{ITEM_COUNT} is not a count"))),
        },
    };
    let after = text(&headers, CONTINUATION)?.filter(|text| !text.is_empty()).map(read_continuation).transpose()?;
    let mut page = selection.page(&state, after.as_deref(), limit + 1);
    let more = page.len() > limit;
    page.truncate(limit);
    let items: Vec<_> = page.iter().map(|identity| shown_as_twin(identity, &state)).collect();
    let mut response = ([(ITEM_TYPE, "Twin")], Json(items)).into_response();
    if let (true, Some(last)) = (more, page.last()) {
        let token = URL_SAFE_NO_PAD.encode(last.device_id.as_bytes());
        if let Ok(value) = token.parse() {
            response.headers_mut().insert(CONTINUATION, value);
        }
    }
    Ok(response)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RestError> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| RestError::argument(format!("{name} is not text")))
}

/// A continuation is ours alone to read: the last id of the page before.
fn read_continuation(text: &str) -> Result<String, RestError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| RestError::argument(format!("{CONTINUATION} is not one this hub gave")))
}

/// What a query selects.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    All,
    Ids(Vec<String>),
}

impl Selection {
    fn page(&self, state: &State, after: Option<&str>, limit: usize) -> Vec<Arc<Identity>> {
        match self {
            Self::All => state.identities.page(after, limit),
            Self::Ids(ids) => {
                let mut ids: Vec<_> = ids.iter().filter(|id| after.is_none_or(|after| id.as_str() > after)).collect();
                ids.sort();
                ids.dedup();
                ids.into_iter().filter_map(|id| state.identities.get(id)).take(limit).collect()
            }
        }
    }

    fn parse(query: &str) -> Result<Self, String> {
        let tokens = tokens(query)?;
        let refused = || {
            Err(format!(
                "this local hub answers SELECT * FROM devices [WHERE deviceId = '…' | WHERE deviceId IN ['…']], not {query:?}"
            ))
        };
        let words: Vec<_> = tokens.iter().map(Piece::lower).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let Some(condition) = words.strip_prefix(&["select", "*", "from", "devices"]) else { return refused() };
        let literals = &tokens[tokens.len() - condition.len()..];
        match condition {
            [] => Ok(Self::All),
            ["where", "deviceid" | "devices.deviceid", "=", _] => match &literals[3] {
                Piece::Text(id) => Ok(Self::Ids(vec![id.clone()])),
                Piece::Word(_) => refused(),
            },
            ["where", "deviceid" | "devices.deviceid", "in", "[", list @ .., "]"] => {
                let items = &literals[4..4 + list.len()];
                let mut ids = Vec::new();
                for (place, item) in items.iter().enumerate() {
                    match item {
                        Piece::Text(id) if place % 2 == 0 => ids.push(id.clone()),
                        Piece::Word(word) if place % 2 == 1 && word == "," => {}
                        _ => return refused(),
                    }
                }
                if items.len() % 2 == 0 && !items.is_empty() { refused() } else { Ok(Self::Ids(ids)) }
            }
            _ => refused(),
        }
    }
}

/// A word, a sign, or a quoted text.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Word(String),
    Text(String),
}

impl Piece {
    /// For comparison with keywords; a text compares as something no keyword is.
    fn lower(&self) -> String {
        match self {
            Self::Word(word) => word.to_ascii_lowercase(),
            Self::Text(_) => "'".to_owned(),
        }
    }
}

fn tokens(query: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => {
                let end = rest[1..].find(first).ok_or_else(|| format!("a quote is not closed in {query:?}"))?;
                pieces.push(Piece::Text(rest[1..=end].to_owned()));
                end + 2
            }
            '[' | ']' | ',' | '=' | '*' | '(' | ')' | '<' | '>' | '!' => {
                pieces.push(Piece::Word(first.to_string()));
                1
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "'\"[],=*()<>!".contains(c);
                let end = rest.find(ends).unwrap_or(rest.len());
                pieces.push(Piece::Word(rest[..end].to_owned()));
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(pieces)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_answered_queries_are_understood_in_any_case_and_spacing() {
        let ids = |ids: &[&str]| Ok(Selection::Ids(ids.iter().map(|id| (*id).to_owned()).collect()));
        for (query, selection) in [
            ("SELECT * FROM devices", Ok(Selection::All)),
            ("select*from  Devices ", Ok(Selection::All)),
            ("SELECT * FROM devices WHERE deviceId = 'a b'", ids(&["a b"])),
            ("SELECT * FROM devices WHERE devices.deviceId='a'", ids(&["a"])),
            ("SELECT * FROM devices WHERE deviceId IN ['a', 'b']", ids(&["a", "b"])),
            ("SELECT * FROM devices WHERE deviceId in []", ids(&[])),
        ] {
            assert_eq!(Selection::parse(query), selection, "{query}");
        }
    }

    #[test]
    fn what_is_not_answered_is_refused() {
        for query in [
            "",
            "SELECT deviceId FROM devices",
            "SELECT * FROM devices.modules",
            "SELECT * FROM devices WHERE status = 'enabled'",
            "SELECT * FROM devices WHERE deviceId = a",
            "SELECT * FROM devices WHERE deviceId = 'a",
            "SELECT * FROM devices WHERE deviceId IN ['a' 'b']",
            "SELECT * FROM devices WHERE deviceId IN ['a',]",
            "SELECT * FROM devices WHERE deviceId = 'a' AND status = 'enabled'",
        ] {
            assert!(Selection::parse(query).is_err(), "{query}");
        }
    }
}

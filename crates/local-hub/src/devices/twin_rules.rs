//! What may stand in a twin: names, values, depth and size (reference, 7.1; the service's documentation of twins).

use serde_json::{Map, Value};

/// Levels of objects below a section.
const MAX_DEPTH: usize = 10;
/// Bytes of a name.
const MAX_NAME: usize = 1024;
/// Bytes of a text.
const MAX_TEXT: usize = 4096;
/// Integers lie between minus and plus this.
const MAX_INTEGER: i64 = 4_503_599_627_370_496;

/// How large a part of a twin may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    section: &'static str,
    bytes: usize,
}

impl Limit {
    pub(super) const TAGS: Self = Self { section: "tags", bytes: 8 * 1024 };
    pub(super) const DESIRED: Self = Self { section: "properties.desired", bytes: 32 * 1024 };
    pub(super) const REPORTED: Self = Self { section: "properties.reported", bytes: 32 * 1024 };
}

/// A caller's change of `section` without the members the hub itself adds (clients send back what they got), or why it
/// cannot be taken.
pub(super) fn checked_patch(section: &str, patch: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut patch = patch.clone();
    patch.retain(|name, _| name != "$version" && name != "$metadata");
    check_members(section, &patch, 1)?;
    Ok(patch)
}

/// Whether a part of the twin is small enough as a whole.
pub(super) fn check_whole(limit: Limit, values: &Map<String, Value>) -> Result<(), String> {
    let size = members_size(values);
    if size > limit.bytes {
        return Err(format!("{} would have {size} bytes, {} are allowed", limit.section, limit.bytes));
    }
    Ok(())
}

fn check_members(at: &str, members: &Map<String, Value>, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("{at} is nested deeper than {MAX_DEPTH} levels"));
    }
    for (name, value) in members {
        check_name(at, name)?;
        check_value(&format!("{at}.{}", shortened(name)), value, depth)?;
    }
    Ok(())
}

fn check_name(at: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a name in {at} has {} bytes, 1 to {MAX_NAME} are allowed", name.len()));
    }
    match name.chars().find(|c| c.is_control() || matches!(c, '.' | '$' | ' ')) {
        Some(bad) => Err(format!("the name {:?} in {at} holds {bad:?}", shortened(name))),
        None => Ok(()),
    }
}

fn check_value(at: &str, value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            Err(format!("{at} has {} bytes, {MAX_TEXT} are allowed", text.len()))
        }
        Value::Number(number) if !is_in_range(number) => {
            Err(format!("{at} is {number}, integers lie between -{MAX_INTEGER} and {MAX_INTEGER}"))
        }
        Value::Array(items) => {
            if depth >= MAX_DEPTH {
                return Err(format!("{at} is nested deeper than {MAX_DEPTH} levels"));
            }
            items.iter().try_for_each(|item| check_value(at, item, depth + 1))
        }
        Value::Object(members) => check_members(at, members, depth + 1),
        _ => Ok(()),
    }
}

fn is_in_range(number: &serde_json::Number) -> bool {
    match number.as_i64() {
        Some(integer) => (-MAX_INTEGER..=MAX_INTEGER).contains(&integer),
        None => !number.is_u64(),
    }
}

/// The size by which limits go. UNCONFIRMED (reference, 7.1): the documentation counts names and values; what a number
/// or a boolean counts for is 8 and 4 bytes here.
fn members_size(members: &Map<String, Value>) -> usize {
    members.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.chars().filter(|c| !c.is_control()).map(char::len_utf8).sum(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(members) => members_size(members),
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod unit {
    use serde_json::json;

    use super::*;

    fn check(value: &Value) -> Result<Map<String, Value>, String> {
        checked_patch("tags", value.as_object().unwrap())
    }

    #[test]
    fn names_values_and_depth_are_held_to_the_documented_bounds() {
        let nested = |levels: usize| (1..levels).fold(json!({"x": 1}), |inner, _| json!({ "x": inner }));
        for good in [
            json!({}),
            json!({"a": 1, "b": null, "c": [1, {"d": true}], "ä": "x"}),
            json!({"$version": 3, "$metadata": {"$x": 1}, "a": 1}),
            json!({"a": "x".repeat(4096), "n".repeat(1024): 1}),
            json!({"a": MAX_INTEGER, "b": -MAX_INTEGER, "c": 1e300}),
            nested(10),
        ] {
            assert!(check(&good).is_ok(), "{good}");
        }
        for bad in [
            json!({"a.b": 1}),
            json!({"$a": 1}),
            json!({"a": {"$version": 1}}),
            json!({"a b": 1}),
            json!({"a\u{7}": 1}),
            json!({"": 1}),
            json!({"n".repeat(1025): 1}),
            json!({"a": "x".repeat(4097)}),
            json!({"a": ["x".repeat(4097)]}),
            json!({"a": MAX_INTEGER + 1}),
            json!({"a": u64::MAX}),
            nested(11),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
        assert_eq!(check(&json!({"$version": 3, "a": 1})).unwrap().len(), 1, "what the hub adds is passed over");
    }

    #[test]
    fn a_part_counts_names_and_values_and_no_more_than_its_limit() {
        let part = |bytes: usize| {
            let mut members = Map::new();
            // Each member counts 4 bytes of name and up to 4000 of text.
            for number in 0.. {
                let left = bytes - members_size(&members);
                if left == 0 {
                    break;
                }
                members.insert(format!("{number:04}"), "x".repeat((left - 4).min(4000)).into());
            }
            members
        };
        assert_eq!(check_whole(Limit::TAGS, &part(8192)), Ok(()));
        assert!(check_whole(Limit::TAGS, &part(8193)).is_err());
        assert_eq!(check_whole(Limit::DESIRED, &part(32768)), Ok(()));
        assert!(check_whole(Limit::REPORTED, &part(32769)).is_err());
    }
}

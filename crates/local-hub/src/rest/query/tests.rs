use serde_json::{Value, json};

use super::answer::{Groups, is_grouped, row};
use super::evaluate::holds;
use super::parser::parse;
use super::*;

fn twins() -> Vec<Value> {
    let twin = |id: &str, status: &str, tags: Value, desired: Value| {
        json!({
            "deviceId": id, "status": status, "connectionState": "Disconnected", "etag": "x",
            "lastActivityTime": "2026-11-22T10:00:00Z", "tags": tags,
            "properties": {"desired": desired, "reported": {"level": 5, "up": true, "nothing": null}},
        })
    };
    vec![
        twin("a", "enabled", json!({"site": "north", "floor": 3}), json!({"interval": 60, "a b": {"c.d": 1}})),
        twin("b", "disabled", json!({"site": "south", "floor": 1}), json!({"interval": 5.5})),
        twin("c", "enabled", json!({"site": "north"}), json!({"list": ["x", "y"]})),
    ]
}

/// The ids of the twins that a condition holds for.
fn meeting(condition: &str) -> String {
    let query =
        parse(&format!("SELECT * FROM devices WHERE {condition}")).unwrap_or_else(|why| panic!("{condition}: {why}"));
    let condition = query.condition.unwrap();
    twins().iter().filter(|twin| holds(&condition, twin)).map(|twin| twin["deviceId"].as_str().unwrap()).collect()
}

#[test]
fn conditions_select_the_twins_they_hold_for() {
    for (condition, expected) in [
        ("deviceId = 'a'", "a"),
        ("devices.deviceId='b'", "b"),
        ("deviceid IN ['a', 'c', 'x']", "ac"),
        ("deviceId IN []", ""),
        ("deviceId NIN ['a']", "bc"),
        ("deviceId NOT IN ['a']", "bc"),
        ("status = 'enabled'", "ac"),
        ("status != \"enabled\"", "b"),
        ("status <> 'enabled'", "b"),
        ("NOT status = 'enabled'", "b"),
        ("connectionState = 'Connected' OR tags.site = 'south'", "b"),
        ("tags.site = 'north' AND tags.floor > 2", "a"),
        ("tags.floor >= 1", "ab"),
        ("tags.floor < 3 OR deviceId = 'c' AND status = 'enabled'", "bc"),
        ("(tags.floor < 3 OR deviceId = 'c') AND status = 'enabled'", "c"),
        ("properties.desired.interval <= 60", "ab"),
        ("properties.desired.interval = 60.0", "a"),
        ("properties.desired.interval = -5", ""),
        ("properties.desired['a b']['c.d'] = 1", "a"),
        ("properties.desired.[[a b]].[[c.d]] = 1", "a"),
        ("properties.desired.list[1] = 'y'", "c"),
        ("properties.reported.up", "abc"),
        ("properties.reported.up = true", "abc"),
        ("properties.reported.nothing = null", "abc"),
        ("is_defined(tags.floor)", "ab"),
        ("NOT IS_DEFINED(tags.floor)", "c"),
        ("is_null(properties.reported.nothing) AND is_bool(properties.reported.up)", "abc"),
        ("is_number(tags.floor) AND is_string(tags.site) AND is_object(tags)", "ab"),
        ("is_primitive(tags.site) AND is_array(properties.desired.list)", "c"),
        ("STARTSWITH(deviceId, 'a')", "a"),
        ("startswith(tags.site, 'so') OR endswith(tags.site, 'rth')", "abc"),
        ("contains(tags.site, 'ort')", "ac"),
        ("upper(tags.site) = 'SOUTH' AND length(tags.site) = 5 AND lower('A') = 'a'", "b"),
        ("lastActivityTime < '2027-01-01T00:00:00Z'", "abc"),
        ("tags.site = 'no''rth' OR tags.site = 'it\\'s'", ""),
        // What is not there neither is nor is not.
        ("tags.absent = 1", ""),
        ("tags.absent != 1", ""),
        ("NOT tags.absent = 1", ""),
        ("tags.absent = 1 OR deviceId = 'a'", "a"),
        // Texts and numbers are never compared.
        ("tags.floor > '2'", ""),
    ] {
        assert_eq!(meeting(condition), expected, "{condition}");
    }
}

fn answered(text: &str) -> Vec<Value> {
    let query = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    let meets = |twin: &Value| query.condition.as_ref().is_none_or(|condition| holds(condition, twin));
    if is_grouped(&query) {
        let mut groups = Groups::new(&query);
        twins().iter().filter(|twin| meets(twin)).for_each(|twin| groups.add(twin));
        groups.rows()
    } else {
        twins().into_iter().filter(meets).map(|twin| row(&query.select, twin)).collect()
    }
}

#[test]
fn columns_and_aggregates_make_the_rows() {
    for (query, rows) in [
        ("select deviceId from devices where deviceId = 'a'", json!([{"deviceId": "a"}])),
        (
            "SELECT deviceId AS id, tags.floor, tags.site place FROM devices",
            json!([{"id": "a", "floor": 3, "place": "north"}, {"id": "b", "floor": 1, "place": "south"},
                {"id": "c", "place": "north"}]),
        ),
        ("SELECT COUNT() AS numberOfDevices FROM devices", json!([{"numberOfDevices": 3}])),
        ("SELECT COUNT(*) FROM devices WHERE status = 'gone'", json!([{"$1": 0}])),
        ("SELECT COUNT(tags.floor) AS n FROM devices", json!([{"n": 2}])),
        (
            "SELECT SUM(tags.floor) AS s, AVG(tags.floor) AS a, MIN(tags.floor) AS l, MAX(tags.floor) AS m FROM devices",
            json!([{"s": 4, "a": 2, "l": 1, "m": 3}]),
        ),
        (
            "SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site",
            json!([{"site": "north", "n": 2}, {"site": "south", "n": 1}]),
        ),
    ] {
        assert_eq!(json!(answered(query)), rows, "{query}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    for (query, why) in [
        ("", "at character 1: the query ends where SELECT is expected"),
        ("SELECT * FROM things", "at character 15: there is \"things\" where DEVICES is expected"),
        ("SELECT * FROM devices.modules", "at character 15: this local hub has no devices.modules to select from"),
        ("SELECT * FROM devices WHERE", "at character 28: the query ends where a name is expected"),
        ("SELECT * FROM devices WHERE a = 'b", "at character 33: a quote is not closed"),
        ("SELECT * FROM devices WHERE deviceId IN ['a',]", "where a name is expected"),
        ("SELECT * FROM devices WHERE deviceId IN ['a' 'b']", "there is the text \"b\" where ] is expected"),
        ("SELECT * FROM devices WHERE a ~ 1", "'~' means nothing here"),
        ("SELECT * FROM devices WHERE a + 1 = 2", "there is \"+\" where the end of the query is expected"),
        ("SELECT * FROM devices WHERE sqrt(a) = 2", "this local hub does not answer the function sqrt"),
        ("SELECT * FROM devices WHERE startswith(a)", "startswith takes 2 arguments, not 1"),
        ("SELECT * FROM devices ORDER BY a", "there is \"ORDER\" where the end of the query is expected"),
        ("SELECT deviceId, COUNT() FROM devices", "beside aggregates only columns of GROUP BY can be selected"),
        ("SELECT * FROM devices GROUP BY status", "SELECT * cannot be grouped"),
        ("SELECT SUM() FROM devices", "this aggregate needs a path"),
        ("SELECT TOP 0 * FROM devices", "TOP 0 is not a count"),
        ("SELECT deviceId", "the query ends where FROM is expected"),
    ] {
        let error = parse(query).expect_err(query).to_string();
        assert!(error.contains(why), "{query}: {error}");
    }
}

#[test]
fn no_text_makes_the_parser_fail_otherwise_than_by_an_error() {
    let deep = format!("SELECT * FROM devices WHERE {}a{}", "(".repeat(2000), ")".repeat(2000));
    assert!(parse(&deep).unwrap_err().to_string().contains("nested deeper than 50"));
    let query =
        "SELECT TOP 5 a.b['c'], COUNT(x) AS \u{e4} FROM devices WHERE NOT (a = 'x''y' AND b IN [1, -2.5e3]) GROUP BY a";
    for (cut, _) in query.char_indices() {
        // Whatever is missing, it is said; nothing panics.
        let _ = parse(&query[..cut]);
        let _ = parse(&query[cut..]);
    }
}

#[test]
fn a_condition_on_ids_looks_at_these_alone() {
    let named = |condition: &str| {
        let query = parse(&format!("SELECT * FROM devices WHERE {condition}")).unwrap();
        named(query.condition.as_ref().unwrap()).map(|ids| ids.join(","))
    };
    assert_eq!(named("deviceId = 'a'").as_deref(), Some("a"));
    assert_eq!(named("status = 'enabled' AND deviceId IN ['a', 'b', 3]").as_deref(), Some("a,b"));
    assert_eq!(named("'a' = devices.deviceId").as_deref(), Some("a"));
    for all in ["deviceId = 'a' OR status = 'x'", "NOT deviceId = 'a'", "deviceId NIN ['a']", "deviceId = tags.x"] {
        assert_eq!(named(all), None, "{all}");
    }
}

#[test]
fn a_continuation_is_read_back_and_no_other_text_is() {
    let continuation = Continuation { after: Some("d/1".to_owned()), given: 7 };
    assert_eq!(Continuation::read(&continuation.write()).unwrap(), continuation);
    for text in ["x", "!", "", "YQ"] {
        assert!(Continuation::read(text).is_err(), "{text}");
    }
}

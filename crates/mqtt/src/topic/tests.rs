use proptest::prelude::*;

use super::*;

fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

/// The specification's sentences as plainly as they can be written.
fn naive_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter.split_first(), name.split_first()) {
        (Some((&"#", _)), _) => true,
        (None, None) => true,
        (Some((&"+", filter)), Some((_, name))) => naive_match(filter, name),
        (Some((level, filter)), Some((own, name))) => level == own && naive_match(filter, name),
        _ => false,
    }
}

fn naive(filter: &str, name: &str) -> bool {
    let wild = filter.starts_with(['+', '#']);
    let filter: Vec<_> = filter.split('/').collect();
    let name: Vec<_> = name.split('/').collect();
    !(wild && name[0].starts_with('$')) && naive_match(&filter, &name)
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("$a"), Just("$SYS")].prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/")).prop_filter("empty", |t| !t.is_empty())
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 1 => Just("+".to_owned())];
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
        .prop_filter("empty", |t| !t.is_empty())
}

proptest! {
    #[test]
    fn a_filter_matches_exactly_what_the_naive_model_says(filter in any_filter(), name in name()) {
        let parsed: TopicFilter = filter.parse().unwrap();
        prop_assert_eq!(parsed.matches(&name.parse().unwrap()), naive(&filter, &name), "{} {}", filter, name);
    }

    #[test]
    fn a_filter_that_covers_another_matches_all_the_other_does(a in any_filter(), b in any_filter(), name in name()) {
        let (a, b) = (filter(&a), filter(&b));
        prop_assert!(a.covers(&a));
        if a.covers(&b) && b.matches_str(&name) {
            prop_assert!(a.matches_str(&name), "{} {} {}", a, b, name);
        }
    }

    #[test]
    fn a_filter_covers_every_name_it_matches(a in any_filter(), name in name()) {
        let a = filter(&a);
        prop_assert_eq!(a.covers(&filter(&name)), a.matches_str(&name), "{} {}", a, name);
    }

    #[test]
    fn any_text_is_refused_or_kept_as_it_is(text in "[a#+/$\\x00ü]{0,8}") {
        if let Ok(filter) = text.parse::<TopicFilter>() {
            prop_assert_eq!(filter.to_string(), text.clone());
        }
        if let Ok(name) = text.parse::<TopicName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(text.parse::<TopicFilter>().is_ok());
        }
        if let Ok(subscription) = text.parse::<Subscription>() {
            prop_assert_eq!(subscription.to_string(), text);
        }
    }
}

#[test]
fn the_examples_of_the_specification_hold() {
    for (text, name, expected) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/x", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ] {
        assert_eq!(filter(text).matches(&name.parse().unwrap()), expected, "{text} {name}");
    }
}

#[test]
fn a_misplaced_wildcard_is_refused() {
    for text in ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "#/a", "a/+b", "##", "+#"] {
        assert_eq!(text.parse::<TopicFilter>(), Err(TopicError::Misplaced), "{text}");
    }
    for text in ["a/+", "#", "a#"] {
        assert_eq!(text.parse::<TopicName>(), Err(TopicError::Wildcard), "{text}");
    }
    assert_eq!("".parse::<TopicName>(), Err(TopicError::Empty));
    assert_eq!("a\0".parse::<TopicFilter>(), Err(TopicError::Nul));
    assert_eq!("/".repeat(MAX_LEVELS).parse::<TopicName>(), Err(TopicError::TooDeep(MAX_LEVELS + 1)));
    assert_eq!("x".repeat(65_536).parse::<TopicName>(), Err(TopicError::TooLong(65_536)));
}

#[test]
fn a_shared_filter_needs_a_group_and_a_filter() {
    let shared: SharedFilter = "$share/workers/devices/+/signals/#".parse().unwrap();
    assert_eq!((shared.group.as_str(), shared.filter.as_str()), ("workers", "devices/+/signals/#"));
    for text in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/a+/b"] {
        assert_eq!(text.parse::<Subscription>(), Err(TopicError::Share), "{text}");
    }
    assert!(matches!("$shared/a".parse(), Ok(Subscription::Plain(_))));
}

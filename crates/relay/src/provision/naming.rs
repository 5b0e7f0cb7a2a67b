//! What a device is called in the hub.

use hubward_iothub::rules::MAX_DEVICE_ID;

use super::ProvisionError;

/// The template that is used when none is given.
pub(super) const DEFAULT_TEMPLATE: &str = "{name}-{id}";

/// Refuses a template that would give all devices one id, or has a placeholder we do not know.
pub(super) fn check_template(template: &str) -> Result<(), ProvisionError> {
    let broken = |reason| Err(ProvisionError::Template { template: template.chars().take(100).collect(), reason });
    if !template.contains("{name}") && !template.contains("{id}") {
        return broken("holds neither {name} nor {id}, so all devices would have the same id");
    }
    if template.replace("{name}", "").replace("{id}", "").contains(['{', '}']) {
        return broken("holds a placeholder other than {name} and {id}");
    }
    if template.len() > MAX_DEVICE_ID {
        return broken("is longer than 128 characters");
    }
    Ok(())
}

/// The id of a device by `template`: every character outside `A-Za-z0-9._-` becomes a hyphen, at most 128 are kept.
pub(super) fn hub_device_id(template: &str, name: &str, id: &str) -> String {
    // One pass, so that a name that spells a placeholder stays a name.
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{name}") {
            text.push_str(name);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{id}") {
            text.push_str(id);
            rest = after;
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    text.chars().map(clean).take(MAX_DEVICE_ID).collect()
}

/// The id to try when `id` is taken: `board-h2` after `board`, `board-h3` after that. The letter keeps it apart from devices
/// that are numbered already.
pub(super) fn next(id: &str) -> String {
    let (base, n) = match id.rsplit_once("-h").map(|(base, n)| (base, n.parse::<u32>())) {
        Some((base, Ok(n @ 2..=9999))) if !base.is_empty() => (base, n + 1),
        _ => (id, 2),
    };
    let suffix = format!("-h{n}");
    let mut text: String = base.chars().take(MAX_DEVICE_ID - suffix.len()).collect();
    text.push_str(&suffix);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_the_template_and_cleaned() {
        assert_eq!(hub_device_id(DEFAULT_TEMPLATE, "Jim's board (küche)", "abc123"), "Jim-s-board--k-che--abc123");
        assert_eq!(hub_device_id("plant/{id}", "x", "abc"), "plant-abc");
        assert_eq!(hub_device_id("{name}", "{id}", "abc"), "-id-");
        assert_eq!(hub_device_id("{name}{name}{name}", &"n".repeat(64), "a").len(), 128);
        assert!(hubward_iothub::rules::device_id(&hub_device_id("{name}", "😀", "x")).is_ok());
    }

    #[test]
    fn another_id_fits_too() {
        assert_eq!(next("board"), "board-h2");
        assert_eq!(next("board-h2"), "board-h3");
        assert_eq!(next("sensor-5"), "sensor-5-h2");
        let long = next(&"n".repeat(128));
        assert!(long.len() == 128 && long.ends_with("n-h2"));
        assert_ne!(next(&long), long);
    }

    #[test]
    fn a_template_needs_a_name_or_an_id_and_nothing_unknown() {
        for good in ["{name}", "{id}", "{name}-{id}", "a{id}b"] {
            assert!(check_template(good).is_ok(), "{good}");
        }
        for bad in ["", "fixed", "{token}", "{id}-{token}", "{id}}", &"{id}x".repeat(40)] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
    }
}

//! What Azure allows as names of hubs and resource groups, and IoT Hub as ids of devices.

use std::fmt;

/// A rule of Azure's that a name breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    field: &'static str,
    message: String,
    remedy: &'static str,
}

impl RuleError {
    fn new(field: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self { field, message: message.into(), remedy }
    }

    /// Stable word that scripts may compare.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.field {
            "hub_name" => "bad_hub_name",
            "resource_group" => "bad_resource_group",
            _ => "bad_hub_device_id",
        }
    }

    /// What was named: `hub_name`, `resource_group` or `hub_device_id`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleError {}

/// Whether an IoT Hub may be called `name`: 3 to 50 letters, digits and hyphens, the last no hyphen. Whether it is still
/// free only Azure knows.
///
/// # Errors
/// The first part of the rule that it breaks.
pub fn hub_name(name: &str) -> Result<(), RuleError> {
    const REMEDY: &str = "use 3 to 50 letters, digits and hyphens, such as plant-7-hub; it cannot be changed later";
    let broken = |message: String| Err(RuleError::new("hub_name", message, REMEDY));
    if let Some(character) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return broken(format!("the hub name {} holds {character:?}, which is not allowed", shown(name)));
    }
    let length = name.chars().count();
    if !(3..=50).contains(&length) {
        return broken(format!("the hub name {} has {length} characters, it must have 3 to 50", shown(name)));
    }
    if name.ends_with('-') {
        return broken(format!("the hub name {} ends in a hyphen", shown(name)));
    }
    Ok(())
}

/// Whether a resource group may be called `name`: up to 90 letters, digits, periods, underscores, hyphens and parentheses,
/// the last no period.
///
/// # Errors
/// The first part of the rule that it breaks.
pub fn resource_group(name: &str) -> Result<(), RuleError> {
    const REMEDY: &str =
        "use 1 to 90 letters, digits, periods, underscores, hyphens and parentheses, and no period at the end";
    let broken = |message: String| Err(RuleError::new("resource_group", message, REMEDY));
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '(' | ')');
    if name.is_empty() {
        return broken("the name of the resource group is empty".to_owned());
    }
    if let Some(character) = name.chars().find(|c| !allowed(*c)) {
        return broken(format!("the resource group name {} holds {character:?}, which is not allowed", shown(name)));
    }
    let length = name.chars().count();
    if length > 90 {
        return broken(format!(
            "the resource group name {} has {length} characters, at most 90 are allowed",
            shown(name)
        ));
    }
    if name.ends_with('.') {
        return broken(format!("the resource group name {} ends in a period", shown(name)));
    }
    Ok(())
}

/// Most characters of a device id.
pub const MAX_DEVICE_ID: usize = 128;

/// Whether IoT Hub takes `id` as a device's id: 1 to 128 ASCII letters, digits and ``- : . + % _ # * ? ! ( ) , = @ ; $ '``.
///
/// # Errors
/// The first part of the rule that it breaks.
pub fn device_id(id: &str) -> Result<(), RuleError> {
    const REMEDY: &str = "use 1 to 128 ASCII letters, digits and any of - : . + % _ # * ? ! ( ) , = @ ; $ '";
    let broken = |message: String| Err(RuleError::new("hub_device_id", message, REMEDY));
    if id.is_empty() {
        return broken("the device's id in the hub is empty".to_owned());
    }
    if let Some(character) = id.chars().find(|c| !c.is_ascii_alphanumeric() && !"-:.+%_#*?!(),=@;$'".contains(*c)) {
        return broken(format!("the hub device id {} holds {character:?}, which is not allowed", shown(id)));
    }
    if id.len() > MAX_DEVICE_ID {
        return broken(format!("the hub device id {} has {} characters, at most 128 are allowed", shown(id), id.len()));
    }
    Ok(())
}

/// The name in quotes, cut short.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(100).collect();
    let more = if start.len() < name.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_name_has_3_to_50_letters_digits_and_hyphens() {
        for good in ["abc", "my-hub-7", "-ab", &"x".repeat(50)] {
            assert_eq!(hub_name(good), Ok(()), "{good}");
        }
        for bad in ["", "ab", &"x".repeat(51), "my_hub", "my hub", "my.hub", "hüb", "hub-"] {
            let error = hub_name(bad).unwrap_err();
            assert_eq!((error.code(), error.field()), ("bad_hub_name", "hub_name"), "{bad}");
        }
    }

    #[test]
    fn a_resource_group_may_hold_parentheses_but_not_end_in_a_period() {
        for good in ["rg", "My.Group_(1)-x", "größe", &"x".repeat(90)] {
            assert_eq!(resource_group(good), Ok(()), "{good}");
        }
        for bad in ["", "rg.", "a b", "a/b", &"x".repeat(91)] {
            assert_eq!(resource_group(bad).unwrap_err().code(), "bad_resource_group", "{bad}");
        }
    }

    #[test]
    fn a_device_id_takes_the_characters_of_microsofts_sdks() {
        for good in ["d", "a-:.+%_#*?!(),=@;$'Z9", &"x".repeat(128)] {
            assert_eq!(device_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a&b", &"x".repeat(129)] {
            assert_eq!(device_id(bad).unwrap_err().code(), "bad_hub_device_id", "{bad}");
        }
    }
}

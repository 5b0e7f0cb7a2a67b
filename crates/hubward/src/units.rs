//! Durations and sizes as people write them: `10s`, `1h30m`, `30d`; `64MiB`, `10 GiB`, `80%`; tiers in any case.

use std::time::Duration;

use hubward_model::Tier;

/// Reads `10s`, `500ms`, `1h30m`, `30d`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration such as 500ms, 10s, 5m, 12h or 30d");
    let text_trimmed = text.trim();
    if let Ok(seconds) = text_trimmed.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text_trimmed;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match rest[..letters].trim() {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" | "min" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3_600).map(Duration::from_secs),
            "d" => number.checked_mul(86_400).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// Reads `1048576`, `64MiB`, `10 GiB`, `5MB`.
pub fn size(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size such as 1048576, 64MiB or 10GiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| refuse())?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(unit).ok_or_else(refuse)
}

/// Reads `80%` or `0.8` as a share of one.
pub fn share(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    let parsed = match trimmed.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => trimmed.parse::<f64>(),
    };
    match parsed {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("{text:?} is no share between 0 and 1, such as 80% or 0.8")),
    }
}

/// Writes a size for people.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    for (unit, name) in [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit {
            // Two digits for a person: the precision lost above 2^53 is not seen.
            #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
            return format!("{:.1} {name}", bytes as f64 / unit as f64);
        }
    }
    format!("{bytes} B")
}

/// Reads `S1` or `s1`.
pub fn tier(text: &str) -> Result<Tier, String> {
    match text.to_ascii_uppercase().parse() {
        Ok(tier) => Ok(tier),
        Err(_) => Err(format!(
            "{text:?} is no tier; they are {}",
            Tier::ALL.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_their_parts() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("7", 7_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "10x", "10s5", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        for (text, bytes) in [("1", 1), ("64MiB", 64 << 20), ("10 GiB", 10 << 30), ("5MB", 5_000_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "99999999999TiB", "5 bananas"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_more_than_nothing_and_at_most_all() {
        assert_eq!(share("80%"), Ok(0.8));
        assert_eq!(share("1"), Ok(1.0));
        assert!(share("0").is_err() && share("101%").is_err() && share("nan").is_err());
    }

    #[test]
    fn a_tier_is_read_in_any_case_and_no_other_is() {
        assert_eq!(tier("s2"), Ok(Tier::S2));
        assert_eq!(tier("B1").unwrap_err(), "\"B1\" is no tier; they are F1, S1, S2, S3");
    }
}

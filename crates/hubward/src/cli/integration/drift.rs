//! `hubward integration drift`

use hubward_api::shapes::drift::DriftShow;

use super::path;
use crate::cli::api::Client;
use crate::cli::{Failure, output};

/// Prints how an integration differs from its hub.
pub(super) async fn run(client: &Client, name: &str, json: bool) -> Result<(), Failure> {
    let drift: DriftShow = client.get(&format!("{}/drift", path(name)), &[]).await?;
    if json { output::json(&drift) } else { print(&drift) }
}

/// The same after a repair: only if something is left to tell.
pub(super) async fn after_repair(client: &Client, name: &str) -> Result<(), Failure> {
    let drift: DriftShow = client.get(&format!("{}/drift", path(name)), &[]).await?;
    output::line("")?;
    print(&drift)
}

fn print(drift: &DriftShow) -> Result<(), Failure> {
    output::line(&format!("hub       {}", drift.host_name))?;
    output::line(&format!("compared  {}", seen(drift)))?;
    if let Some(error) = &drift.last_error {
        output::line(&format!("          {error}"))?;
    }
    let rows: Vec<Vec<String>> = drift
        .differences
        .iter()
        .map(|one| vec![one.device.clone(), one.hub_device_id.clone(), one.what.clone(), one.since.to_string()])
        .collect();
    output::table(&["DEVICE", "ID IN THE HUB", "DIFFERS", "SINCE"], &rows, "Nothing differs, as far as was compared.")?;
    if drift.orphans.is_empty() {
        return Ok(());
    }
    let word = |seen: Option<bool>| match seen {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not looked yet",
    };
    let rows: Vec<Vec<String>> = drift
        .orphans
        .iter()
        .map(|one| vec![one.hub_device_id.clone(), one.made_at.to_string(), word(one.seen).to_owned()])
        .collect();
    output::line("")?;
    output::table(&["MADE BY HUBWARD, USED BY NOBODY", "MADE", "IN THE HUB"], &rows, "")
}

/// How much was looked at.
fn seen(drift: &DriftShow) -> String {
    let Some(by) = &drift.by else { return "not yet".to_owned() };
    let how = match by.as_str() {
        "list" => "all at once",
        "query" => "one after the other, after a query",
        _ => "one after the other",
    };
    let complete =
        drift.complete_at.map_or_else(|| "never complete yet".to_owned(), |at| format!("last complete {at}"));
    format!("{} of {} identities of this hub, {how}; {complete}", drift.looked_at, drift.of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much_it_has_seen() {
        let mut drift = DriftShow {
            host_name: "hub".to_owned(),
            bound: 3,
            by: None,
            looked_at: 0,
            of: 0,
            complete_at: None,
            differences: Vec::new(),
            orphans: Vec::new(),
            last_error: None,
        };
        assert_eq!(seen(&drift), "not yet");
        (drift.by, drift.looked_at, drift.of) = (Some("get".to_owned()), 2, 3);
        assert_eq!(seen(&drift), "2 of 3 identities of this hub, one after the other; never complete yet");
    }
}

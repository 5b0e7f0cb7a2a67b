//! What Hubward does at a hub, done at one, and what that hub answers where the documents are silent.
//!
//! [`run`] uses a hub as an owner would: login, an integration, signals over all transports, read back, then the owner's
//! mistakes (disabled, other keys, deleted outside), and the end. It makes its own identities, whose ids begin with
//! `hubward-check-`, and deletes only those. It sends fewer than 200 messages, so that a free hub is enough. Beside it
//! asks the hub directly what only a hub can tell. `make test-azure` runs it against a real one, a test against ours.

mod journey;
mod mqtt_probes;
mod place;
mod probes;
mod report;
mod rest;

pub use place::Place;
pub use report::Report;

use anyhow::Result;

/// Does all of it and tells what came out. What was made is deleted, also when something fails.
pub async fn run(place: &Place) -> Result<Report> {
    let mut report = Report::new(place.service.host_name.host());
    let run = place.id_of_this_run();
    let went = async {
        journey::walk(place, &run, &mut report).await?;
        probes::ask(place, &run, &mut report).await?;
        mqtt_probes::ask(place, &run, &mut report).await?;
        rest::ask(place, &run, &mut report).await
    };
    let went = went.await;
    let left = place.delete_all_of(&run).await?;
    report.step("nothing of ours is left", left == 0, &format!("{left} identities had to be deleted by hand"));
    went.map(|()| report)
}

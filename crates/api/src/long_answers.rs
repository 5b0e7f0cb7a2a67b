//! Answers that go on for as long as the client likes end when the token or session they were asked with ends.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use futures_util::StreamExt;

use crate::Services;
use crate::access::Caller;

/// How often a token or session is looked at for having run out.
const LOOK: Duration = Duration::from_secs(15);

/// Ends a stream of events with its caller; other answers are short.
pub(crate) fn end_with_caller(services: Services, caller: Caller, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended(services, caller))))
}

async fn ended(services: Services, caller: Caller) {
    let mut changes = services.registry.access_changes();
    loop {
        if !caller.lasts(&services).await {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

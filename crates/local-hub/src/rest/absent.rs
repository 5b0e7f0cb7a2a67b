//! What the real hub has and this one has not: answered by its name, so that nobody takes it for a fault of theirs.

use axum::Router;
use axum::routing::any;
use std::sync::Arc;

use super::caller::Caller;
use super::error::RestError;
use crate::state::State;

const ABSENT: [(&str, &[&str]); 5] = [
    (
        "modules",
        &[
            "/devices/{id}/modules",
            "/devices/{id}/modules/{module}",
            "/devices/{id}/modules/{module}/{*rest}",
            "/twins/{id}/modules/{module}",
            "/twins/{id}/modules/{module}/{*rest}",
        ],
    ),
    ("configurations", &["/configurations", "/configurations/{*rest}", "/devices/{id}/applyConfigurationContent"]),
    ("jobs", &["/jobs", "/jobs/{*rest}"]),
    (
        "file upload",
        &[
            "/devices/{id}/files",
            "/devices/{id}/files/{*rest}",
            "/messages/serviceBound/filenotifications",
            "/messages/serviceBound/filenotifications/{*rest}",
        ],
    ),
    ("digital twins", &["/digitaltwins/{*rest}"]),
];

/// Routes that answer 501.
pub(super) fn routes() -> Router<Arc<State>> {
    let mut router = Router::new();
    for (what, paths) in ABSENT {
        for path in paths {
            router = router.route(path, any(move |_caller: Caller| async move { RestError::absent(what) }));
        }
    }
    router
}

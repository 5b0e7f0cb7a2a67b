//! Hubs: what was used of their day.

use axum::http::{Method, StatusCode};
use hubward_model::Timestamp;
use hubward_registry::HubUsage;
use serde_json::json;

use crate::changes::{devices, integration};
use crate::kit::Rig;

#[tokio::test]
async fn what_was_used_today_is_a_share_of_what_tier_and_units_give_and_a_number_without_them() {
    let rig = Rig::new().await;
    let boards = devices(&rig, "board", 1).await;
    integration(&rig, "lab", &boards).await;
    // Today is also tomorrow, should midnight come between.
    let used = HubUsage { messages: 2_000, units_4k: 3_000, units_half_k: 6_000 };
    let now = Timestamp::now();
    for at in [now, Timestamp::from_millis(now.as_millis() + 86_400_000)] {
        rig.services.registry.add_hub_usage("localhost", at, used).await.unwrap();
    }
    let show = async || rig.get("/api/v1/hubs/localhost:1").await.json()["used_today"].clone();
    let set = async |body| rig.ask(Method::PATCH, "/api/v1/integrations/lab", Some(body)).await;
    let shown = show().await;
    assert_eq!((shown["messages"].as_u64(), shown["quota"].is_null()), (Some(2_000), true));

    // Of two integrations on a hub that say different sizes the smaller counts, by its own meter.
    let sizes = [("S1", 2, 800_000, 3_000, 0.38), ("S3", 1, 300_000_000, 3_000, 0.0), ("F1", 1, 8_000, 6_000, 75.0)];
    for (tier, units, all, used, percent) in sizes {
        let answer = set(json!({ "tier": tier, "units": units })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        let quota = show().await["quota"].clone();
        assert_eq!(
            (quota["tier"].as_str(), quota["units"].as_u64(), quota["messages_per_day"].as_u64()),
            (Some(tier), Some(units), Some(all))
        );
        assert_eq!((quota["used"].as_u64(), quota["used_percent"].as_f64()), (Some(used), Some(percent)), "{tier}");
        assert!(quota["forecast_percent"].as_f64().unwrap() >= percent, "{quota}");
    }
    integration(&rig, "other", &[]).await;
    let larger = rig.ask(Method::PATCH, "/api/v1/integrations/other", Some(json!({ "tier": "S2" }))).await;
    assert_eq!(larger.status, StatusCode::OK);
    assert_eq!(show().await["quota"]["tier"], "F1");
    assert_eq!(set(json!({ "tier": "" })).await.status, StatusCode::OK);
    assert_eq!(show().await["quota"]["tier"], "S2");
    rig.stop().await;
}

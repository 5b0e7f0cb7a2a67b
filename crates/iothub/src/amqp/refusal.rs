use hubward_amqp::performative::Error;
use hubward_amqp::types::Value;

use crate::fault::HubRefusal;

/// What an AMQP error says, in the library's words. None: the hub gave no reason.
pub(crate) fn refusal(error: Option<&Error>) -> HubRefusal {
    let Some(error) = error else { return HubRefusal::new("", "the hub gave no reason") };
    let description = error.description.as_deref().unwrap_or_default();
    let tracking = error.info("com.microsoft:tracking-id").or_else(|| error.info("trackingId"));
    let tracking_id = tracking.and_then(Value::as_str).map(str::to_owned).or_else(|| tracking_in(description));
    HubRefusal { tracking_id, ..HubRefusal::new(error.condition.as_str(), description) }
}

/// Newer descriptions are JSON with a tracking id.
fn tracking_in(description: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(description).ok()?;
    json.get("trackingId")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use hubward_amqp::performative::condition;
    use hubward_amqp::types::Symbol;

    use super::*;
    use crate::fault::Advice;

    #[test]
    fn the_tracking_id_is_found_in_the_info_and_in_json() {
        let info = vec![(Symbol::from_static("com.microsoft:tracking-id"), "T1".into())];
        let error = Error::new(condition::NOT_FOUND, "gone").with_info(info);
        assert_eq!(refusal(Some(&error)).tracking_id.as_deref(), Some("T1"));
        assert_eq!(refusal(Some(&error)).advice(), Advice::CheckIdentity);

        let json = r#"{"errorCode":429001,"trackingId":"T2","message":"slow down"}"#;
        let error = Error::new(condition::RESOURCE_LIMIT_EXCEEDED, json);
        assert_eq!(refusal(Some(&error)).tracking_id.as_deref(), Some("T2"));
        assert_eq!(refusal(Some(&error)).advice(), Advice::Wait);
    }
}

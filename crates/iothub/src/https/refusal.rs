use crate::fault::HubRefusal;
use crate::link::{Closed, SendError};
use crate::registry::{Refused, RegistryError};

/// What a refused or failed request means for its messages.
pub(super) fn send_error(error: RegistryError) -> SendError {
    match error {
        RegistryError::Refused(refused) => SendError::Refused(refusal(*refused)),
        RegistryError::Nonsense { status, reason, .. } => {
            SendError::Refused(HubRefusal::new(format!("http:{status}"), reason))
        }
        // It may have been on its way: whether the hub has it is unknown.
        RegistryError::Silent { .. } => SendError::NoDisposition,
        failed => SendError::ConnectionLost(Closed::Network(failed.to_string())),
    }
}

/// A refusal in the words of the others: the status as its condition, IoT Hub's number or name before its words.
fn refusal(refused: Refused) -> HubRefusal {
    let Refused { status, number, name, message, tracking_id, retry_after, .. } = refused;
    let description = match (number, name) {
        (Some(number), _) => format!("errorCode:{number};{message}"),
        (None, Some(name)) => format!("ErrorCode:{name};{message}"),
        (None, None) => message,
    };
    HubRefusal { tracking_id, retry_after, ..HubRefusal::new(format!("http:{status}"), description) }
}

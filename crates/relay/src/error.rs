//! What can go wrong with an order to the relay.

use hubward_model::Problem;

/// An order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] hubward_registry::Error),
    /// The journal did not take the test message.
    #[error("the journal did not take the record: {0}")]
    Append(#[from] hubward_journal::AppendError),
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Read(#[from] hubward_journal::ReadError),
    /// A hold file cannot be read.
    #[error("a hold file cannot be read: {0}")]
    Hold(#[from] hubward_journal::HoldError),
    /// The integration is paused, being created or being removed.
    #[error("the integration {name} is {state}: it sends nothing now")]
    NotRunning {
        /// Its name.
        name: String,
        /// Its state.
        state: hubward_model::IntegrationState,
    },
    /// The device is not in the integration.
    #[error("the device {device} is not in the integration {integration}")]
    NotBound {
        /// The integration's name.
        integration: String,
        /// The device.
        device: String,
    },
    /// The relay is stopping.
    #[error("the relay is stopping")]
    Stopping,
}

impl RelayError {
    /// The same for API and CLI.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Registry(error) => error.problem(),
            Self::Append(_) | Self::Read(_) | Self::Hold(_) => {
                Problem::new("journal_unavailable", text, "see `hubward journal info`, then try again")
            }
            Self::NotRunning { name, .. } => {
                Problem::new("not_running", text, format!("resume it first: hubward integration resume {name}"))
            }
            Self::NotBound { .. } => {
                Problem::new("not_bound", text, "add it with hubward integration edit NAME --add-device DEVICE")
                    .with_field("device")
            }
            Self::Stopping => Problem::new("stopping", text, "try again when the server runs again"),
        }
    }
}

/// The relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The registry failed.
    #[error("the registry failed: {0}")]
    Registry(#[from] hubward_registry::Error),
}

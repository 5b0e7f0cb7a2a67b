//! What Hubward knows, in one SQLite database: devices and their credentials, integrations, bindings, the relay's
//! progress, dead letters, what is still to be deleted at hubs, users, API tokens and the audit log.
//!
//! [`Registry`] is a cheap handle; its methods are grouped by file, each of which also defines what it takes and gives.
//! When a method that writes answers `Ok`, the change is on disk (one write transaction, synced). Logins are judged
//! from memory ([`logins`]), so that thousands of devices may connect at once.
//!
//! It knows nothing of HTTP, MQTT packets or Azure's wire, talks to no hub, and keeps no secret in clear: device
//! secrets and tokens as SHA-256, passwords as argon2id, everything that must be read again sealed ([`seal`]).
//!
//! In reading order:
//! - [`store`]: opening, migrations, the one writer and the few readers;
//! - [`key`]: the master key, beside the data folder, never in it;
//! - [`seal`]: sealing and opening secrets; [`rotate`]: new keys for all of them;
//! - [`error`]: what callers may branch on;
//! - [`devices`], [`logins`]: devices, their credentials, and who may connect;
//! - [`integrations`], [`bindings`], [`identities`]: destinations, the devices in them, what was made at the hub;
//! - [`progress`], [`dead_letters`]: what the relay must not forget;
//! - [`directory`]: devices and bindings by the page; [`observed`], [`connections`], [`milestones`]: what devices did;
//! - [`drafts`]: wizards that were begun; [`usage`]: what hubs accepted today;
//! - [`users`], [`sessions`], [`setup`], [`tokens`]: people, their logins, the first of them, and scripts;
//! - [`alarms`], [`webhook`], [`silence`]: what needs somebody's eye, who is told, and when a device is silent;
//! - [`expired`]: signals that a limit cost;
//! - [`audit`], [`idempotency`]: what they did, and what they were answered.

pub mod alarms;
pub mod audit;
pub mod bindings;
pub mod connections;
pub mod dead_letters;
pub mod devices;
pub mod directory;
pub mod drafts;
pub mod error;
pub mod expired;
pub mod heals;
pub mod idempotency;
pub mod identities;
pub mod integrations;
pub mod key;
pub mod logins;
pub mod milestones;
pub mod observed;
pub mod progress;
pub mod rotate;
pub mod seal;
pub mod sessions;
pub mod setup;
pub mod silence;
pub mod store;
pub mod tokens;
pub mod usage;
pub mod users;
pub mod webhook;

mod caps;
mod password;
mod random;
mod row;

pub use alarms::{
    Alarm, AlarmChange, AlarmCounts, AlarmEvent, AlarmFilter, AlarmKey, AlarmKind, RaisedAlarm, UnknownKind,
};
pub use audit::{Actor, AuditEntry, AuditFilter};
pub use bindings::{Binding, BindingChange, HubSide, Keys, NewBinding, Removed};
pub use caps::{MAX_INTEGRATIONS, MAX_TOKENS, MAX_USERS};
pub use connections::{Connection, ConnectionChange, Ended};
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetterGroup, NewDeadLetter};
pub use devices::{Activity, Device, NewCredential, NewDevice, WithSecret};
pub use directory::{BindingCount, BindingsPage, Card};
pub use drafts::{Draft, DraftLogin};
pub use error::{Error, OpenError};
pub use expired::{Expired, ExpiredTotal, NewExpired};
pub use heals::{ActiveBinding, Heal};
pub use idempotency::Remembered;
pub use identities::{MadeIdentity, PendingDeletion};
pub use integrations::{Edit, Integration, NewIntegration, Removal, Settings};
pub use key::{KeySource, default_key_file};
pub use logins::{LoginAttempt, LoginDevice, LoginRefused, Verified};
pub use milestones::{Milestone, Reached};
pub use observed::{Observed, Series, SeriesSeen, Told, Traffic, TrafficSeen};
pub use progress::{Held, Lane, Progress, ProgressUpdate, Saved};
pub use rotate::Rotated;
pub use seal::SealError;
pub use secrecy::{ExposeSecret, SecretString};
pub use sessions::{Session, SessionLimits};
pub use silence::Silence;
pub use store::{KeyInfo, Registry};
pub use tokens::ApiToken;
pub use usage::HubUsage;
pub use users::{Role, User};
pub use webhook::{Notice, Webhook, WebhookSecrets};

#[cfg(test)]
mod testing;

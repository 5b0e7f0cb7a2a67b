//! Whose messages must wait. The broker asks; the user of this crate answers.

use futures_util::future::BoxFuture;
use hubward_model::DeviceId;

/// Knows who has more waiting than may be. Signals of those are not read on until they may publish again, for as long as
/// a full journal would make them wait; then they fare as at a full journal.
pub trait Admission: Send + Sync + 'static {
    /// Whether signals of this device are taken now; from memory, because it is asked for every one of them.
    fn may_publish(&self, device: &DeviceId) -> bool;

    /// Resolves when they are.
    fn admitted<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, ()>;
}

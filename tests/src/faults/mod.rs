//! The kit of the fault suite: devices that send while something goes wrong, and what may be found at the hub afterwards.
//!
//! A seed repeats the inputs and the faults of a run, not how they interleave. In reading order:
//!
//! - [`dice`]: which seeds are run, and what a seed decides;
//! - [`scene`]: a server, a hub, proxies between them, and devices that send, ready to be broken;
//! - [`story`]: what every device sent and what was acknowledged;
//! - [`sender`]: a device that sends through everything;
//! - [`disk`]: the server's disk: small, failing, damaged;
//! - [`findings`]: what is at the hub, and what Hubward gave up;
//! - [`verdict`]: whether both fit together.

pub mod dice;
pub mod disk;
pub mod findings;
pub mod scene;
pub mod sender;
pub mod story;
pub mod verdict;

pub use dice::{Dice, for_each_seed};
pub use scene::{Scene, Setting};
pub use story::Story;
pub use verdict::{Allowed, Violation, judge};

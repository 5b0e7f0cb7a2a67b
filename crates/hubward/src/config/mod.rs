//! Settings of the server: defaults, then the file, then the environment, then flags; each with where it came from.
//!
//! - [`keys`]: the table of all settings: this is the reference;
//! - [`layers`]: which layer says what, unknown keys refused;
//! - [`settings`]: the typed settings the server is started with.

pub mod keys;
pub mod layers;
pub mod settings;

pub use layers::{ConfigError, Flag, Layers, Origin};
pub use settings::{Address, Settings};

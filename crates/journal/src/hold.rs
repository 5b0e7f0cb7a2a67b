//! Hold files.

/// Hold files that are open.
#[derive(Default)]
pub(crate) struct Holds;

impl Holds {
    pub(crate) fn close(&self) {}
}

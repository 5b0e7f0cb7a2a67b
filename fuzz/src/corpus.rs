//! The kept corpus: `fuzz/corpus/<target>/*`, small inputs that once mattered.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the inputs of a target lie.
#[must_use]
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Reads the inputs of a target, in a stable order.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn read(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder(target);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).with_context(|| format!("read {}", path.display()))).collect()
}

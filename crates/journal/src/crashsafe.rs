//! Small files that are either wholly the old or wholly the new text after a crash.

use std::io;
use std::path::Path;

use crate::files::Files;

/// Writes `bytes` to `path` so that a crash leaves either the old or the new content: write beside, sync, rename, sync
/// the folder. When it returns, the new content is durable.
pub(crate) fn write_file(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let file = files.create(&beside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    drop(file);
    files.rename(&beside, path)?;
    match path.parent() {
        Some(dir) => files.sync_dir(dir),
        None => Ok(()),
    }
}

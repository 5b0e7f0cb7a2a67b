//! The server's disk: one that is small and fills up, one whose syncs fail, and files that are torn or damaged at rest.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::Surroundings;
use crate::server::Server;

/// Length of a segment's header, and of what stands before the part of a frame that its length counts.
const HEADER: usize = 64;
const LENGTH_AND_CRC: usize = 8;

/// Mounts a file system in memory over the data folder, seen by this process alone, and becomes the server.
const MOUNT: &str = r#"mkdir -p "$0" && mount -t tmpfs -o "size=$SMALL_DISK,mode=700" tmpfs "$0" && exec "$@""#;

/// A disk of so many bytes for the data folder of a server. It is gone with the process. An error says why this machine
/// does not allow it.
///
/// # Errors
/// Neither root nor a user namespace may mount here.
pub fn small(bytes: u64) -> Result<Surroundings> {
    let trial = tempfile::tempdir().context("make a folder")?;
    let mut why = String::new();
    for unshare in [["unshare", "-m"], ["unshare", "-Urm"]] {
        let mut before: Vec<String> = unshare.map(str::to_owned).to_vec();
        before.extend(["sh", "-c", MOUNT].map(str::to_owned));
        let mut tried = Command::new(&before[0]);
        tried.args(&before[1..]).arg(trial.path()).arg("true").env("SMALL_DISK", "1m");
        match tried.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                before.push("{data}".to_owned());
                return Ok(Surroundings { before, variables: vec![("SMALL_DISK".into(), bytes.to_string())] });
            }
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    bail!("a disk of its own cannot be mounted here: {why}")
}

/// Something that takes all the room of a server's small disk, until it is dropped.
pub struct Filler(PathBuf);

impl Filler {
    /// Takes all there is.
    ///
    /// # Errors
    /// The server's file systems cannot be reached from here.
    pub fn fill(server: &Server) -> Result<Self> {
        let pid = server.pid().context("the server runs")?;
        let data = server.data();
        let inside = data.strip_prefix("/").context("the data folder's path is absolute")?;
        let filler = Self(Path::new("/proc").join(pid.to_string()).join("root").join(inside).join("filler"));
        filler.take_the_rest()?;
        Ok(filler)
    }

    /// Takes what became free again: a server without room gives up what it can do without.
    ///
    /// # Errors
    /// The server's file systems cannot be reached from here.
    pub fn take_the_rest(&self) -> Result<()> {
        let file = File::options().create(true).append(true).open(&self.0);
        let mut file = file.with_context(|| format!("open {}", self.0.display()))?;
        // Large pieces first, so that not a byte is left.
        for size in [1 << 16, 1 << 10, 1] {
            loop {
                match file.write_all(&vec![1; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill the disk"),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // With the server its disk is gone.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A disk that loses what is written to a server's journal, and says so when it is to be synced.
pub struct FailingSyncs {
    folder: TempDir,
}

impl FailingSyncs {
    /// Makes what a server is to be started with. An error says why this machine does not allow it.
    ///
    /// # Errors
    /// There is no C compiler, or no way to load anything before the C library.
    pub fn new() -> Result<Self> {
        ensure!(cfg!(all(target_os = "linux", target_env = "gnu")), "syncs are made to fail with glibc on Linux alone");
        let folder = tempfile::tempdir().context("make a folder")?;
        let source = folder.path().join("failing_syncs.c");
        std::fs::write(&source, include_str!("failing_syncs.c")).context("write the source")?;
        let library = folder.path().join("failing_syncs.so");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").output();
        let compiled = compiled.context("there is no C compiler")?;
        ensure!(compiled.status.success(), "it does not compile: {}", String::from_utf8_lossy(&compiled.stderr));
        Ok(Self { folder })
    }

    /// What the server is to be started with.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        let text = |name: &str| self.folder.path().join(name).display().to_string();
        let variables = [
            ("LD_PRELOAD", text("failing_syncs.so")),
            ("FAILING_SYNCS_OF", "{data}/journal/".to_owned()),
            ("FAILING_SYNCS_WHILE", text("now")),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Surroundings { before: Vec::new(), variables }
    }

    /// From now on (`true`), or no more (`false`).
    ///
    /// # Errors
    /// The file that says so cannot be made.
    pub fn fail(&self, fail: bool) -> Result<()> {
        let file = self.folder.path().join("now");
        if fail { File::create(file).map(drop) } else { std::fs::remove_file(file) }.context("say that syncs fail")
    }
}

/// The segments of the journal of a server, the oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn segments(server: &Server) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(server.data().join("journal")).context("read the journal's folder")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "segment") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Turns over some bits of the first place where `text` stands in a file; answers whether it stands there.
///
/// # Errors
/// The file cannot be read or written.
pub fn damage(path: &Path, text: &[u8]) -> Result<bool> {
    let content = std::fs::read(path).context("read the segment")?;
    let Some(at) = content.windows(text.len()).position(|window| window == text) else { return Ok(false) };
    let file = File::options().write(true).open(path).context("open the segment")?;
    file.write_all_at(&[content[at] ^ 0x40], at as u64).context("damage the segment")?;
    Ok(true)
}

/// Leaves half a frame behind the last whole one, as a power cut in the middle of a write does. It stands in the newest
/// segment with frames: a file made ahead of the next one may follow.
///
/// # Errors
/// The files cannot be read or written, or hold no frame.
pub fn tear(server: &Server) -> Result<()> {
    for path in segments(server)?.iter().rev() {
        let content = std::fs::read(path).context("read a segment")?;
        let Some((at, end)) = frames(&content).last() else { continue };
        let half = &content[at..at + (end - at) / 2];
        let file = File::options().write(true).open(path).context("open the newest segment with frames")?;
        return file.write_all_at(half, end as u64).context("tear its tail");
    }
    bail!("no segment holds a frame")
}

/// Where the frames of a segment begin and end, up to room that was written ahead.
fn frames(segment: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(segment.get(at..at + 4)?.try_into().ok()?) as usize;
        let end = at + (LENGTH_AND_CRC + length).next_multiple_of(8);
        let frame = (length > 0 && end <= segment.len()).then_some((at, end));
        at = end;
        frame
    })
}

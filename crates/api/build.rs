//! Puts the built web console into the library, compressed.
//!
//! Only files that are there already: the build of the console needs Node and is `make console`. Without them everything
//! else works, and the start page says how to add them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

/// What compression may leave of a file to be worth a second copy of it.
const WORTH: f64 = 0.9;

fn main() -> io::Result<()> {
    let dist = PathBuf::from("../../console/dist");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", dist.display());
    let out =
        PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo did not say where to write"))?);
    let mut files = Vec::new();
    list(&dist, "", &mut files)?;
    files.sort();
    if !files.iter().any(|path| path == "index.html") {
        files.clear();
        println!(
            "cargo:warning=the web console is not built in: run make console (needs Node 20 or newer), then build again; \
             everything else works without it"
        );
    }
    let packed = out.join("console");
    fs::create_dir_all(&packed)?;
    let mut table = String::from("&[\n");
    for (index, path) in files.iter().enumerate() {
        let file = fs::canonicalize(dist.join(path))?;
        println!("cargo:rerun-if-changed={}", file.display());
        let raw = fs::read(&file)?;
        // The page itself gets a nonce each time it is asked for, so it is never compressed ahead.
        let gzip = if path == "index.html" { None } else { compressed(&raw)? };
        let gzip = match gzip {
            Some(bytes) => {
                let name = packed.join(format!("{index}.gz"));
                fs::write(&name, bytes)?;
                format!("Some(include_bytes!({:?}))", name.display().to_string())
            }
            None => "None".to_owned(),
        };
        let raw = file.display().to_string();
        let mime = mime(path);
        writeln!(table, "    File {{ path: {path:?}, mime: {mime:?}, raw: include_bytes!({raw:?}), gzip: {gzip} }},")
            .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(out.join("console_files.rs"), table)
}

/// All files under `folder`, as paths with slashes; hidden ones are none of the console's.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else {
            files.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// The bytes as gzip, if that is worth it.
fn compressed(raw: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(raw)?;
    let packed = encoder.finish()?;
    #[allow(clippy::cast_precision_loss, reason = "files of a few hundred KB")]
    let worth = (packed.len() as f64) < WORTH * raw.len() as f64;
    Ok(worth.then_some(packed))
}

fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

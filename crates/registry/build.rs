//! Embeds the migrations: a new file among them is part of the crate at its next build.
//!
//! sqlx has a macro for it, which would build all of sqlx and SQLite a second time, for the compiler.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("migrations");
    let mut files: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut list = String::from("[\n");
    for file in files {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (version, name) = stem.split_once('_').ok_or_else(|| format!("{stem}: a migration is NUMBER_NAME.sql"))?;
        let version: i64 = version.parse().map_err(|_| format!("{stem}: a migration begins with its number"))?;
        // Relative to the package, so that what was built stays true where the repository is moved to.
        let file = format!("/migrations/{stem}.sql");
        let text = format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))");
        writeln!(list, "    ({version}, {:?}, {text}),", name.replace('_', " "))?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), list)?;
    Ok(())
}

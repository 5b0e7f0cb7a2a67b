//! The layout that ARCHITECTURE.md draws is the one the manifests and sources have.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The table's rows, in order: crate, and what of ours it may import.
fn table() -> Vec<(String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
            let number = cells.first()?.parse::<usize>();
            if cells.len() != 5 || number.is_err() {
                return None;
            }
            let name = cells[1].trim_matches('`').to_owned();
            let imports = cells[3].split_whitespace().filter(|word| *word != "-").map(str::to_owned).collect();
            Some((name, imports))
        })
        .collect();
    assert_eq!(rows.len(), 12, "the table of ARCHITECTURE.md has a row for each crate");
    rows
}

fn package(name: &str) -> String {
    if name == "hubward" { name.to_owned() } else { format!("hubward-{name}") }
}

/// Normal and build dependencies of each of our crates on ours, by folder name.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut imports = BTreeMap::new();
    for found in metadata["packages"].as_array().unwrap() {
        let folder = Path::new(found["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        if !folder.parent().unwrap().ends_with("crates") {
            continue;
        }
        let folder = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(found["name"].as_str().unwrap(), package(&folder), "a folder's package has its name");
        let ours = found["dependencies"].as_array().unwrap().iter();
        let ours = ours.filter(|d| d["kind"].as_str() != Some("dev")).filter_map(|d| {
            let name = d["name"].as_str().unwrap();
            if name == "hubward" { Some(name) } else { name.strip_prefix("hubward-") }
        });
        imports.insert(folder, ours.map(str::to_owned).collect());
    }
    imports
}

#[test]
fn every_crate_imports_only_what_its_row_names() {
    let imports = imports();
    let rows = table();
    let named: BTreeSet<&String> = rows.iter().map(|(name, _)| name).collect();
    assert_eq!(named, imports.keys().collect(), "table and crates/ name the same crates");
    for (name, allowed) in &rows {
        let beyond: Vec<_> = imports[name].difference(allowed).collect();
        assert!(beyond.is_empty(), "{name} imports {beyond:?}, which its row in ARCHITECTURE.md does not name");
    }
}

#[test]
fn every_named_crate_stands_in_a_higher_row() {
    let rows = table();
    for (place, (name, allowed)) in rows.iter().enumerate() {
        let above: BTreeSet<_> = rows[..place].iter().map(|(name, _)| name.clone()).collect();
        let below: Vec<_> = allowed.difference(&above).collect();
        assert!(below.is_empty(), "{name} names {below:?}, which stand no higher");
    }
}

#[test]
fn the_local_hub_uses_only_connection_string_types_of_iothub() {
    let mut files = vec![root().join("crates/local-hub/src")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains("hubward_iothub::")) {
            let uses = line.split("hubward_iothub::").skip(1);
            for used in uses {
                assert!(
                    used.starts_with("connection_string"),
                    "{}:{}: the local hub verifies with its own code, not with the client's: {line}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn crates_that_must_open_no_socket_do_not_name_one() {
    for name in ["mqtt", "amqp", "model"] {
        let mut files = vec![root().join("crates").join(name).join("src")];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "tokio::net"] {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn every_path_that_architecture_names_exists() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut named = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let path = quoted.split("::").next().unwrap();
        let is_path = ["crates/", "tests/", "bench/", "fuzz/", "docs/", "scripts/"].iter().any(|p| path.starts_with(p));
        if is_path && !path.contains('<') {
            named += 1;
            assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
        }
    }
    assert!(named > 0, "ARCHITECTURE.md names files");
}

/// All Rust and Python sources, tests among them.
fn sources() -> String {
    let mut sources = String::new();
    let mut folders = vec![root().join("crates"), root().join("tests")];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "rs" || end == "py") {
            sources.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
    sources
}

/// Fails unless `row` names tests, all of which are in `sources`.
fn assert_tests_exist(row: &str, sources: &str) {
    let tests: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
    assert!(!tests.is_empty(), "no test holds: {row}");
    for test in tests {
        let defined = [format!("fn {test}("), format!("def {test}(")];
        assert!(defined.iter().any(|text| sources.contains(text)), "there is no test {test}");
    }
}

#[test]
fn every_test_that_holds_an_invariant_exists() {
    let sources = sources();
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("## Invariants").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")).collect();
    assert_eq!(rows.len(), 11, "every invariant has a row");
    for row in rows {
        assert_tests_exist(row, &sources);
    }
}

#[test]
fn every_fault_of_the_documentation_is_linked_to_a_test_that_exists() {
    let sources = sources();
    let text = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what breaks"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "docs/faults.md has rows");
    for row in rows {
        assert_eq!(row.len(), 5, "what breaks, what you see, what Hubward does, what you do, test: {row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        assert_tests_exist(row[4], &sources);
    }
}

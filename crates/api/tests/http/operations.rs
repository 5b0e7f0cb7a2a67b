//! What an operator reads is what the code does: the table of figures, the table of alarms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hubward_api::metrics::{Kind, LABELS, METRICS};
use hubward_broker::DropReason;
use hubward_registry::AlarmKind;

/// The sources of all crates, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                sources.push((path, code));
            }
        }
    }
    sources
}

/// What code says that records a figure; the last one shows what somebody has counted.
const RECORDS: [(&str, Kind); 4] = [
    ("counter!(", Kind::Counter),
    ("gauge!(", Kind::Gauge),
    ("histogram!(", Kind::Histogram),
    ("    counted_histogram(", Kind::Histogram),
];

/// Every figure that the code records: its kind and its labels, by name.
fn recorded() -> BTreeMap<String, (Kind, BTreeSet<String>)> {
    let mut found: BTreeMap<String, (Kind, BTreeSet<String>)> = BTreeMap::new();
    for (path, text) in sources() {
        for (word, kind) in RECORDS {
            for (at, _) in text.match_indices(word) {
                let before = text[..at].chars().next_back().unwrap_or(' ');
                if before == '_' || before.is_alphanumeric() {
                    continue;
                }
                let inside = arguments(&text[at + word.len()..]);
                let name = inside.split('"').nth(1).unwrap_or_default().to_owned();
                let place = path.display();
                assert!(
                    inside.trim_start().starts_with('"'),
                    "{place}: a figure without a name that can be read: {inside}"
                );
                let labels = inside.split(" => ").map(|part| part.rsplit('"').nth(1).unwrap_or_default().to_owned());
                let count = inside.matches(" => ").count();
                let labels: BTreeSet<String> = labels.take(count).collect();
                let known = found.entry(name.clone()).or_insert_with(|| (kind, labels.clone()));
                assert_eq!(*known, (kind, labels), "{place}: {name} is something else elsewhere");
            }
        }
    }
    found
}

/// The text up to the parenthesis that ends it.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

#[test]
fn every_figure_that_is_recorded_stands_in_the_table_with_its_kind_and_labels_and_no_other() {
    let recorded = recorded();
    let table: BTreeMap<String, (Kind, BTreeSet<String>)> = METRICS
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            (metric.name.to_owned(), (metric.kind, labels))
        })
        .collect();
    assert_eq!(table.len(), METRICS.len(), "a name stands twice in the table");
    let names = |map: &BTreeMap<String, (Kind, BTreeSet<String>)>| map.keys().cloned().collect::<BTreeSet<_>>();
    let missing: Vec<String> = names(&recorded).difference(&names(&table)).cloned().collect();
    assert!(missing.is_empty(), "not in crates/api/src/metrics.rs: {missing:?}");
    let unused: Vec<String> = names(&table).difference(&names(&recorded)).cloned().collect();
    assert!(unused.is_empty(), "nobody records: {unused:?}");
    assert_eq!(table, recorded);
}

#[test]
fn names_end_as_prometheus_wants_them_and_no_label_is_unbounded() {
    for metric in METRICS {
        let name = metric.name;
        assert!(name.starts_with("hubward_"), "{name}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        if metric.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name} has no unit");
        }
        assert!(metric.labels.iter().all(|label| LABELS.contains(label)), "{name}: {:?}", metric.labels);
        assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
    }
}

/// The first cells of the rows of a table, from its heading on.
fn rows(document: &str, heading: &str, cells: usize) -> Vec<Vec<String>> {
    let section = document.split(heading).nth(1).unwrap_or_else(|| panic!("no section {heading:?}"));
    let rows = section.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').skip(1).take(cells).map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

fn operations() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_document_lists_every_figure_with_its_kind_labels_and_meaning() {
    let wanted: Vec<Vec<String>> = METRICS
        .iter()
        .map(|metric| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            vec![metric.name.to_owned(), kind, metric.labels.join(", "), metric.help.to_owned()]
        })
        .collect();
    let found = rows(&operations(), "\n## Metrics\n", 4);
    for row in &wanted {
        assert!(
            found.contains(row),
            "docs/operations.md lacks | `{}` | {} | {} | {} |",
            row[0],
            row[1],
            row[2],
            row[3]
        );
    }
    assert_eq!(found, wanted, "the document has another order, or more");
}

#[test]
fn the_document_lists_every_kind_of_alarm_with_what_to_do() {
    let found = rows(&operations(), "\n## Alarms\n", 4);
    let wanted: Vec<(&str, &str)> = AlarmKind::ALL.iter().map(|kind| (kind.as_str(), kind.title())).collect();
    let named: Vec<(&str, &str)> = found.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(named, wanted);
    for row in &found {
        assert!(row[2].len() > 10 && row[3].len() > 10, "{}: say what it means and what to do", row[0]);
    }
    for kind in AlarmKind::ALL {
        let row = found.iter().find(|row| row[0] == kind.as_str()).unwrap();
        assert_eq!(row[2].ends_with("(ends when acknowledged)"), kind.is_event(), "{kind}");
    }
}

#[test]
fn the_document_lists_every_reason_for_a_drop_in_the_words_of_the_console() {
    let found = rows(&operations(), "\n## Dropped messages\n", 3);
    let words = |reason: &DropReason| [reason.as_str(), reason.what(), reason.remedy()].map(str::to_owned).to_vec();
    assert_eq!(found, DropReason::ALL.iter().map(words).collect::<Vec<_>>());
}

//! Torn tails, bad bytes, lost files, foreign and newer ones.

use std::path::Path;

use bytes::Bytes;
use hubward_journal::testing::FaultyFiles;
use hubward_journal::{Chunk, Damage, Journal, OpenError, Options, ReadError};
use hubward_model::Offset;

use crate::kit::{DIR, Stepped, chunks, device, find, options, payloads, records, segments};

/// Everything in one segment, nothing in memory.
fn one_segment() -> Options {
    Options { segment_bytes: 1 << 20, cache_bytes: 0, ..options() }
}

/// Ten records in commits of their own: `record 0` to `record 9`.
fn ten(options: Options, files: &FaultyFiles) -> Stepped {
    let mut run = Stepped::open(options, files);
    for number in 0..10 {
        run.commit(format!("record {number}"));
    }
    run
}

fn texts(chunks: &[Chunk]) -> Vec<String> {
    let mut texts = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Records(records) => {
                texts.extend(records.iter().map(|record| String::from_utf8(record.message.payload.to_vec()).unwrap()))
            }
            Chunk::Gap { from, to } => texts.push(format!("gap {from}..{to}")),
        }
    }
    texts
}

#[test]
fn a_torn_tail_is_cut_and_counted() {
    let files = FaultyFiles::new();
    drop(ten(one_segment(), &files));
    files.crash(0);
    let segment = segments(&files)[0].clone();
    // The last record was half written.
    let at = find(&files, &segment, b"record 9");
    files.damage(&segment, at, 1).unwrap();
    let run = Stepped::open(one_segment(), &files);
    assert_eq!(payloads(&run.journal).len(), 9);
    assert_eq!(run.journal.durable(), Offset::from_raw(10));
    let info = run.journal.info();
    assert!(info.cut_bytes > 0 && info.damaged_gaps == 0);
    assert_eq!(find(&files, &segment, b"record 8") + 8, files.read(&segment).unwrap().len());
}

#[tokio::test]
async fn bad_bytes_in_what_was_durable_are_an_explicit_gap_and_all_others_are_read() {
    for after_crash in [false, true] {
        let files = FaultyFiles::new();
        let mut run = Some(ten(one_segment(), &files));
        let segment = segments(&files)[0].clone();
        if after_crash {
            run = None;
            files.crash(0);
        }
        for text in ["record 4", "record 5"] {
            files.damage(&segment, find(&files, &segment, text.as_bytes()), 0x40).unwrap();
        }
        // A length that leads nowhere.
        let at = find(&files, &segment, b"record 7");
        let start = (0..at).rev().find(|at| at % 8 == 0 && files.read(&segment).unwrap()[at + 11] == 0xA7).unwrap();
        files.damage(&segment, start + 1, 0x70).unwrap();
        let run = run.unwrap_or_else(|| Stepped::open(one_segment(), &files));
        let read = chunks(&run.journal, Offset::START);
        let expected = [
            "record 0", "record 1", "record 2", "record 3", "gap 5..7", "record 6", "gap 8..9", "record 8", "record 9",
        ];
        assert_eq!(texts(&read), expected);
        assert_eq!(
            texts(&chunks(&run.journal, Offset::from_raw(6))),
            expected[4..].iter().map(|text| text.replace("5..7", "6..7")).collect::<Vec<_>>()
        );
        assert_eq!(run.journal.info().damaged_gaps, 2, "each is counted once");
        let report = run.journal.verify().await.unwrap();
        assert!(!report.good);
        let gap = |from, to| Damage { from: Offset::from_raw(from), to: Offset::from_raw(to) };
        assert_eq!(report.segments[0].damage, [gap(5, 7), gap(8, 9)]);
        assert_eq!(report.records, 7);
    }
}

#[tokio::test]
async fn a_device_keeps_the_history_before_a_damaged_segment() {
    let files = FaultyFiles::new();
    let small = Options { cache_bytes: 0, ..options() };
    let mut run = Stepped::open(small.clone(), &files);
    for number in 0..12 {
        run.commit(format!("{number:1000}"));
    }
    run.close();
    // In the middle one all is lost.
    let middle = segments(&files)[2].clone();
    for at in 64..files.read(&middle).unwrap().len() {
        files.damage(&middle, at, 0xff).unwrap();
    }
    let run = Stepped::open(small, &files);
    let found = run.journal.recent(&device("d"), 100).await.unwrap();
    let numbers: Vec<String> =
        found.iter().map(|record| String::from_utf8_lossy(&record.message.payload).trim().to_owned()).collect();
    assert_eq!(numbers, ["11", "10", "9", "5", "4", "3", "2", "1", "0"]);
}

#[test]
fn a_segment_without_its_header_is_still_read() {
    let files = FaultyFiles::new();
    ten(options(), &files).close();
    files.damage(&segments(&files)[0], 3, 0xff).unwrap();
    let run = Stepped::open(options(), &files);
    assert_eq!(payloads(&run.journal).len(), 10);
}

#[test]
fn lost_and_bad_indexes_are_derived_again() {
    for lost in [false, true] {
        let files = FaultyFiles::new();
        let mut run = Stepped::open(options(), &files);
        for _ in 0..20 {
            run.commit(vec![1; 1000]);
        }
        run.close();
        let before = files.paths();
        let copy = FaultyFiles::new();
        for path in &before {
            let is_index = path.extension().is_some_and(|extension| extension == "index");
            if !(is_index && lost) {
                copy.put(path, &files.read(path).unwrap());
            }
            if is_index && !lost {
                copy.damage(path, 20, 1).unwrap();
            }
        }
        let run = Stepped::open(Options { cache_bytes: 0, ..options() }, &copy);
        assert_eq!(records(&run.journal).len(), 20);
        assert_eq!(texts(&chunks(&run.journal, Offset::from_raw(13))).len(), 8);
        run.close();
        assert_eq!(copy.paths(), before);
    }
}

#[test]
fn a_missing_segment_is_a_gap() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    for _ in 0..9 {
        run.commit(vec![1; 1000]);
    }
    run.close();
    let missing = segments(&files)[1].clone();
    let copy = FaultyFiles::new();
    for path in files.paths() {
        if path.file_stem() != missing.file_stem() {
            copy.put(&path, &files.read(&path).unwrap());
        }
    }
    let run = Stepped::open(options(), &copy);
    let gaps: Vec<_> =
        chunks(&run.journal, Offset::START).into_iter().filter(|c| matches!(c, Chunk::Gap { .. })).collect();
    assert_eq!(gaps, [Chunk::Gap { from: Offset::from_raw(4), to: Offset::from_raw(7) }]);
}

#[test]
fn a_lost_identity_is_taken_from_the_segments() {
    let files = FaultyFiles::new();
    let run = ten(options(), &files);
    let (id, epoch) = (run.journal.id().clone(), run.journal.epoch());
    run.close();
    files.put(&Path::new(DIR).join("journal"), b"rubbish");
    let run = Stepped::open(options(), &files);
    assert_eq!(*run.journal.id(), id);
    assert!(run.journal.epoch() > epoch);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let files = FaultyFiles::new();
    ten(options(), &files).close();
    let segment = segments(&files)[0].clone();
    let mut content = files.read(&segment).unwrap();
    content[8] = 7;
    let crc = crc32c::crc32c(&content[..60]);
    content[60..64].copy_from_slice(&crc.to_le_bytes());
    files.put(&segment, &content);
    let Err(error) = Journal::open(options(), files.shared()) else { panic!("opened") };
    assert!(matches!(error, OpenError::NewerFormat { found: 7, known: 1, .. }));
    assert!(error.to_string().contains("0000000001.segment has format 7"), "{error}");
}

#[test]
fn a_segment_of_another_journal_is_refused_by_name() {
    let files = FaultyFiles::new();
    ten(options(), &files).close();
    let other = FaultyFiles::new();
    ten(options(), &other).close();
    files.put(&Path::new(DIR).join("0000000009.segment"), &other.read(&segments(&other)[0]).unwrap());
    let Err(error) = Journal::open(options(), files.shared()) else { panic!("opened") };
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn frames_inside_a_payload_are_no_records_even_after_damage() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(one_segment(), &files);
    run.commit("victim");
    let segment = segments(&files)[0].clone();
    // A device sends what it thinks is a journal's frame, of another journal with the same offsets.
    let forged = {
        let other = FaultyFiles::new();
        let mut run = Stepped::open(one_segment(), &other);
        for _ in 0..5 {
            run.commit("forged");
        }
        let content = other.read(&segments(&other)[0]).unwrap();
        Bytes::from(content[64..2000].to_vec())
    };
    for padding in 0..8 {
        run.commit([vec![b'-'; padding], forged.to_vec()].concat());
    }
    run.commit("after");
    for padding in 0..8 {
        let text = [vec![b'-'; padding], forged[..16].to_vec()].concat();
        let at = find(&files, &segment, &text);
        files.damage(&segment, at - 20, 1).unwrap();
    }
    let read = texts(&chunks(&run.journal, Offset::START));
    assert_eq!(read, ["victim", "gap 2..10", "after"]);
}

/// Changes a byte of the frame that holds `text`, and makes its checksum right again.
fn rewrite(files: &FaultyFiles, segment: &Path, text: &[u8], at: usize, value: u8) {
    let end = find(files, segment, text) + text.len();
    let mut content = files.read(segment).unwrap();
    let start = (0..end - 12).rev().find(|at| at % 8 == 0 && content[at + 11] == 0xA7).unwrap();
    content[start + at] = value;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&content[start..start + 4]), &content[start + 8..end]);
    content[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    files.put(segment, &content);
}

#[tokio::test]
async fn a_record_of_an_unknown_kind_is_skipped_without_a_gap() {
    let files = FaultyFiles::new();
    ten(one_segment(), &files).close();
    for number in [0, 4, 5, 9] {
        rewrite(&files, &segments(&files)[0], format!("record {number}").as_bytes(), 9, 99);
    }
    let run = Stepped::open(one_segment(), &files);
    let read = texts(&chunks(&run.journal, Offset::START));
    assert_eq!(read, ["record 1", "record 2", "record 3", "record 6", "record 7", "record 8"]);
    assert_eq!(run.journal.recent(&device("d"), 10).await.unwrap().len(), 6);
    assert!(run.journal.verify().await.unwrap().good);
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name_and_nothing_is_skipped() {
    let files = FaultyFiles::new();
    ten(one_segment(), &files).close();
    rewrite(&files, &segments(&files)[0], b"record 5", 8, 9);
    let run = Stepped::open(one_segment(), &files);
    let mut reader = run.journal.reader(Offset::START);
    assert_eq!(texts(&[reader.try_next().unwrap().unwrap()]).len(), 5);
    for _ in 0..2 {
        let error = reader.try_next().unwrap_err();
        assert!(matches!(error, ReadError::NewerFormat { found: 9, .. }), "{error}");
    }
    assert_eq!(reader.position(), Offset::from_raw(6));
}

#[tokio::test]
async fn of_a_commit_in_which_power_failed_a_first_part_is_kept_or_nothing() {
    for (first, seed) in (0..300).map(|seed| (seed % 2 == 0, seed * 7919 + 1)) {
        let files = FaultyFiles::new();
        let mut run = Stepped::open(one_segment(), &files);
        let mut expected = Vec::new();
        if !first {
            run.commit("durable");
            expected.push(Bytes::from("durable"));
        }
        for number in 0..6 {
            let payload = Bytes::from(vec![number; 400]);
            run.append(payload.clone());
            expected.push(payload);
        }
        files.crash_at_sync(0, seed);
        assert_eq!(run.committer.step(), 0);
        let run = Stepped::open(one_segment(), &files);
        let read = payloads(&run.journal);
        assert!(expected.starts_with(&read) && read.len() >= usize::from(!first), "{seed}: {} read", read.len());
        assert!(run.journal.verify().await.unwrap().good);
    }
}

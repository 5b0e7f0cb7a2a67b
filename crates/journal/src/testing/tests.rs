use super::*;

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

#[test]
fn synced_bytes_and_names_survive_any_crash_and_others_only_some() {
    let mut fates = BTreeSet::new();
    for seed in 0..200 {
        let files = FaultyFiles::new();
        let kept = files.create(&path("kept")).unwrap();
        kept.write_at(&[1; 1000], 0).unwrap();
        kept.sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        kept.write_at(&[2; 2000], 1000).unwrap();
        let unnamed = files.create(&path("unnamed")).unwrap();
        unnamed.sync().unwrap();
        files.crash(seed * 7919);
        assert!(kept.len().is_err());
        let content = files.read(&path("kept")).unwrap();
        assert_eq!(content[..1000], [1; 1000]);
        let survived = content[1000..].iter().filter(|byte| **byte == 2).count();
        fates.insert((survived.min(1) + survived / 2000, files.read(&path("unnamed")).is_ok()));
    }
    assert_eq!(fates.len(), 6, "nothing, a part or all survives, with and without the name: {fates:?}");
}

#[test]
fn a_second_sync_saves_nothing_that_a_failed_one_left() {
    let mut fates = BTreeSet::new();
    for seed in 0..50 {
        let files = FaultyFiles::new();
        let file = files.create(&path("a")).unwrap();
        let other = files.open(&path("a")).unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        file.write_at(b"x", 0).unwrap();
        files.fail_syncs(1);
        assert!(file.sync().is_err());
        assert!(other.sync().is_err(), "every handle is told");
        assert!(file.sync().is_ok());
        files.crash(seed * 104_729);
        fates.insert(files.read(&path("a")).unwrap());
    }
    assert_eq!(fates, BTreeSet::from([Vec::new(), b"x".to_vec()]));
}

#[test]
fn a_full_disk_takes_no_more_until_there_is_room() {
    let files = FaultyFiles::new();
    let file = files.create(&path("a")).unwrap();
    files.set_free(10);
    assert_eq!(file.write_at(&[0; 11], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&[0; 10], 0).unwrap();
    file.write_at(&[1; 10], 0).unwrap();
    files.set_free(1);
    file.write_at(&[0; 11], 0).unwrap();
}

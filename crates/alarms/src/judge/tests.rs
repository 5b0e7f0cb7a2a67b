use std::collections::HashMap;
use std::sync::Mutex;

use hubward_broker::DropReason;
use hubward_journal::Options;
use hubward_journal::testing::{FaultyFiles, Running};
use hubward_registry::{AlarmEvent, AlarmFilter, AlarmKind, KeySource, RaisedAlarm};
use hubward_relay::Relay;
use sqlx::{Connection as _, SqliteConnection};

use super::*;

/// A server's parts on a disk that somebody else fills, and who judges them.
struct Bench {
    judge: Judge,
    files: FaultyFiles,
    full: bool,
    dropped: Arc<Mutex<Vec<Dropped>>>,
    relay: Relay,
    /// Another door to the registry's database.
    database: SqliteConnection,
    _journal: Running,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeySource { text: None, file: folder.path().join("key") };
        let file = folder.path().join("data/registry.db");
        let registry = Registry::open(&file, keys).await.unwrap();
        let files = FaultyFiles::new();
        let journal = Running::start(Options::new("/data/journal"), files.shared()).unwrap();
        let relay =
            Relay::start(hubward_relay::Options::default(), registry.clone(), journal.journal.clone()).await.unwrap();
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let counted = Arc::clone(&dropped);
        let judge = Judge::new(Sources {
            dropped: Box::new(move || counted.lock().unwrap().clone()),
            registry,
            journal: journal.journal.clone(),
            relay: relay.handle(),
            habits: Arc::new(Habits::new(HashMap::new(), |_| None)),
            files: files.shared(),
            data: "/data".into(),
        });
        let database = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        Self { judge, files, full: false, dropped, relay, database, _journal: journal, _folder: folder }
    }

    /// Somebody else takes all there is of the disk, or gives it back; the registry cannot write meanwhile.
    async fn fill_disk(&mut self, full: bool) {
        self.full = full;
        for what in ["INSERT", "UPDATE"] {
            let sql = if full {
                format!("CREATE TRIGGER full_{what} BEFORE {what} ON alarms BEGIN SELECT RAISE(ABORT, 'full'); END")
            } else {
                format!("DROP TRIGGER full_{what}")
            };
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut self.database).await.unwrap();
        }
    }

    /// Looks until these are open: the journal's second thread sees within a second how the disk is now.
    async fn look_until(&mut self, wanted: impl Fn(&[RaisedAlarm]) -> bool) -> Vec<RaisedAlarm> {
        let given_up = Instant::now() + Duration::from_secs(120);
        loop {
            // What the journal gives up of its own room is taken, too.
            self.files.set_free(if self.full { 0 } else { 1 << 30 });
            self.judge.look().await;
            let open = self.judge.from.registry.alarms().await.unwrap();
            if wanted(&open) {
                return open;
            }
            assert!(Instant::now() < given_up, "it never came; open are {open:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.relay.stop().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_an_alarm_while_it_lasts_though_the_registry_lies_on_it() {
    let mut bench = Bench::new().await;
    let mut told = bench.judge.from.registry.alarm_changes();
    for round in 1..=2 {
        bench.fill_disk(true).await;
        let says = |open: &[RaisedAlarm]| open.iter().any(|alarm| alarm.cause.contains("no signal is acknowledged"));
        let [open] = bench.look_until(says).await.try_into().unwrap();
        assert_eq!(open.key, AlarmKey::server(AlarmKind::DiskFull));
        assert!(open.remedy.contains("free some space"), "{open:?}");
        bench.judge.look().await;
        assert_eq!(bench.judge.from.registry.alarms().await.unwrap(), std::slice::from_ref(&open), "it is one alarm");

        bench.fill_disk(false).await;
        bench.look_until(<[RaisedAlarm]>::is_empty).await;
        let raised = told.recv().await.unwrap();
        assert_eq!((raised.event, raised.stored, &raised.alarm.id), (AlarmEvent::Raised, false, &open.id));
        let cleared = loop {
            let change = told.recv().await.unwrap();
            if change.event != AlarmEvent::Updated {
                break change;
            }
        };
        assert_eq!((cleared.event, cleared.stored, &cleared.alarm.id), (AlarmEvent::Cleared, true, &open.id));
        let all = bench.judge.from.registry.alarms_page(&AlarmFilter::default(), 100).await.unwrap();
        assert_eq!(all.len(), round, "what was only in memory is history");
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_alarm_that_cannot_be_written_keeps_none_of_the_others_back() {
    let mut bench = Bench::new().await;
    let over = AlarmKey::server(AlarmKind::JournalFailed);
    let alarm = Alarm { key: over, cause: "it failed".to_owned(), remedy: "mend it".to_owned() };
    bench.judge.from.registry.raise_alarm(alarm).await.unwrap();
    bench.fill_disk(true).await;
    let owner = Some(Owner::App("revoked".to_owned()));
    let dropped = Dropped { reason: DropReason::JournalFull, count: 3, last_at: Timestamp::now(), last_owner: owner };
    bench.dropped.lock().unwrap().push(dropped);
    // What is over cannot be ended yet; what is new is open all the same.
    let open = bench.look_until(|open| open.len() == 3).await;
    let kinds: HashSet<AlarmKind> = open.iter().map(|alarm| alarm.key.kind).collect();
    assert_eq!(kinds, [AlarmKind::JournalFailed, AlarmKind::DiskFull, AlarmKind::Qos0Dropped].into());
    bench.fill_disk(false).await;
    let [dropped] = bench.look_until(|open| open.len() == 1).await.try_into().unwrap();
    assert_eq!(dropped.key.kind, AlarmKind::Qos0Dropped, "it ends when somebody has seen it");
    assert!(dropped.cause.contains("3, the last of app revoked at"), "{}", dropped.cause);
    bench.stop().await;
}

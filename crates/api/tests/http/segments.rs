//! What the pages that show signals read of the journal: a few segments, however many there are.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use hubward_journal::{File, Files, Lock, RealFiles, Space};

use crate::changes::devices;
use crate::kit::Rig;

/// Real files that remember which of them was read. They do not sync: what is read is asked here, not what survives.
struct Watched {
    real: RealFiles,
    read: Reads,
}

type Reads = Arc<Mutex<BTreeSet<PathBuf>>>;

struct WatchedFile {
    real: Arc<dyn File>,
    path: PathBuf,
    read: Reads,
}

impl Watched {
    fn watch(&self, path: &Path, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        let (path, read) = (path.to_owned(), Arc::clone(&self.read));
        file.map(|real| Arc::new(WatchedFile { real, path, read }) as Arc<dyn File>)
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.read.lock().unwrap().insert(self.path.clone());
        self.real.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.real.write_at(bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.real.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for Watched {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.real.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.watch(path, self.real.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.watch(path, self.real.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.remove_dir(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.real.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.real.space(dir)
    }
}

const PAYLOAD: &[u8] = &[b'x'; 900];

#[tokio::test]
async fn pages_of_signals_read_as_few_segments_of_a_long_journal_as_of_a_short_one() {
    let read = Reads::default();
    let files = Watched { real: RealFiles, read: Arc::clone(&read) };
    // The smallest segments there are: each holds a handful of these signals.
    let rig = Rig::on(Arc::new(files), 4 << 10, |_| {}).await;
    let boards = devices(&rig, "board", 4).await;
    let oldest = rig.signal(boards[0].as_str(), b"20.5").await;
    let pages = [
        "/api/v1/devices/board-00000/signals?limit=5".to_owned(),
        "/api/v1/signals?limit=5".to_owned(),
        "/api/v1/signals?limit=5&device=board-00000".to_owned(),
        format!("/api/v1/devices/board-00000/signals/{oldest}"),
        format!("/api/v1/devices/board-00000/signals/{oldest}/trace"),
        "/api/v1/devices/board-00000".to_owned(),
        "/api/v1/devices/board-00000/series".to_owned(),
        "/api/v1/overview".to_owned(),
    ];
    let send = async |signals: usize| {
        for n in 0..signals {
            rig.signal(boards[n % boards.len()].as_str(), PAYLOAD).await;
        }
    };
    let segments = async |page: &str| {
        read.lock().unwrap().clear();
        let answer = rig.get(page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}: {}", String::from_utf8_lossy(&answer.body));
        read.lock().unwrap().len()
    };
    send(80).await;
    let mut short = Vec::new();
    for page in &pages {
        short.push(segments(page).await);
    }
    send(720).await;
    for (page, short) in pages.iter().zip(&short) {
        let long = segments(page).await;
        assert!(long <= *short + 2, "{page}: files read of a short journal: {short}, of one ten times as long: {long}");
    }
    assert!(short.iter().any(|read| *read > 0), "reads are seen: {short:?}");
    rig.stop().await;
}

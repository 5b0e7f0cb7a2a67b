//! Opening the registry, and its connections: one writer, a few readers.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use hubward_model::{JournalId, Timestamp};
use secrecy::SecretString;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _, SqlStr};
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::alarms::OpenAlarms;
use crate::key::{KeySource, MasterKeys};
use crate::logins::Logins;
use crate::seal::{DataKey, Place, SealError, Sealer};
use crate::{Error, OpenError};

/// The migrations: number, name, statements. `build.rs` lists the files of the folder `migrations`.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let files = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
    let migrations = files.map(|(version, name, statements): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(statements), false)
    });
    Migrator::with_migrations(migrations.into())
});

/// Connections that only read.
const READERS: u32 = 4;
/// Page cache of each reader, in KiB (negative, as SQLite wants it): four times the default would hold a fleet of some
/// thousand devices several times over, for pages that the system has in its own cache anyway.
const READER_CACHE: &str = "-256";
/// Steps that are counted at once.
const STEPS: i32 = 64;
/// How long a statement waits for another process (a backup tool) that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// A handle on the registry; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// SQLite knows one writer at a time; so do we, and nothing ever waits inside the database for it.
    pub(crate) writer: Mutex<SqliteConnection>,
    database: PathBuf,
    pub(crate) readers: SqlitePool,
    pub(crate) logins: Logins,
    pub(crate) keys: RwLock<KeyRing>,
    pub(crate) key_file: Option<PathBuf>,
    created_key: bool,
    /// Counts the sessions, users and tokens that were ended.
    pub(crate) access_changes: watch::Sender<u64>,
    /// The first accepted signal was noted, now or long ago.
    pub(crate) accepted_once: AtomicBool,
    /// What is open, and who listens.
    pub(crate) alarms: OpenAlarms,
    steps: Arc<AtomicU64>,
}

/// The keys in use.
pub(crate) struct KeyRing {
    pub(crate) masters: MasterKeys,
    pub(crate) master_key_id: String,
    pub(crate) sealer: Sealer,
}

/// The right to write. What it seals with is taken together with that right: a value sealed earlier could come to lie in
/// the database after its data key left it.
pub(crate) struct Writer<'a> {
    pub(crate) connection: MutexGuard<'a, SqliteConnection>,
    pub(crate) sealer: Sealer,
}

/// Which master key is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub master_key_id: String,
    /// The file it lies in; none when it came from the environment.
    pub key_file: Option<PathBuf>,
    /// Whether this opening made it: time to tell the user to keep a copy.
    pub created: bool,
}

impl Registry {
    /// Opens the database at `path`, creates it if it is missing, and brings it to the newest schema.
    ///
    /// # Errors
    /// When secrets in it are sealed under a master key that `keys` does not give: it names the key that is needed, and
    /// makes none. When the key file lies with the data. When a newer Hubward wrote it. When it cannot be read or written.
    pub async fn open(path: &Path, keys: KeySource) -> Result<Self, OpenError> {
        let storage = |source| OpenError::Storage { database: path.to_owned(), source };
        create_private(path).map_err(|error| storage(error.into()))?;
        MasterKeys::check_place(&keys, path)?;
        let mut writer = SqliteConnection::connect_with(&options(path)).await.map_err(|error| storage(error.into()))?;
        migrate(&mut writer, path).await?;
        let opened = open_keys(&mut writer, path, &keys).await?;

        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .after_connect(move |connection, _| Box::pin(count_steps(connection, Arc::clone(&counted))))
            .connect_lazy_with(
                options(path).read_only(true).create_if_missing(false).pragma("cache_size", READER_CACHE),
            );
        let inner = Inner {
            writer: Mutex::new(writer),
            database: path.to_owned(),
            readers,
            logins: Logins::default(),
            keys: RwLock::new(opened.ring),
            key_file: keys.text.is_none().then_some(keys.file),
            created_key: opened.created,
            access_changes: watch::Sender::new(0),
            accepted_once: AtomicBool::new(false),
            alarms: OpenAlarms::default(),
            steps,
        };
        let registry = Self { inner: Arc::new(inner) };
        registry.load_logins().await.map_err(|error| storage(error.into()))?;
        registry.load_alarms().await.map_err(|error| storage(error.into()))?;
        sync_folder(path).map_err(|error| storage(error.into()))?;
        Ok(registry)
    }

    /// Which master key is in use.
    #[must_use]
    pub fn key_info(&self) -> KeyInfo {
        let inner = &self.inner;
        let master_key_id = self.with_keys(|ring| ring.master_key_id.clone());
        KeyInfo { master_key_id, key_file: inner.key_file.clone(), created: inner.created_key }
    }

    /// How much work reads have been, in steps of SQLite's virtual machine, rounded down for each. A row that is looked
    /// at takes some ten. What a page costs must not grow with what is stored: tests hold it by this.
    #[must_use]
    pub fn read_steps(&self) -> u64 {
        self.inner.steps.load(Ordering::Relaxed)
    }

    /// Waits for the running write and closes the readers; the last handle's end closes the database. Nothing is lost
    /// when it is not called.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let mut writer = self.inner.writer.lock().await;
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await {
            tracing::debug!(%error, "the last checkpoint is left to the next start");
        }
    }

    /// The journal that the stored offsets belong to, if one was remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn journal_id(&self) -> Result<Option<JournalId>, Error> {
        let id = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'journal_id'");
        let id: Option<String> = id.fetch_optional(&self.inner.readers).await?;
        Ok(id.map(JournalId::from_stored))
    }

    /// Remembers the journal that the stored offsets belong to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember_journal_id(&self, id: &JournalId) -> Result<(), Error> {
        let sql = "INSERT INTO meta (key, value) VALUES ('journal_id', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        sqlx::query(sql).bind(id.as_str()).execute(&mut *self.writer().await.connection).await?;
        Ok(())
    }

    pub(crate) async fn writer(&self) -> Writer<'_> {
        let mut connection = self.inner.writer.lock().await;
        if connection.is_in_transaction() {
            self.inner.end_lost_transaction(&mut connection).await;
        }
        Writer { connection, sealer: self.with_keys(|ring| ring.sealer.clone()) }
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    pub(crate) fn open_sealed(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretString, SealError> {
        self.with_keys(|ring| ring.sealer.open(place, sealed))
    }

    fn with_keys<T>(&self, read: impl FnOnce(&KeyRing) -> T) -> T {
        read(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    /// A full disk or a failing one makes SQLite end a transaction by itself, of which the driver goes on to believe that
    /// it is open: then it would never begin another one. A new connection knows nothing of it. Where none can be had,
    /// the next writer tries again.
    async fn end_lost_transaction(&self, connection: &mut SqliteConnection) {
        // Behind the rollback of one that was just dropped.
        let rolled_back = connection.ping().await.is_ok() && !connection.is_in_transaction();
        if rolled_back {
            return;
        }
        match SqliteConnection::connect_with(&options(&self.database)).await {
            Ok(new) => *connection = new,
            Err(error) => tracing::warn!(%error, "the registry's database could not be opened anew"),
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("key", &self.key_info()).finish_non_exhaustive()
    }
}

/// FULL: what a method promised is on disk before it answers. Deleted rows are overwritten, so that no old ciphertext
/// stays in free pages.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("secure_delete", "on")
}

/// Counts the steps of a reader's statements.
async fn count_steps(connection: &mut SqliteConnection, steps: Arc<AtomicU64>) -> Result<(), sqlx::Error> {
    connection.lock_handle().await?.set_progress_handler(STEPS, move || {
        steps.fetch_add(STEPS.unsigned_abs().into(), Ordering::Relaxed);
        true
    });
    Ok(())
}

/// An empty file for its owner alone, whose mode SQLite gives to the files it adds.
fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

async fn migrate(writer: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => {
            let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
            OpenError::Newer { database: path.to_owned(), found, known }
        }
        other => OpenError::Storage { database: path.to_owned(), source: other.into() },
    })
}

struct OpenedKeys {
    ring: KeyRing,
    created: bool,
}

/// The data key that is stored, opened with the master key it names; in a new database, a new one. Data keys are
/// stored before anything is sealed with them, and master keys are in their file before a data key is.
async fn open_keys(writer: &mut SqliteConnection, path: &Path, source: &KeySource) -> Result<OpenedKeys, OpenError> {
    let storage = |error: sqlx::Error| OpenError::Storage { database: path.to_owned(), source: error.into() };
    let rows = sqlx::query("SELECT id, master_key_id, sealed FROM data_keys ORDER BY created_at, id");
    let rows = rows.fetch_all(&mut *writer).await.map_err(storage)?;

    if rows.is_empty() {
        let (masters, created) = match MasterKeys::load(source)? {
            Some(masters) => (masters, false),
            None => (MasterKeys::create(&source.file)?, true),
        };
        let data_key = DataKey::random();
        store_data_key(writer, &data_key, &masters).await.map_err(storage)?;
        let sealer = Sealer::new(&data_key, &[]);
        let master_key_id = masters.first().id();
        return Ok(OpenedKeys { ring: KeyRing { masters, master_key_id, sealer }, created });
    }

    let masters = MasterKeys::load(source)?;
    let mut data_keys = Vec::new();
    let mut master_key_id = String::new();
    for row in &rows {
        let (id, wanted): (String, String) = (row.get(0), row.get(1));
        let Some(masters) = &masters else {
            return Err(OpenError::KeyMissing { database: path.to_owned(), key_id: wanted, file: source.file.clone() });
        };
        let Some(master) = masters.of_id(&wanted) else {
            return Err(OpenError::WrongKey { database: path.to_owned(), wanted, given: masters.ids() });
        };
        data_keys.push(DataKey::unwrap(&id, &row.get::<Vec<u8>, _>(2), master.bytes())?);
        master_key_id = wanted;
    }
    match (masters, data_keys.last()) {
        (Some(masters), Some(newest)) => {
            let sealer = Sealer::new(newest, &data_keys);
            Ok(OpenedKeys { ring: KeyRing { masters, master_key_id, sealer }, created: false })
        }
        _ => Err(storage(sqlx::Error::RowNotFound)),
    }
}

/// Stores `key`, sealed under the first of `masters`.
pub(crate) async fn store_data_key(
    connection: &mut SqliteConnection,
    key: &DataKey,
    masters: &MasterKeys,
) -> Result<(), sqlx::Error> {
    let master = masters.first();
    sqlx::query("INSERT INTO data_keys (id, master_key_id, sealed, created_at) VALUES ($1, $2, $3, $4)")
        .bind(key.id())
        .bind(master.id())
        .bind(key.wrap(master.bytes()))
        .bind(Timestamp::now().as_millis())
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

//! The files of the database as the file system shows them.
//!
//! They are looked at by name only: whoever opens and closes one of them in this process drops the locks of SQLite.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::checkpoint::empty_log;
use super::error::SharedError;

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Deadline for saving a deleted log, from when it is noticed: those who read may need it for a while.
const SAVE_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts to save it.
const SAVE_INTERVAL: Duration = Duration::from_millis(25);
/// Bytes that a record takes in the log besides its text: some ten pages.
const RECORD_PAGES_BYTES: u64 = 20 << 10;

/// Watches the files of the database, and the room on its disk.
#[derive(Debug)]
pub(crate) struct Place {
    files: Arc<Files>,
    looked: Instant,
    /// Room in bytes that is left for the log, as far as the last look and the writes since then tell.
    room: u64,
    is_written: bool,
    lost: watch::Sender<bool>,
}

#[derive(Debug)]
struct Files {
    database: Watched,
    log: Watched,
    index: Watched,
}

/// A file, and which one it was at the start, where it was there and has to stay.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

/// Which file has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The one of the start, as far as is known.
    Same,
    Nothing,
    Another {
        is_empty: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Database,
    /// The log or its index. Nobody else can have written to the database without them if it is `ours`.
    Log {
        is_ours: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Sight {
    loss: Option<Loss>,
    room: u64,
}

/// Bytes that a transaction adds to the log, as an estimate.
pub(crate) fn growth(records: usize, text: usize) -> u64 {
    (records as u64).saturating_mul(RECORD_PAGES_BYTES).saturating_add(text as u64)
}

impl Place {
    /// Begins to watch the files that `connection` has open; `is_written` if it may write.
    pub(crate) async fn begin(
        path: &Path,
        connection: &mut SqliteConnection,
        is_written: bool,
        lost: watch::Sender<bool>,
    ) -> Result<Self, sqlx::Error> {
        // Only a connection that has the log open keeps others from deleting it at their end: none on a read-only
        // place, nor where the log is not used yet.
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(connection).await?;
        let (path, is_logged) = (path.to_owned(), mode == "wal");
        let look = move || {
            let files = Files::begin(path, is_logged)?;
            let sight = files.look();
            Ok::<_, std::io::Error>((files, sight))
        };
        let (files, sight) = tokio::task::spawn_blocking(look).await.map_err(std::io::Error::other)??;
        Ok(Place { files: Arc::new(files), looked: Instant::now(), room: sight.room, is_written, lost })
    }

    /// Looks at the files, unless that was done a moment ago.
    ///
    /// # Errors
    ///
    /// The database is lost.
    pub(crate) async fn look_if_due(&mut self, connection: &mut SqliteConnection) -> Result<(), SharedError> {
        if self.looked.elapsed() >= LOOK_INTERVAL { self.look(connection).await } else { self.expect_there() }
    }

    /// Looks at the files; `connection` has them open.
    ///
    /// # Errors
    ///
    /// The database is lost.
    pub(crate) async fn look(&mut self, connection: &mut SqliteConnection) -> Result<(), SharedError> {
        self.expect_there()?;
        if let Some(sight) = self.sight().await {
            if let Some(loss) = sight.loss {
                self.lose(loss, connection).await;
            }
            self.room = sight.room;
        }
        self.looked = Instant::now();
        self.expect_there()
    }

    async fn sight(&self) -> Option<Sight> {
        let files = Arc::clone(&self.files);
        // A file system that hangs must not hold up a thread that serves connections.
        tokio::task::spawn_blocking(move || files.look()).await.ok()
    }

    /// Gives the connection back if it may be closed.
    ///
    /// The last connection that is closed moves its log into the database, and deletes the file that has the log's
    /// name. When files were lost, both may harm what others have made since; the end of the process closes the
    /// files without either.
    pub(crate) fn leave(self, connection: SqliteConnection) -> Option<SqliteConnection> {
        if self.expect_there().is_ok() {
            return Some(connection);
        }
        std::mem::forget(connection);
        None
    }

    /// Returns true if the log may grow by so many bytes and all of it still fits into the database.
    pub(crate) fn has_room_for(&self, growth: u64) -> bool {
        // As much again for the pages by which the database grows when the log is moved.
        self.room >= growth.saturating_mul(2)
    }

    /// Counts bytes that were added to the log.
    pub(crate) fn add(&mut self, growth: u64) {
        self.room = self.room.saturating_sub(growth.saturating_mul(2));
    }

    fn expect_there(&self) -> Result<(), SharedError> {
        if *self.lost.borrow() { Err(SharedError::lost()) } else { Ok(()) }
    }

    async fn lose(&self, loss: Loss, connection: &mut SqliteConnection) {
        let database = self.files.database.path.display();
        match loss {
            Loss::Database => {
                tracing::error!(
                    %database,
                    "the database file was deleted or replaced while in use: nothing more can be stored in it",
                );
                self.files.set_log_aside();
            }
            Loss::Log { is_ours } => {
                tracing::error!(
                    %database,
                    "the write-ahead log of the database (-wal) or its index (-shm) was deleted or replaced while in use: \
                     nothing more can be stored; start the server again",
                );
                if self.is_written {
                    self.save_log(is_ours, connection).await;
                }
            }
        }
        self.lost.send_replace(true);
    }

    /// Moves what a deleted log holds, which is still open, into the database.
    ///
    /// Others that have opened the database since then know nothing of that log: pages that they have written would be
    /// overwritten, and those that they remember would be wrong. They show by a new index or a log that is not empty.
    /// One that opens it just now could see the database half moved; not to move would lose what was acknowledged.
    async fn save_log(&self, mut is_ours: bool, connection: &mut SqliteConnection) {
        let database = self.files.database.path.display();
        let deadline = Instant::now() + SAVE_DEADLINE;
        let mut cause = None;
        while is_ours && Instant::now() < deadline {
            match empty_log(connection).await {
                Ok(true) => {
                    tracing::warn!(%database, "moved the deleted write-ahead log into the database: nothing is lost");
                    return;
                }
                Ok(false) => cause = None,
                Err(error) => cause = Some(error),
            }
            sleep(SAVE_INTERVAL).await;
            let sight = self.sight().await;
            is_ours = sight.is_some_and(|sight| sight.loss == Some(Loss::Log { is_ours: true }));
        }
        let error = cause.as_ref().map(tracing::field::display);
        tracing::error!(
            %database,
            error,
            "what was stored since the last checkpoint, some seconds ago, may be lost with the write-ahead log: another \
             process has opened the database without it, or it could not be moved into the database",
        );
    }
}

impl Watched {
    fn found(&self) -> Found {
        let Some(identity) = self.identity else { return Found::Same };
        match std::fs::metadata(&self.path) {
            Ok(metadata) if identity_in(&metadata) == identity => Found::Same,
            Ok(metadata) => Found::Another { is_empty: metadata.len() == 0 },
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
            // Any other error says nothing of the file.
            Err(_) => Found::Same,
        }
    }
}

impl Files {
    fn begin(database: PathBuf, is_logged: bool) -> std::io::Result<Self> {
        // SQLite keeps its other files beside the one to which a symbolic link leads.
        let watched = |path: PathBuf| {
            let identity = identity_of(&path).ok().filter(|_| is_logged);
            Watched { path, identity }
        };
        let (log, index) = (watched(beside(&database, "-wal")?), watched(beside(&database, "-shm")?));
        let identity = Some(identity_of(&database)?);
        Ok(Files { database: Watched { path: database, identity }, log, index })
    }

    fn look(&self) -> Sight {
        let length = std::fs::metadata(&self.log.path).map_or(0, |metadata| metadata.len());
        Sight { loss: self.loss(), room: self.free().saturating_sub(length) }
    }

    fn loss(&self) -> Option<Loss> {
        if self.database.found() != Found::Same {
            return Some(Loss::Database);
        }
        let (log, index) = (self.log.found(), self.index.found());
        // An empty log may be that of a connection of this process. Whoever writes elsewhere has one with pages.
        let is_ours = matches!(index, Found::Same | Found::Nothing)
            && matches!(log, Found::Same | Found::Nothing | Found::Another { is_empty: true });
        ((log, index) != (Found::Same, Found::Same)).then_some(Loss::Log { is_ours })
    }

    /// Bytes that are free on the disk; all that can be where that is not known.
    fn free(&self) -> u64 {
        let directory = self.log.path.parent().unwrap_or(Path::new("/"));
        rustix::fs::statvfs(directory).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Renames the log of the lost database: beside another one it would be taken for the log of that, and spoil it.
    fn set_log_aside(&self) {
        for Watched { path, identity } in [&self.log, &self.index] {
            if identity.is_none() || identity_of(path).ok() != *identity {
                continue;
            }
            let mut aside = path.clone().into_os_string();
            aside.push(".lost");
            match std::fs::rename(path, &aside) {
                Ok(()) => tracing::warn!(
                    file = %path.display(),
                    renamed = %Path::new(&aside).display(),
                    "renamed a file of the lost database",
                ),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot rename a file of the lost database");
                }
            }
        }
    }
}

fn identity_in(metadata: &std::fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn identity_of(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).map(|metadata| identity_in(&metadata))
}

fn beside(path: &Path, suffix: &str) -> std::io::Result<PathBuf> {
    let mut name: OsString = path.canonicalize()?.into_os_string();
    name.push(suffix);
    Ok(name.into())
}

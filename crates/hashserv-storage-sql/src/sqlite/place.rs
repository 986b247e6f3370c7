//! The files of the database as the file system shows them.
//!
//! They are looked at by name only: whoever opens and closes one of them in this process drops the locks of SQLite.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::SharedError;

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes that a record takes in the log besides its text: some ten pages.
const RECORD_PAGES_BYTES: u64 = 20 << 10;

/// Watches the file of the database, and the room on its disk.
#[derive(Debug)]
pub(crate) struct Place {
    files: Arc<Files>,
    looked: Instant,
    sight: Sight,
    /// Room in bytes that is left for the log, as far as the last look and the writes since then tell.
    room: u64,
    lost: watch::Sender<bool>,
}

#[derive(Debug)]
struct Files {
    database: PathBuf,
    log: PathBuf,
    index: PathBuf,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

#[derive(Clone, Copy, Debug)]
struct Sight {
    is_lost: bool,
    log: Option<Identity>,
    room: u64,
}

/// Bytes that a transaction adds to the log, as an estimate.
pub(crate) fn growth(records: usize, text: usize) -> u64 {
    (records as u64).saturating_mul(RECORD_PAGES_BYTES).saturating_add(text as u64)
}

impl Place {
    /// Begins to watch the file, which is open.
    pub(crate) async fn begin(path: &Path, lost: watch::Sender<bool>) -> std::io::Result<Self> {
        let path = path.to_owned();
        let look = move || {
            let identity = identity_of(&path)?;
            // SQLite keeps its other files beside the one to which a symbolic link leads.
            let (log, index) = (beside(&path, "-wal")?, beside(&path, "-shm")?);
            let files = Files { database: path, log, index, identity };
            let sight = files.look();
            Ok::<_, std::io::Error>((files, sight))
        };
        let (files, sight) = tokio::task::spawn_blocking(look).await.map_err(std::io::Error::other)??;
        let room = sight.room;
        Ok(Place { files: Arc::new(files), looked: Instant::now(), sight, room, lost })
    }

    /// Looks at the files, unless that was done a moment ago.
    ///
    /// # Errors
    ///
    /// The database is lost.
    pub(crate) async fn look_if_due(&mut self) -> Result<(), SharedError> {
        if self.looked.elapsed() >= LOOK_INTERVAL { self.look().await } else { self.expect_there() }
    }

    /// Looks at the files.
    ///
    /// # Errors
    ///
    /// The database is lost.
    pub(crate) async fn look(&mut self) -> Result<(), SharedError> {
        self.expect_there()?;
        let files = Arc::clone(&self.files);
        // A file system that hangs must not hold up a thread that serves connections.
        if let Ok(sight) = tokio::task::spawn_blocking(move || files.look()).await {
            let log = sight.log.or(self.sight.log);
            if sight.is_lost {
                self.lose();
            }
            self.room = sight.room;
            self.sight = Sight { log, ..sight };
        }
        self.looked = Instant::now();
        self.expect_there()
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

    fn lose(&self) {
        tracing::error!(
            database = %self.files.database.display(),
            "the database file was deleted or replaced while in use: nothing more can be stored in it",
        );
        if let Some(log) = self.sight.log {
            self.files.set_log_aside(log);
        }
        self.lost.send_replace(true);
    }
}

impl Files {
    fn look(&self) -> Sight {
        let is_lost = match identity_of(&self.database) {
            Ok(identity) => identity != self.identity,
            // Any other error says nothing of the file.
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let log = std::fs::metadata(&self.log).ok();
        let length = log.as_ref().map_or(0, std::fs::Metadata::len);
        Sight {
            is_lost,
            log: log.map(|metadata| (metadata.dev(), metadata.ino())),
            room: self.free().saturating_sub(length),
        }
    }

    /// Bytes that are free on the disk; all that can be where that is not known.
    fn free(&self) -> u64 {
        let directory = self.log.parent().unwrap_or(Path::new("/"));
        rustix::fs::statvfs(directory).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Renames the log of the lost database: beside another one it would be taken for the log of that, and spoil it.
    fn set_log_aside(&self, identity: Identity) {
        if identity_of(&self.log).ok() != Some(identity) {
            return;
        }
        for file in [&self.log, &self.index] {
            let mut aside = file.clone().into_os_string();
            aside.push(".lost");
            match std::fs::rename(file, &aside) {
                Ok(()) => tracing::warn!(
                    file = %file.display(),
                    renamed = %Path::new(&aside).display(),
                    "renamed a file of the lost database",
                ),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "cannot rename a file of the lost database");
                }
            }
        }
    }
}

fn identity_of(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn beside(path: &Path, suffix: &str) -> std::io::Result<PathBuf> {
    let mut name: OsString = path.canonicalize()?.into_os_string();
    name.push(suffix);
    Ok(name.into())
}

//! The database of a day, and what can be done to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hashserv_test_postgres::{Cluster, Durability, Setup};
use hashserv_tests::Backend;

use crate::folder::Folder;
use crate::proxy::Proxy;

/// The database.
pub(crate) enum Store {
    Sqlite(Box<Sqlite>),
    Postgres(Box<Postgres>),
}

/// A file of SQLite, on a disk that can be sick.
pub(crate) struct Sqlite {
    pub(crate) file: PathBuf,
    /// Whether the disk is small enough to be filled.
    pub(crate) has_small_disk: bool,
    /// File with the state of the disk, where a C compiler was there to make one that can be sick.
    control: Option<PathBuf>,
    library: PathBuf,
}

/// A database on a PostgreSQL server of its own.
pub(crate) struct Postgres {
    // Dropped before the cluster.
    pub(crate) database: hashserv_test_postgres::Database,
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
}

impl Store {
    pub(crate) async fn create(backend: Backend, folder: &Folder) -> Self {
        match backend {
            Backend::Sqlite => Store::Sqlite(Box::new(Sqlite::create(folder))),
            Backend::Postgres => Store::Postgres(Box::new(Postgres::create().await)),
        }
    }

    /// The value of `--database`.
    pub(crate) fn name(&self) -> String {
        match self {
            Store::Sqlite(sqlite) => sqlite.file.display().to_string(),
            Store::Postgres(postgres) => {
                let url = postgres.database.url();
                let (_, name) = url.rsplit_once('/').expect("a URL with a database");
                format!("postgresql://postgres@127.0.0.1:{}/{name}", postgres.proxy.port)
            }
        }
    }

    /// Variables that a server needs to see how the disk is.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let Store::Sqlite(sqlite) = self else { return Vec::new() };
        let Some(control) = &sqlite.control else { return Vec::new() };
        let text = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD".to_owned(), text(&sqlite.library)), ("SICK_DISK".to_owned(), text(control))]
    }
}

/// State of a disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) read_delay_ms: u32,
    pub(crate) read_error: i32,
    pub(crate) write_delay_ms: u32,
    pub(crate) write_error: i32,
}

impl Sqlite {
    fn create(folder: &Folder) -> Self {
        let library = folder.path().join("sick_disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_days/sick_disk.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let is_built = compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let sqlite = Sqlite {
            file: folder.disk().join("hashserv.db"),
            has_small_disk: folder.has_small_disk(),
            control: is_built.then(|| folder.path().join("sick_disk")),
            library,
        };
        sqlite.set_disk(Disk::default());
        sqlite
    }

    /// Whether reads and writes can be made slow, or made to fail.
    pub(crate) fn can_be_sick(&self) -> bool {
        self.control.is_some()
    }

    pub(crate) fn set_disk(&self, disk: Disk) {
        let Some(control) = &self.control else { return };
        let Disk { read_delay_ms, read_error, write_delay_ms, write_error } = disk;
        let next = control.with_extension("next");
        let text = format!("{read_delay_ms} {read_error} {write_delay_ms} {write_error}\n");
        std::fs::write(&next, text).expect("a file");
        std::fs::rename(&next, control).expect("a file");
    }
}

impl Postgres {
    async fn create() -> Self {
        let start = || {
            // The cluster crashes, the machine does not: commits need not wait for the disk.
            let settings = ["max_connections = 200", "shared_buffers = 64MB", "fsync = off"];
            let settings = settings.map(str::to_owned).to_vec();
            let cluster = Cluster::start(&Setup { durability: Durability::Full, settings });
            let database = cluster.create_database();
            (cluster, database)
        };
        let (cluster, database) = tokio::task::spawn_blocking(start).await.expect("a cluster");
        let port = database.url().rsplit_once('/').and_then(|(head, _)| head.rsplit_once(':'));
        let port = port.and_then(|(_, port)| port.parse().ok()).expect("a URL with a port");
        Postgres { database, cluster, proxy: Proxy::start(port).await }
    }
}

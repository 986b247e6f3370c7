//! How a database is opened.

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only read: nothing is created or upgraded, writes are refused. `false` unless set.
    pub read_only: bool,
    /// When SQLite makes commits durable. PostgreSQL decides that by its own configuration.
    pub synchronous: Synchronous,
    /// How many connections look up hashes, 1 to 16; what is outside is taken as the nearest bound. SQLite
    /// gives each a thread. 2 unless set: look-ups are gathered into batches, so more connections serve
    /// only machines with more cores.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { read_only: false, synchronous: Synchronous::default(), readers: 2 }
    }
}

/// When SQLite makes a commit durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// At a checkpoint: a commit survives the death of the process, but the last ones may be lost when the
    /// machine loses power. The database stays consistent.
    #[default]
    Normal,
    /// At the commit, at the price of one flush of the disk for each group of writes.
    Full,
}

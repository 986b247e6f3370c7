//! Faults of an SQLite file and its disk.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Fault, Finally, Kind, fault};
use crate::settings::say;
use crate::store::{Disk, Sqlite, Store};
use crate::world::World;

/// The errors of a disk, as errno: EIO, ENOSPC.
const INPUT_OUTPUT: i32 = 5;
const NO_SPACE: i32 = 28;

const LOCKS: [Fault; 2] = [
    fault!("database locked by another process", Database, |world, _, time| {
        hold(world, "BEGIN IMMEDIATE", time)
    }),
    fault!("database read for long by another process", Database, |world, _, time| {
        hold(world, "BEGIN; SELECT count(*) FROM outhashes_v2", time)
    }),
];

const SICKNESSES: [Fault; 6] = [
    fault!("reads of the disk fail", Database, |world, _, time| {
        sick(world, time, Disk { read_error: INPUT_OUTPUT, ..Disk::default() })
    }),
    fault!("writes to the disk fail", Database, |world, _, time| {
        sick(world, time, Disk { write_error: INPUT_OUTPUT, ..Disk::default() })
    }),
    fault!("no room for writes", Database, |world, _, time| {
        sick(world, time, Disk { write_error: NO_SPACE, ..Disk::default() })
    }),
    fault!("reads of the disk are slow", Database, |world, rng, time| {
        sick(world, time, Disk { read_delay_ms: slowness(rng), ..Disk::default() })
    }),
    fault!("writes to the disk are slow", Database, |world, rng, time| {
        sick(world, time, Disk { write_delay_ms: slowness(rng), ..Disk::default() })
    }),
    fault!("writes to the disk are slow and fail", Database, |world, rng, time| {
        let write_delay_ms = slowness(rng);
        sick(world, time, Disk { write_delay_ms, write_error: INPUT_OUTPUT, ..Disk::default() })
    }),
];

const SMALL_DISK: [Fault; 1] = [fault!("disk full", Database, |world, _, time| fill(world, time))];

/// The faults that can happen to this database; says which cannot.
pub(super) fn possible(sqlite: &Sqlite) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |what: &str, is_possible: bool, some: &[Fault]| {
        if is_possible {
            faults.extend_from_slice(some);
        } else {
            say(&format!("left out: {what}"));
        }
    };
    let has_python = Command::new("python3").args(["-c", "import sqlite3"]).stderr(Stdio::null()).status();
    add("locks by another process, which need python3", has_python.is_ok_and(|it| it.success()), &LOCKS);
    add("a sick disk, which needs a C compiler", sqlite.can_be_sick(), &SICKNESSES);
    add("a full disk, which only root can mount", sqlite.has_small_disk, &SMALL_DISK);
    faults
}

fn sqlite(world: &World) -> &Sqlite {
    match &world.store {
        Store::Sqlite(sqlite) => sqlite,
        Store::Postgres(_) => panic!("a fault of SQLite on PostgreSQL"),
    }
}

fn slowness(mut rng: fastrand::Rng) -> u32 {
    [20, 200, 1_500][rng.usize(..3)]
}

async fn sick(world: Arc<World>, time: Duration, disk: Disk) {
    let sqlite = sqlite(&world);
    let _healed = Finally(|| sqlite.set_disk(Disk::default()));
    sqlite.set_disk(disk);
    tokio::time::sleep(time).await;
}

/// Holds a transaction in another process.
async fn hold(world: Arc<World>, statements: &str, time: Duration) {
    const SCRIPT: &str = "import sqlite3, sys\n\
        connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
        for statement in sys.argv[2].split(';'): connection.execute(statement).fetchall()\n\
        print('held', flush=True)\n\
        sys.stdin.read()";
    let mut command = tokio::process::Command::new("python3");
    command.args(["-c", SCRIPT]).arg(&sqlite(&world).file).arg(statements);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("python3 runs");
    let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
    drop(output.next_line().await);
    tokio::time::sleep(time).await;
    drop(child.stdin.take());
    drop(child.wait().await);
}

/// Leaves no room on the disk.
async fn fill(world: Arc<World>, time: Duration) {
    let path = sqlite(&world).file.with_file_name("filler");
    let _emptied = Finally(|| drop(std::fs::remove_file(&path)));
    let mut file = std::fs::File::create(&path).expect("a file on the disk");
    let steps = (time.as_millis() / 50).max(1);
    for _ in 0..steps {
        // What is given back by others meanwhile is taken, too.
        while file.write_all(&[0; 64 * 1024]).is_ok() {}
        while file.write_all(&[0; 512]).is_ok() {}
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

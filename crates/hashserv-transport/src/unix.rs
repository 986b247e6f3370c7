//! Unix domain sockets: paths of any length, and socket files that are never taken from a live server.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashserv_protocol::Address;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use crate::TransportError;
use crate::tcp::BACKLOG;

/// The longest path that fits into `sun_path`, with its terminating NUL.
const MAX_PATH: usize = 107;

/// How often a server that starts at the same time in the same directory is waited for, and for how long.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait before a server whose backlog is full is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A socket file that is removed when this is dropped, if it is still the one that was made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It is no harm if it stays: the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`, replacing a socket file that no server answers on.
pub(crate) async fn bind(
    address: &Address,
    path: &Path,
) -> Result<(UnixListener, SocketFile), TransportError> {
    let failed = || TransportError::bind(address);
    // The working directory may be another one by the time the file is removed.
    let path = std::path::absolute(path).map_err(failed())?;
    let directory = open_directory(&path).map_err(failed())?;
    let _lock = lock(&directory).await;
    make_way(address, &path).await?;
    let listener = bind_path(&directory, &path).map_err(failed())?;
    let file = SocketFile { identity: identity(&path).map_err(failed())?, path };
    let listener = net::UnixListener::from(listener);
    let listener = UnixListener::from_std(listener).map_err(failed())?;
    Ok((listener, file))
}

/// Connects to the socket at `path`, waiting while the server's backlog is full; the caller bounds the time.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match connect_once(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BUSY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn connect_once(path: &Path) -> io::Result<UnixStream> {
    if fits(path) {
        return UnixStream::connect(path).await;
    }
    let socket = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    UnixStream::connect(through(&socket)).await
}

/// Whoever starts a server locks the directory of its socket meanwhile, so that of two that start at once
/// neither takes the other's fresh socket for a stale one. Where it cannot be had, we do without.
async fn lock(directory: &File) -> Option<&File> {
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(fs::TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Removes a stale socket file; anything else that is in the way is an error.
async fn make_way(address: &Address, path: &Path) -> Result<(), TransportError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(TransportError::bind(address)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(TransportError::NotASocket { address: address.clone() });
        }
        Ok(_) => {}
    }
    match connect_once(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(TransportError::bind(address))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Would block: the backlog of a server that lives is full.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(TransportError::bind(address)(error)),
        _ => Err(TransportError::InUse { address: address.clone() }),
    }
}

fn bind_path(directory: &File, path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    if fits(path) {
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        return Ok(socket);
    }
    // The name alone may be too long as well, so the socket gets it only afterwards.
    let made = through(directory).join(format!(".hashserv-{}", std::process::id()));
    socket.bind(&SockAddr::unix(&made)?)?;
    let listening = socket.listen(BACKLOG).and_then(|()| fs::rename(&made, path));
    if listening.is_err() {
        let _ = fs::remove_file(&made);
    }
    listening.map(|()| socket)
}

fn open_directory(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("the directory {}: {error}", directory.display()))
    };
    // Only a directory that may be read can be locked; one that may not still can be passed through.
    let flags = libc::O_DIRECTORY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(directory)
        .or_else(|_| OpenOptions::new().read(true).custom_flags(flags | libc::O_PATH).open(directory))
        .map_err(explain)
}

fn fits(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= MAX_PATH
}

/// A short path to what is open.
fn through(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

//! Logins from a netrc file.
//!
//! A file that cannot be used is no reason to fail: a warning is printed, and the client goes on without a login.

mod parse;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hashserv_client::Login;
use hashserv_log::one_line;
use rustix::fs::OFlags;

use crate::notice;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Permission bits of the group and of others.
const NOT_OWNER: u32 = 0o077;

/// Reason why a netrc file is not used. It never quotes the file.
#[derive(Debug, thiserror::Error)]
enum NetrcError {
    #[error("{path}: cannot read the netrc file", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: the netrc file has more than {MAX_FILE} bytes", path = path.display())]
    TooLong { path: PathBuf },
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Syntax { path: PathBuf, line: usize, reason: &'static str },
    #[error(
        "{path}: other users can access this file, which has a token for the server: run chmod 600 on it",
        path = path.display()
    )]
    Exposed { path: PathBuf },
    #[error(
        "{path}: this file, which has a token for the server, belongs to another user: run chown on it",
        path = path.display()
    )]
    Foreign { path: PathBuf },
    #[error("{path}: the netrc file is not a regular file", path = path.display())]
    NotAFile { path: PathBuf },
}

/// The user name and the token for a server, from `$NETRC` or `~/.netrc`. The latter need not exist.
pub(crate) fn login(address: &str) -> Option<Login> {
    let chosen = std::env::var_os("NETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    let must_exist = chosen.is_some();
    let path = chosen.or_else(|| std::env::home_dir().map(|home| home.join(".netrc")))?;
    match read_login(&path, address, rustix::process::getuid().as_raw()) {
        Ok(login) => login,
        Err(NetrcError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound && !must_exist => {
            None
        }
        Err(error) => {
            notice::warn(format_args!("{}; going on without a login from netrc", one_line(&error)));
            None
        }
    }
}

/// Reads the login that the file has for a server. `user` is the one that must own it.
fn read_login(path: &Path, address: &str, user: u32) -> Result<Option<Login>, NetrcError> {
    let failed = |source| NetrcError::Read { path: path.to_owned(), source };
    // To open a pipe without a writer would wait for one.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(NetrcError::NotAFile { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(NetrcError::TooLong { path: path.to_owned() });
    }
    let login = parse::find(&text, address).map_err(|error| NetrcError::Syntax {
        path: path.to_owned(),
        line: error.line,
        reason: error.reason,
    })?;
    match login {
        Some(_) if metadata.uid() != user => Err(NetrcError::Foreign { path: path.to_owned() }),
        Some(_) if metadata.mode() & NOT_OWNER != 0 => Err(NetrcError::Exposed { path: path.to_owned() }),
        login => Ok(login),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(text: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    fn read(text: &[u8], mode: u32) -> Result<Option<Login>, String> {
        read_login(written(text, mode).path(), "a", user()).map_err(|error| one_line(&error))
    }

    fn user() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn token_in_a_file_of_another_user_is_not_used() {
        let file = written(b"machine a login u password secret", 0o600);
        let error = one_line(&read_login(file.path(), "a", user() + 1).unwrap_err());
        assert!(error.contains("belongs to another user") && !error.contains("secret"), "{error}");
        assert_eq!(read_login(file.path(), "other", user() + 1).unwrap(), None);
    }

    #[test]
    fn file_of_the_owner_alone_is_used() {
        let login = read(b"machine a login u password secret", 0o600).unwrap();
        assert_eq!(login, Some(Login::new("u", "secret")));
    }

    #[test]
    fn token_that_others_can_read_is_not_used() {
        for mode in [0o644, 0o640, 0o604] {
            let error = read(b"machine a login u password secret", mode).unwrap_err();
            assert!(error.contains("chmod 600") && !error.contains("secret"), "{error}");
            assert_eq!(read(b"machine other login u password secret", mode).unwrap(), None);
        }
    }

    #[test]
    fn errors_name_the_line_and_quote_nothing() {
        let error = read(b"machine a\nlogin u pasword secret", 0o600).unwrap_err();
        assert!(error.contains(", line 2: ") && !error.contains("secret"), "{error}");
        assert!(read(b"machine a login \xff", 0o600).unwrap_err().contains("cannot read"));
        assert!(read(&vec![b' '; MAX_FILE as usize + 1], 0o600).unwrap_err().contains("more than"));
    }
}

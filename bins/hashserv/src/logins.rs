//! Names and secrets to log in with, held to the bounds of the protocol: nobody could log in with others.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use hashserv_protocol::{MAX_KEY, MAX_TOKEN};

use crate::error::StartError;

/// Checks the name of a user that an option gives.
pub(crate) fn check_user(option: &'static str, name: &str) -> Result<(), StartError> {
    let is_blank = |character: char| character.is_whitespace() || character.is_control();
    let problem = if name.len() > MAX_KEY {
        format!("a name has {MAX_KEY} bytes at most, and this one has {}", name.len())
    } else if name.contains(is_blank) {
        "a name has no blanks and no control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(StartError::Login { option, problem })
}

/// Checks the token or password of a user that an option gives.
pub(crate) fn check_token(option: &'static str, token: &str) -> Result<(), StartError> {
    if token.len() <= MAX_TOKEN {
        return Ok(());
    }
    let problem = format!("a token has {MAX_TOKEN} bytes at most, and this one has {}", token.len());
    Err(StartError::Login { option, problem })
}

/// Reads a token from a regular file of one line. A pipe would be waited for without end, and a device never ends.
pub(crate) fn read_token(path: &Path) -> Result<String, StartError> {
    let contents =
        read_start(path).map_err(|source| StartError::UpstreamTokenFile { path: path.to_owned(), source })?;
    let wrong = |problem| StartError::WrongTokenFile { path: path.to_owned(), problem };
    // What is cut off may end within a character, so the length comes first.
    let token = contents.trim_ascii();
    if token.len() > MAX_TOKEN || contents.len() > 2 * MAX_TOKEN {
        return Err(wrong("holds more than 4,096 bytes, and no token is that long"));
    }
    let token = str::from_utf8(token).map_err(|_| wrong("is not UTF-8, so it holds no token"))?;
    match token {
        "" => Err(StartError::EmptyTokenFile(path.to_owned())),
        _ if token.contains(['\n', '\r']) => Err(wrong("has several lines; leave only the token in it")),
        _ => Ok(token.to_owned()),
    }
}

/// Reads more of a file than a token may have, yet not all of it.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file; name one that holds the token"));
    }
    let mut contents = Vec::new();
    File::open(path)?.take(2 * MAX_TOKEN as u64 + 1).read_to_end(&mut contents)?;
    Ok(contents)
}

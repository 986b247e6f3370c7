//! How people name a database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A database, as `--database` names it.
///
/// | text | database |
/// | --- | --- |
/// | a path without `://`, `sqlite://PATH` with a relative one | SQLite, in that file |
/// | `sqlite:///PATH`, `sqlite+aiosqlite:///PATH` | SQLite: three slashes begin a relative path, four an absolute one |
/// | `postgres://…`, `postgresql://…`, `postgresql+asyncpg://…` | PostgreSQL |
///
/// Neither [`Display`](fmt::Display) nor [`Debug`](fmt::Debug) shows a password.
///
/// ```
/// use hashserv_storage_sql::DatabaseName;
///
/// let name: DatabaseName = "postgresql+asyncpg://hashserv:secret@db.example/hashserv".parse().unwrap();
/// assert_eq!(name.to_string(), "postgresql://hashserv:***@db.example/hashserv");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseName(Place);

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    /// A URL with the scheme `postgresql`; it may hold a password.
    Postgres(String),
}

/// The text names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDatabaseName {
    /// There is no path in it.
    #[error("the name of the database is empty: give the path of a file, or postgresql://USER@HOST/NAME")]
    Empty,
    /// A database in memory would be another one for each connection.
    #[error("a database in memory is not supported: give the path of a file")]
    InMemory,
    /// It begins like a URL, and its slashes are missing. It is not repeated, as it may hold a password.
    #[error(
        "the name begins like a URL and lacks its two slashes: give postgresql://USER@HOST/NAME or sqlite:///PATH; a \
         file of such a name is given as ./NAME"
    )]
    MissingSlashes,
    /// No backend has this scheme.
    #[error("databases of the kind {0}:// are not supported: give a path, sqlite://PATH or postgresql://…")]
    Scheme(String),
}

impl DatabaseName {
    /// The SQLite database in the file `path`.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        DatabaseName(Place::Sqlite(path.into()))
    }

    /// The file, where the database is one of SQLite.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for DatabaseName {
    type Err = InvalidDatabaseName;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseName> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if lacks_slashes(text) {
                Err(InvalidDatabaseName::MissingSlashes)
            } else {
                sqlite_file(text)
            };
        };
        if !is_scheme(scheme) {
            // A URL within a mistyped one, say: what precedes it may hold a password.
            return Err(InvalidDatabaseName::Scheme("***".to_owned()));
        }
        match scheme.split('+').next().unwrap_or(scheme) {
            // SQLAlchemy ends the (empty) host name with a slash; the path comes after it.
            "sqlite" => sqlite_file(rest.strip_prefix('/').unwrap_or(rest)),
            "postgres" | "postgresql" => Ok(DatabaseName(Place::Postgres(format!("postgresql://{rest}")))),
            _ => Err(InvalidDatabaseName::Scheme(scheme.to_owned())),
        }
    }
}

/// Returns whether the text is a mistyped URL: it begins with a scheme of ours, or with any and holds a user.
fn lacks_slashes(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let kind = scheme.split('+').next().unwrap_or(scheme).to_ascii_lowercase();
    is_scheme(scheme) && (["sqlite", "postgres", "postgresql"].contains(&&*kind) || rest.contains('@'))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

fn sqlite_file(path: &str) -> Result<DatabaseName, InvalidDatabaseName> {
    match path {
        "" => Err(InvalidDatabaseName::Empty),
        ":memory:" => Err(InvalidDatabaseName::InMemory),
        _ => Ok(DatabaseName::sqlite(path)),
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "{}", path.display()),
            Place::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseName({self})")
    }
}

/// The URL without what is, or might be, a password: one that holds `/`, `?` or `@` unescaped is hidden too.
pub(crate) fn masked(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let query = url[start..].find('?').map_or(url.len(), |at| start + at);
    if url[query..].contains('@') {
        // Whether a password before the `?` goes on behind it, or one behind it begins there, cannot be told.
        let first = url[start..].find([':', '?']).map_or(query, |at| start + at);
        return format!("{}***", &url[..=first]);
    }
    let user_ends = url[start..query].rfind('@').map(|at| start + at);
    match user_ends.and_then(|end| Some((end, url[start..end].find(':')?))) {
        Some((end, colon)) => format!("{}***{}", &url[..=start + colon], masked_query(&url[end..])),
        None => masked_query(url),
    }
}

/// The text with the values of the parameters named like passwords replaced.
fn masked_query(text: &str) -> String {
    let Some((head, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        Some(_) => parameter.to_owned(),
        // The rest of a password that holds `&`, for all we know.
        None => "***".to_owned(),
    });
    format!("{head}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_sqlalchemy_urls_name_files() {
        for (text, path) in [
            ("hashserv.db", "hashserv.db"),
            ("/var/lib/hashserv.db", "/var/lib/hashserv.db"),
            ("./odd?name#.db", "./odd?name#.db"),
            ("sqlite://hashserv.db", "hashserv.db"),
            ("sqlite://./hashserv.db", "./hashserv.db"),
            ("sqlite:///hashserv.db", "hashserv.db"),
            ("sqlite:////var/lib/hashserv.db", "/var/lib/hashserv.db"),
            ("sqlite+aiosqlite:///data/hashserv.db", "data/hashserv.db"),
            ("sqlite+aiosqlite:////data/hashserv.db", "/data/hashserv.db"),
        ] {
            assert_eq!(text.parse(), Ok(DatabaseName::sqlite(path)), "{text}");
        }
    }

    #[test]
    fn urls_of_postgresql_are_known_by_any_driver() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"] {
            let name: DatabaseName = format!("{scheme}://host/db").parse().unwrap();
            assert_eq!(name.to_string(), "postgresql://host/db");
            assert_eq!(name.sqlite_path(), None);
        }
    }

    #[test]
    fn what_names_no_database_is_refused_without_repeating_it() {
        for text in ["", "sqlite://", "sqlite:///", ":memory:", "sqlite+aiosqlite:///:memory:"] {
            assert!(text.parse::<DatabaseName>().is_err(), "{text}");
        }
        let error = "mysql://u:secret@h/db".parse::<DatabaseName>().unwrap_err();
        assert!(error.to_string().contains("mysql://") && !error.to_string().contains("secret"));
    }

    #[test]
    fn url_without_its_slashes_is_no_file() {
        for text in [
            "postgresql:/u:secret@h/x",
            "postgresql:u:secret@h/x",
            "PostgreSQL:/u:secret@h/x",
            "postgres+asyncpg:/u:secret@h/x",
            "postgresq:/u:secret@h/x",
            "u:secret@h/x",
            "sqlite:/secret.db",
            "postgresql:/u:secret@h://x",
        ] {
            let error = text.parse::<DatabaseName>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        for text in ["./postgresql:/u:x@h", "/a:b@c.db", "a:b.db", "C:hash.db"] {
            assert_eq!(text.parse(), Ok(DatabaseName::sqlite(text)), "{text}");
        }
    }

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("postgres://u@h/db", "postgresql://u@h/db"),
            ("postgres://u:secret@h:5432/db", "postgresql://u:***@h:5432/db"),
            ("postgres://u:sec/ret@h/db", "postgresql://u:***@h/db"),
            ("postgres://u:sec?ret@h/db", "postgresql://u:***"),
            ("postgres://u:sec@ret@h/db", "postgresql://u:***@h/db"),
            ("postgres://u:s@ec?ret@h/db", "postgresql://u:***"),
            ("postgres://:secret@h/db?x=1", "postgresql://:***@h/db?x=1"),
            ("postgres://127.0.0.1:1/db?user=u&password=p@secret", "postgresql://127.0.0.1:***"),
            ("postgres://h/db?password=p@secret", "postgresql://h/db?***"),
            ("postgres://u@h/db?password=p&secret", "postgresql://u@h/db?password=***&***"),
            ("postgres://h/db?user=u&password=secret&x=1", "postgresql://h/db?user=u&password=***&x=1"),
        ] {
            let name: DatabaseName = url.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert!(!format!("{name:?}").contains("secret"), "{url}");
        }
    }
}

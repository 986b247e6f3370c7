//! Text of a database that may hold anything.

/// Makes text of bytes; what is not UTF-8 becomes replacement characters (U+FFFD), which no hash has.
///
/// SQLite stores any bytes in any column. One row of them must not fail what is read together with it.
pub(crate) fn lenient(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

//! What is particular about SQLite: files of other servers, read-only places, processes that die.
#![cfg(feature = "sqlite")]

mod sqlite {
    mod read_only;
    mod reference;
    mod support;
    mod surviving;
}

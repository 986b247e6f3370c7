//! What is particular about SQLite: files of other servers, read-only places, processes that die.
#![cfg(feature = "sqlite")]

mod sqlite {
    mod junk;
    mod lost;
    mod read_only;
    mod reference;
    mod room;
    mod support;
    mod surviving;
}

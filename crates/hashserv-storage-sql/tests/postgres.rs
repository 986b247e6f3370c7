//! What is particular about PostgreSQL: databases of other servers, several servers on one, failures.
#![cfg(feature = "postgres")]

mod postgres {
    mod failures;
    mod indexes;
    mod marks;
    mod read_only;
    mod reference;
    mod removals;
    mod sharing;
    mod slowness;
    mod support;
}

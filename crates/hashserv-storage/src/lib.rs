//! What a hash equivalence server stores.
//!
//! This crate is the line between the rules of hash equivalence and the databases that keep its data. It
//! holds
//!
//! - [`Storage`], the trait that a database backend implements,
//! - the types that cross it: [`TaskKey`], [`Unihash`], [`Report`], [`OuthashRow`], [`Conditions`], …,
//! - [`StorageError`], which knows no driver,
//! - with the feature `conformance`, for tests only: a suite that every backend must pass, and a database
//!   that hinders its callers.
//!
//! It knows neither a wire format nor a database. The words are those of the field: a *taskhash* names a
//! task's inputs, an *outhash* its output, a *unihash* is what all taskhashes with one output share, and all
//! of them live within a *method*.

mod conditions;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod gc;
#[cfg(feature = "conformance")]
pub mod hindered;
mod key;
mod report;
mod row;
mod storage;
mod timestamp;
mod unihash;
mod usage;
mod user;

pub use conditions::{Column, Conditions};
pub use error::StorageError;
pub use gc::{GcStatus, MarkRequest, Sweep};
pub use key::{OuthashKey, TaskKey};
pub use report::{Details, Report, UnihashEntry};
pub use row::{OuthashRow, StoredUnihash, UnifiedRow};
pub use storage::{MAX_BATCH, Storage};
pub use timestamp::Timestamp;
pub use unihash::{InvalidUnihash, Unihash};
pub use usage::TableUsage;
pub use user::{NewUser, UserRecord};

//! Hashes and requests that many tests need.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The method of the reports.
pub const METHOD: &str = "TestMethod";

/// The SHA-256 of a name: 64 lower-case hex digits.
#[must_use]
pub fn hash(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is what BitBake may use as a unihash: 64 lower-case hex digits.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A report of `taskhash`, `outhash` and `unihash`, as they are.
#[must_use]
pub fn report_of(taskhash: &str, outhash: &str, unihash: &str) -> Value {
    json!({"report": {"method": METHOD, "taskhash": taskhash, "outhash": outhash, "unihash": unihash}})
}

/// A report of a task whose hashes come from its name: see [`task_of`] and [`unihash_of`].
#[must_use]
pub fn report(name: &str) -> Value {
    report_of(&task_of(name), &hash(&format!("out {name}")), &unihash_of(name))
}

/// The taskhash in the [`report`] of this name.
#[must_use]
pub fn task_of(name: &str) -> String {
    hash(&format!("task {name}"))
}

/// The unihash in the [`report`] of this name.
#[must_use]
pub fn unihash_of(name: &str) -> String {
    hash(&format!("uni {name}"))
}

/// A request for the unihash of a task.
#[must_use]
pub fn get(taskhash: &str) -> Value {
    json!({"get": {"method": METHOD, "taskhash": taskhash}})
}

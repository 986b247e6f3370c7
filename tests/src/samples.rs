//! Hashes and requests that many tests need.

use serde_json::{Value, json};

/// The method of the reports.
pub const METHOD: &str = "TestMethod";

/// A hash of 64 lower-case hex digits that is different for every name.
#[must_use]
pub fn hash(name: &str) -> String {
    // FNV-1a, four times with different seeds: it need not be secure, only distinct.
    let seeds =
        [0xcbf2_9ce4_8422_2325_u64, 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x94d0_49bb_1331_11eb];
    let digest = |seed: u64| {
        name.bytes().fold(seed, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    seeds.iter().map(|seed| format!("{:016x}", digest(*seed))).collect()
}

/// A report of `taskhash`, `outhash` and `unihash`, as they are.
#[must_use]
pub fn report_of(taskhash: &str, outhash: &str, unihash: &str) -> Value {
    json!({"report": {"method": METHOD, "taskhash": taskhash, "outhash": outhash, "unihash": unihash}})
}

/// A report of a task whose hashes come from its name.
#[must_use]
pub fn report(name: &str) -> Value {
    report_of(&hash(&format!("task {name}")), &hash(&format!("out {name}")), &hash(&format!("uni {name}")))
}

//! Hashes that are the same in every run.

/// The method of all hashes here.
pub(crate) const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// How many bytes a hash has as text.
pub(crate) const HASH: usize = 64;

/// What a hash stands for; items of one number have a hash of each kind.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Taskhash = 1,
    Outhash = 2,
    Unihash = 3,
}

/// Appends the hash of an item: 64 hex digits, in no order that a database could profit by.
pub(crate) fn append_hash(kind: Kind, number: u64, out: &mut Vec<u8>) {
    let seed = (kind as u64).wrapping_mul(0x1234_5678_9ABC_DEF1);
    for part in 0..4 {
        let bits = mix(mix(number.wrapping_mul(4).wrapping_add(part)) ^ seed);
        for byte in bits.to_be_bytes() {
            out.extend_from_slice(&HEX[usize::from(byte)]);
        }
    }
}

/// The hash of an item as text of its own.
pub(crate) fn hash(kind: Kind, number: u64) -> String {
    let mut text = Vec::with_capacity(HASH);
    append_hash(kind, number, &mut text);
    text.into_iter().map(char::from).collect()
}

/// Which items are asked for.
pub(crate) enum Numbers {
    /// Any of the first `keys`, evenly.
    Random { state: u64, keys: u64 },
    /// One after the other, over and over.
    InTurn { next: u64, keys: u64 },
}

impl Numbers {
    /// Each `seed` makes a sequence of its own.
    pub(crate) fn random(seed: u64, keys: u64) -> Self {
        Numbers::Random { state: mix(seed), keys }
    }

    pub(crate) fn in_turn(keys: u64) -> Self {
        Numbers::InTurn { next: 0, keys }
    }

    pub(crate) fn next(&mut self) -> u64 {
        match self {
            Numbers::Random { state, keys } => {
                *state = mix(*state);
                *state % *keys
            }
            Numbers::InTurn { next, keys } => {
                let number = *next % *keys;
                *next += 1;
                number
            }
        }
    }
}

/// A step of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut bits = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

const HEX: [[u8; 2]; 256] = hex_pairs();

const fn hex_pairs() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
}

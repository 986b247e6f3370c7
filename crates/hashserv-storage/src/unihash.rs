//! The unified hash.

use std::fmt;

/// How many hex digits a reported unihash has.
const DIGITS: usize = 64;

/// The hash that all equivalent taskhashes share.
///
/// 64 lower-case hex digits are kept as 32 bytes; whatever else an older server has stored is kept as text.
///
/// A unihash that comes from a client or an upstream must be made with [`Unihash::parse`]: BitBake expands
/// unihashes as text of its configuration language, so anything but hex digits would be run as code on
/// every builder.
///
/// ```
/// use hashserv_storage::Unihash;
///
/// let text = "b1".repeat(32);
/// assert_eq!(Unihash::parse(&text).unwrap().to_string(), text);
/// assert!(Unihash::parse("${@os.system('true')}").is_err());
/// assert_eq!(Unihash::from_stored("older servers stored such").to_string(), "older servers stored such");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unihash(Form);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Digest([u8; DIGITS / 2]),
    /// Never text that has the form of a digest, so that equal unihashes are equal values.
    Text(Box<str>),
}

/// The text is not a unihash that may be accepted: it is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unihash must be 64 lower-case hex digits")]
pub struct InvalidUnihash;

impl Unihash {
    /// Accepts a unihash from outside.
    ///
    /// # Errors
    ///
    /// [`InvalidUnihash`] for anything but exactly 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidUnihash> {
        decode_digest(text).map(|digest| Unihash(Form::Digest(digest))).ok_or(InvalidUnihash)
    }

    /// Takes a unihash as the database has it, or as a client asks about it: any text.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Unihash(decode_digest(text).map_or_else(|| Form::Text(text.into()), Form::Digest))
    }

    /// The 32 bytes, where the unihash is 64 lower-case hex digits.
    #[must_use]
    pub fn digest(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Form::Digest(digest) => Some(digest),
            Form::Text(_) => None,
        }
    }

    /// Appends the text of the unihash to `out`, without allocating for it.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Digest(digest) => out.extend_from_slice(encode_digest(digest).as_bytes()),
            Form::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl From<[u8; 32]> for Unihash {
    fn from(digest: [u8; 32]) -> Self {
        Unihash(Form::Digest(digest))
    }
}

impl fmt::Display for Unihash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Digest(digest) => f.pad(encode_digest(digest).as_str()),
            Form::Text(text) => f.pad(text),
        }
    }
}

impl fmt::Debug for Unihash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unihash({self})")
    }
}

fn encode_digest(digest: &[u8; 32]) -> const_hex::Buffer<32> {
    const_hex::const_encode::<32, false>(digest)
}

/// The bytes of 64 lower-case hex digits.
fn decode_digest(text: &str) -> Option<[u8; DIGITS / 2]> {
    let bytes = text.as_bytes();
    if bytes.len() != DIGITS || bytes.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut digest = [0; DIGITS / 2];
    const_hex::decode_to_slice(bytes, &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_64_lower_case_hex_digits_are_parsed() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(Unihash::parse(&good).unwrap().to_string(), good);
        for bad in [
            String::new(),
            "a".repeat(63),
            "a".repeat(65),
            "A".repeat(64),
            "g".repeat(64),
            format!("0x{}", "a".repeat(62)),
            format!("0x{}", "a".repeat(64)),
            format!("{}\n", "a".repeat(64)),
            format!("{}\u{e9}", "a".repeat(62)),
        ] {
            assert_eq!(Unihash::parse(&bad), Err(InvalidUnihash), "{bad:?}");
        }
    }

    #[test]
    fn the_same_text_is_the_same_unihash_however_it_came() {
        let text = "ab".repeat(32);
        assert_eq!(Unihash::parse(&text).unwrap(), Unihash::from_stored(&text));
        assert_ne!(Unihash::from_stored(&text), Unihash::from_stored(&text.to_uppercase()));
    }

    proptest! {
        #[test]
        fn any_stored_text_comes_back(text in ".*") {
            let unihash = Unihash::from_stored(&text);
            let mut bytes = Vec::new();
            unihash.append_to(&mut bytes);
            prop_assert_eq!(bytes, text.as_bytes());
            prop_assert_eq!(unihash.to_string(), text);
        }

        #[test]
        fn any_digest_comes_back(digest in any::<[u8; 32]>()) {
            let unihash = Unihash::from(digest);
            prop_assert_eq!(unihash.digest(), Some(&digest));
            prop_assert_eq!(Unihash::parse(&unihash.to_string()), Ok(unihash));
        }
    }
}

//! Tokens: the secrets that users log in with.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How many random bytes a token is made of; in base64 they are 64 characters without padding.
const BYTES: usize = 48;

/// The alphabet of base64 with `.` and `_` in place of `+` and `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// The secret that a user logs in with. It is never stored and never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new random token of 64 characters.
    ///
    /// # Panics
    ///
    /// Where the system has no randomness to give, which leaves nothing sensible to do.
    #[must_use]
    pub fn random() -> Self {
        let mut text = String::with_capacity(64);
        for group in random_bytes::<BYTES>().chunks_exact(3) {
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            for shift in [18, 12, 6, 0] {
                text.push(char::from(ALPHABET[(bits >> shift) as usize & 63]));
            }
        }
        Token(text)
    }

    /// What is stored of the token: `sha256:SALT:HEX`, with a new salt.
    #[must_use]
    pub fn to_stored_hash(&self) -> String {
        let salt = const_hex::encode(random_bytes::<8>());
        format!("sha256:{salt}:{}", self.digest(&salt))
    }

    /// Whether this is the token of which `stored` is kept. Takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, stored: &str) -> bool {
        let mut parts = stored.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("sha256"), Some(salt), Some(hex), None) => {
                self.digest(salt).as_bytes().ct_eq(hex.as_bytes()).into()
            }
            _ => false,
        }
    }

    /// The text, to hand it out.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn digest(&self, salt: &str) -> String {
        const_hex::encode(Sha256::new().chain_update(salt).chain_update(&self.0).finalize())
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Token(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "a server without randomness must not hand out tokens")]
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_tokens_have_64_characters_and_differ() {
        let (a, b) = (Token::random(), Token::random());
        assert_ne!(a, b);
        for token in [a, b] {
            assert_eq!(token.reveal().len(), 64);
            assert!(token.reveal().bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn a_token_matches_what_is_stored_of_it_alone() {
        let token = Token::from("correct-horse".to_owned());
        let stored =
            "sha256:c6980aae6c68736a:cbeead74b3d021673f7a4edc05a2fa88b714e6a66d40b43106cb4fd18fcdef21";
        assert!(token.matches(stored), "what BitBake's server has stored");
        assert!(token.matches(&token.to_stored_hash()));
        assert_ne!(token.to_stored_hash(), token.to_stored_hash(), "the salt differs");
        for other in ["", "sha256", "md5:a:b", "sha256::", &format!("{stored}:x")] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(!Token::from("battery-staple".to_owned()).matches(stored));
    }

    #[test]
    fn a_token_is_not_printed_by_accident() {
        assert_eq!(format!("{:?}", Token::from("secret".to_owned())), "Token(…)");
    }
}

//! `$1$salt$hash`: crypt(3) MD5, PostfixAdmin's default up to 3.x. Made only where the
//! site says that its panel reads nothing better.

use md5::block_api::compress;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::FormatError;
use super::encoding::{is_crypt64, push_digits, salt_text};

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash(String);

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = text.split('$');
        let (Some(""), Some("1"), Some(salt), Some(hash), None) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            return Err(FormatError::Malformed);
        };
        if salt.len() > 8 || !is_crypt64(salt) || hash.len() != 22 || !is_crypt64(hash) {
            return Err(FormatError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        let computed = compute(&self.0, password).ok_or(FormatError::Malformed)?;
        Ok(computed.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

/// A new value.
pub fn store(password: &[u8], salt: &[u8; 16]) -> Option<String> {
    compute(&format!("$1${}$", salt_text(&salt[..8])), password)
}

/// Rounds of the scheme; there is no parameter.
const ROUNDS: usize = 1_000;
/// MD5 works on blocks of this many octets (RFC 1321 3.4), ...
const BLOCK: usize = 64;
/// ... and what is not longer than this fits into one of them with its padding and length (3.1, 3.2).
const ONE_BLOCK: usize = 55;
/// The state with which MD5 begins (RFC 1321 3.3).
const BEGIN: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// The order in which the octets of the result are written, three to a group.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// The value of a password with the salt of another value, `$1$salt$...`.
fn compute(setting: &str, password: &[u8]) -> Option<String> {
    let salt = setting.strip_prefix("$1$")?.split('$').next()?;
    let digest = digest(salt.as_bytes(), password);
    let mut text = format!("$1${salt}$");
    let octet = |index: usize| u32::from(digest[index]);
    for [high, middle, low] in ORDER {
        push_digits(&mut text, octet(high) << 16 | octet(middle) << 8 | octet(low), 4);
    }
    push_digits(&mut text, octet(11), 2);
    Some(text)
}

/// The scheme itself. Its thousand rounds are nearly all of a login's time where this is how passwords are stored, so
/// they go straight to MD5's blocks where they can.
fn digest(salt: &[u8], password: &[u8]) -> [u8; 16] {
    let mut message = Message::new(2 * password.len() + salt.len() + 64);
    message.add(password);
    message.add(salt);
    message.add(password);
    let inner = message.digest();
    message.clear();
    message.add(password);
    message.add(b"$1$");
    message.add(salt);
    for piece in password.chunks(inner.len()) {
        message.add(&inner[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // Somebody's slip of 1994 that became the format: a zero, or the first letter.
        message.add(if bits & 1 == 1 { b"\0" } else { &password[..1] });
        bits >>= 1;
    }
    let mut hash = message.digest();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        message.clear();
        message.add(if odd { password } else { &hash });
        if !round.is_multiple_of(3) {
            message.add(salt);
        }
        if !round.is_multiple_of(7) {
            message.add(password);
        }
        message.add(if odd { &hash } else { password });
        hash = message.digest();
    }
    hash
}

/// A message for MD5, reused from round to round.
struct Message(Zeroizing<Vec<u8>>);

impl Message {
    /// With room for the longest, so that no copy is left behind where it would have to grow.
    fn new(longest: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(longest)))
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn add(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn digest(&self) -> [u8; 16] {
        let message = &self.0;
        if message.len() > ONE_BLOCK {
            return Md5::digest(message.as_slice()).into();
        }
        let mut block = [0; BLOCK];
        block[..message.len()].copy_from_slice(message);
        block[message.len()] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&(message.len() as u64 * 8).to_le_bytes());
        let mut state = BEGIN;
        compress(&mut state, &[block]);
        block.zeroize();
        let mut digest = [0; 16];
        for (octets, word) in digest.chunks_exact_mut(4).zip(state) {
            octets.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    //! Against another implementation; values of other programs are in `made_by_others.tsv`.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_another_implementation(
            password in prop::collection::vec(any::<u8>(), 0..80),
            salt in "[./0-9A-Za-z]{1,8}",
        ) {
            let setting = format!("$1${salt}$");
            #[expect(deprecated, reason = "it warns of making new hashes")]
            let theirs = crypt3_rs::crypt::md5::hash_with(setting.as_str(), &password).unwrap();
            prop_assert_eq!(compute(&setting, &password).unwrap(), theirs.to_string());
        }
    }
}

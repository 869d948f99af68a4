//! `$2a$`, `$2b$`, `$2y$`: bcrypt.

use super::FormatError;

/// Highest cost: about a second.
const MAX_COST: u32 = 14;
/// The cost of new values, PHP's default.
pub const NEW_COST: u32 = 10;

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    text: String,
    cost: u32,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        // $2y$cc$ + 22 characters of salt + 31 of hash
        let bytes = text.as_bytes();
        let crypt64 = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.' || *b == b'/';
        if bytes.len() != 60 || bytes[6] != b'$' || !bytes[7..].iter().all(crypt64) {
            return Err(FormatError::Malformed);
        }
        let (tens, ones) = (bytes[4], bytes[5]);
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return Err(FormatError::Malformed);
        }
        match u32::from(tens - b'0') * 10 + u32::from(ones - b'0') {
            0..4 => Err(FormatError::Malformed),
            cost @ 4..=MAX_COST => Ok(Self {
                text: text.to_owned(),
                cost,
            }),
            _ => Err(FormatError::TooExpensive),
        }
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        // The crate compares in constant time. What follows octet 72 is ignored, as by everybody.
        bcrypt::verify(password, &self.text).map_err(|_| FormatError::Malformed)
    }

    /// log2 of the rounds.
    pub fn cost(&self) -> u32 {
        self.cost
    }
}

/// A new `$2y$` value.
pub fn store(password: &[u8], salt: [u8; 16]) -> Option<String> {
    let parts = bcrypt::non_truncating_hash_with_salt(password, NEW_COST, salt).ok()?;
    Some(parts.format_for_version(bcrypt::Version::TwoY))
}

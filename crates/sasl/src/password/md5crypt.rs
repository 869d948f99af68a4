//! `$1$salt$hash`: crypt(3) MD5, PostfixAdmin's default up to 3.x. Made only where the
//! site says that its panel reads nothing better.

use subtle::ConstantTimeEq as _;

use super::FormatError;
use super::encoding::{is_crypt64, salt_text};

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

/// The value of a password with the salt of another value.
fn compute(setting: &str, password: &[u8]) -> Option<String> {
    // The crate calls itself deprecated to keep people from making new hashes with it.
    #[allow(deprecated)]
    let hash = crypt3_rs::crypt::md5::hash_with(setting, password).ok()?;
    Some(hash.to_string())
}

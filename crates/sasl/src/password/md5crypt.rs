//! `$1$salt$hash`: crypt(3) MD5, PostfixAdmin's default up to 3.x. Verified, never made.

use subtle::ConstantTimeEq as _;

use super::FormatError;

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
        let crypt64 = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
        };
        if salt.len() > 8 || !crypt64(salt) || hash.len() != 22 || !crypt64(hash) {
            return Err(FormatError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        // The crate calls itself deprecated to keep people from making new hashes with it.
        #[allow(deprecated)]
        let computed = crypt3_rs::crypt::md5::hash_with(self.0.as_str(), password)
            .map_err(|_| FormatError::Malformed)?
            .to_string();
        Ok(computed.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

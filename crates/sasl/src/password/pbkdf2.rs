//! Dovecot's `{PBKDF2}`: `$1$salt$rounds$` and 40 hex digits of PBKDF2 with HMAC-SHA-1 (RFC 8018). Verified,
//! never made.

use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::FormatError;
use super::encoding::hex;

/// Most rounds: about a second.
const MAX_ROUNDS: u32 = 500_000;
/// Longest salt.
const MAX_SALT: usize = 64;

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    salt: String,
    rounds: u32,
    hash: Vec<u8>,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let fields: Vec<&str> = text.split('$').collect();
        let ["", "1", salt, rounds, hash] = fields[..] else {
            return Err(FormatError::Malformed);
        };
        let hash = hex(hash)?;
        let digits = !rounds.is_empty() && rounds.bytes().all(|b| b.is_ascii_digit());
        if salt.is_empty() || salt.len() > MAX_SALT || !digits || hash.len() != 20 {
            return Err(FormatError::Malformed);
        }
        // A number that does not even fit is surely over the cap.
        match rounds.parse().unwrap_or(u32::MAX) {
            0 => Err(FormatError::Malformed),
            rounds @ 1..=MAX_ROUNDS => Ok(Self {
                salt: salt.to_owned(),
                rounds,
                hash,
            }),
            _ => Err(FormatError::TooExpensive),
        }
    }

    /// Rounds.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    pub fn verify(&self, password: &[u8]) -> bool {
        let mut computed = Zeroizing::new([0; 20]);
        pbkdf2::pbkdf2_hmac::<Sha1>(password, self.salt.as_bytes(), self.rounds, &mut *computed);
        computed.ct_eq(self.hash.as_slice()).into()
    }
}

//! `{SCRAM-SHA-1}` and `{SCRAM-SHA-256}`: what a SCRAM server needs (RFC 5802 3), which a plain password can
//! be checked against too. `rounds,salt,StoredKey,ServerKey`, the last three in base64.

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::FormatError;
use super::encoding::base64;

/// Most rounds: about half a second.
const MAX_ROUNDS: u32 = 500_000;
/// Longest salt.
const MAX_SALT: usize = 64;

/// The hash function of SCRAM keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
}

/// A checked value. The keys let nobody log in by a password, but they do by SCRAM: not for logs.
#[derive(Clone)]
pub struct Keys {
    /// The hash function.
    pub kind: Kind,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// The salt, decoded.
    pub salt: Vec<u8>,
    /// H(ClientKey).
    pub stored_key: Zeroizing<Vec<u8>>,
    /// What the server proves itself with.
    pub server_key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?}, {})", self.kind, self.iterations)
    }
}

impl Keys {
    /// Reads `rounds,salt,StoredKey,ServerKey`.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, FormatError> {
        let fields: Vec<&str> = text.split(',').collect();
        let [rounds, salt, stored_key, server_key] = fields[..] else {
            return Err(FormatError::Malformed);
        };
        if rounds.is_empty() || !rounds.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FormatError::Malformed);
        }
        let length = match kind {
            Kind::Sha1 => 20,
            Kind::Sha256 => 32,
        };
        let (salt, stored_key, server_key) = (base64(salt)?, base64(stored_key)?, base64(server_key)?);
        let complete = stored_key.len() == length && server_key.len() == length;
        if !complete || salt.is_empty() || salt.len() > MAX_SALT {
            return Err(FormatError::Malformed);
        }
        // A number that does not even fit is surely over the cap.
        let iterations = match rounds.parse().unwrap_or(u32::MAX) {
            0 => return Err(FormatError::Malformed),
            rounds @ 1..=MAX_ROUNDS => rounds,
            _ => return Err(FormatError::TooExpensive),
        };
        Ok(Self {
            kind,
            iterations,
            salt,
            stored_key: stored_key.into(),
            server_key: server_key.into(),
        })
    }

    /// Whether these are the keys of a password; `Malformed` should the hash function refuse the key.
    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        let computed = match self.kind {
            Kind::Sha1 => self.compute::<Sha1>(password),
            Kind::Sha256 => self.compute::<Sha256>(password),
        };
        let computed = computed.ok_or(FormatError::Malformed)?;
        Ok(computed.as_slice().ct_eq(&self.stored_key).into())
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sha1 => "SCRAM-SHA-1",
            Kind::Sha256 => "SCRAM-SHA-256",
        }
    }

    /// The StoredKey of a password, which is taken as it is, as other programs do.
    fn compute<D: EagerHash>(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut salted = Zeroizing::new(vec![0; <D as sha2::Digest>::output_size()]);
        pbkdf2::pbkdf2_hmac::<D>(password, &self.salt, self.iterations, &mut salted);
        let mut mac = Hmac::<D>::new_from_slice(&salted).ok()?;
        mac.update(b"Client Key");
        let client_key = Zeroizing::new(mac.finalize().into_bytes().to_vec());
        Some(D::digest(&*client_key).to_vec())
    }
}

//! One pass of MD5, SHA-1, SHA-256 or SHA-512 over the password and perhaps a salt: the schemes of LDAP, of
//! Courier's authlib and of pam_mysql. Verified, never made.

use mail_types::Secret;
use md5::Md5;
use sha1::Sha1;
use sha2::Digest;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::FormatError;
use super::encoding::{base64, hex};

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
}

impl Kind {
    /// Octets of the digest.
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The digest of two parts, one behind the other.
    fn digest(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(password: &[u8], salt: &[u8]) -> Vec<u8> {
            D::new()
                .chain_update(password)
                .chain_update(salt)
                .finalize()
                .to_vec()
        }
        match self {
            Self::Md5 => of::<Md5>(password, salt),
            Self::Sha1 => of::<Sha1>(password, salt),
            Self::Sha256 => of::<Sha256>(password, salt),
            Self::Sha512 => of::<Sha512>(password, salt),
        }
    }
}

/// Longest salt; others write 4 to 16 octets.
const MAX_SALT: usize = 64;

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    kind: Kind,
    digest: Secret,
    salt: Vec<u8>,
}

impl Hash {
    /// The digest alone, as hex digits or base64: the length tells which.
    pub fn unsalted(kind: Kind, text: &str) -> Result<Self, FormatError> {
        let bytes = match text.len() == 2 * kind.length() {
            true => hex(text)?,
            false => base64(text)?,
        };
        Self::from_bytes(kind, bytes, false)
    }

    /// Base64 of the digest and the salt behind it.
    pub fn salted(kind: Kind, text: &str) -> Result<Self, FormatError> {
        Self::from_bytes(kind, base64(text)?, true)
    }

    /// The same decoded: the salt is what follows the digest.
    pub fn from_bytes(kind: Kind, mut bytes: Vec<u8>, salted: bool) -> Result<Self, FormatError> {
        if bytes.len() < kind.length() {
            return Err(FormatError::Malformed);
        }
        let salt = bytes.split_off(kind.length());
        // A salted digest without its salt was cut off; a salt where none belongs is another scheme.
        if salt.is_empty() == salted || salt.len() > MAX_SALT {
            return Err(FormatError::Malformed);
        }
        Ok(Self {
            kind,
            digest: Secret::new(bytes),
            salt,
        })
    }

    pub fn verify(&self, password: &[u8]) -> bool {
        self.kind
            .digest(password, &self.salt)
            .ct_eq(self.digest.expose())
            .into()
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match (self.kind, self.salt.is_empty()) {
            (Kind::Md5, true) => "PLAIN-MD5",
            (Kind::Md5, false) => "SMD5",
            (Kind::Sha1, true) => "SHA",
            (Kind::Sha1, false) => "SSHA",
            (Kind::Sha256, true) => "SHA256",
            (Kind::Sha256, false) => "SSHA256",
            (Kind::Sha512, true) => "SHA512",
            (Kind::Sha512, false) => "SSHA512",
        }
    }

    /// Whether equal passwords have different values.
    pub fn is_salted(&self) -> bool {
        !self.salt.is_empty()
    }
}

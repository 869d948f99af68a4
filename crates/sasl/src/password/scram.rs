//! `{SCRAM-SHA-1}` and `{SCRAM-SHA-256}`: what a SCRAM server needs (RFC 5802 3), which a plain password can
//! be checked against too. `rounds,salt,StoredKey,ServerKey`, the last three in base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use hmac::digest::Key;
use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail_types::Secret;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::FormatError;
use super::encoding::base64;

/// Most rounds: about a second.
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

impl Kind {
    /// Octets of a digest, a key or a proof.
    pub fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// H.
    pub fn hash(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(message).to_vec(),
            Self::Sha256 => Sha256::digest(message).to_vec(),
        }
    }

    /// HMAC with H.
    pub fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => hmac::<Sha1>(key, message),
            Self::Sha256 => hmac::<Sha256>(key, message),
        }
    }

    fn compute(self, password: &[u8], iterations: u32, salt: &[u8]) -> KeyPair {
        match self {
            Self::Sha1 => compute::<Sha1>(password, iterations, salt),
            Self::Sha256 => compute::<Sha256>(password, iterations, salt),
        }
    }
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
        let length = kind.size();
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

    /// The keys of a password, which SASLprep (RFC 4013) prepares where it can: the clients prepare it too.
    /// PBKDF2 with so many rounds: work for a pool.
    pub fn derive(kind: Kind, password: &Secret, iterations: u32, salt: Vec<u8>) -> Self {
        let prepared = password
            .expose_str()
            .and_then(|text| stringprep::saslprep(text).ok());
        let prepared = match &prepared {
            Some(text) => text.as_bytes(),
            None => password.expose(),
        };
        let (stored_key, server_key) = kind.compute(prepared, iterations, &salt);
        Self {
            kind,
            iterations,
            salt,
            stored_key,
            server_key,
        }
    }

    /// `{SCRAM-SHA-256}rounds,salt,StoredKey,ServerKey`, as [`Keys::parse`] reads it behind the mark.
    pub fn to_column(&self) -> Secret {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        Secret::new(format!(
            "{{{}}}{},{salt},{stored_key},{server_key}",
            self.name(),
            self.iterations
        ))
    }

    /// Whether these are the keys of a password.
    pub fn verify(&self, password: &[u8]) -> bool {
        let (stored_key, _) = self.kind.compute(password, self.iterations, &self.salt);
        stored_key.ct_eq(&self.stored_key).into()
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sha1 => "SCRAM-SHA-1",
            Kind::Sha256 => "SCRAM-SHA-256",
        }
    }
}

/// The keys of a password, as it is, as other programs do: StoredKey and ServerKey.
type KeyPair = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

fn compute<D: EagerHash>(password: &[u8], iterations: u32, salt: &[u8]) -> KeyPair {
    let mut salted = Zeroizing::new(vec![0; <D as sha2::Digest>::output_size()]);
    pbkdf2::pbkdf2_hmac::<D>(password, salt, iterations, &mut salted);
    let client_key = Zeroizing::new(hmac::<D>(&salted, b"Client Key"));
    (
        D::digest(&*client_key).to_vec().into(),
        hmac::<D>(&salted, b"Server Key").into(),
    )
}

fn hmac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8> {
    // The key is filled up with zeros to the block of the hash (RFC 2104 2), or hashed when it is longer.
    let mut block = Zeroizing::new(Key::<Hmac<D>>::default().to_vec());
    let digest;
    let key = if key.len() > block.len() {
        digest = Zeroizing::new(D::digest(key).to_vec());
        &digest[..]
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut filled = Key::<Hmac<D>>::default();
    filled.copy_from_slice(&block);
    let mut mac = Hmac::<D>::new(&filled);
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 3 and RFC 5802 5: the passwords of the examples; written and read again.
    #[test]
    fn derived_written_and_read() {
        for kind in [Kind::Sha1, Kind::Sha256] {
            let keys = Keys::derive(kind, &Secret::new("pencil"), 4096, vec![1; 16]);
            let column = keys.to_column();
            let column = column.expose_str().unwrap();
            let (mark, text) = column.split_once('}').unwrap();
            assert_eq!(mark, format!("{{{}", keys.name()));
            let read = Keys::parse(kind, text).unwrap();
            assert_eq!((read.iterations, &read.salt), (4096, &vec![1; 16]));
            assert_eq!(read.server_key, keys.server_key);
            assert!(read.verify(b"pencil") && !read.verify(b"Pencil"));
        }
    }

    /// RFC 4013 3: a no-break space is mapped to a space, the soft hyphen to nothing.
    #[test]
    fn passwords_are_prepared() {
        let keys = Keys::derive(Kind::Sha256, &Secret::new("I\u{ad}X\u{a0}y"), 1, vec![1]);
        assert!(keys.verify(b"IX y"));
        // What it prohibits is taken as it is.
        let keys = Keys::derive(Kind::Sha256, &Secret::new("a\u{7}"), 1, vec![1]);
        assert!(keys.verify(b"a\x07"));
    }

    /// RFC 2202 3 and RFC 4231 4.7: a long key is hashed.
    #[test]
    fn hmac_with_a_long_key() {
        let digest = Kind::Sha1.hmac(
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        assert_eq!(digest[..4], [0xaa, 0x4a, 0xe5, 0xe1]);
        let digest = Kind::Sha256.hmac(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        assert_eq!(digest[..4], [0x60, 0xe4, 0x31, 0x59]);
    }
}

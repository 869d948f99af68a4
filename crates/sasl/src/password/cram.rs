//! `{CRAM-MD5}`: the two states of HMAC-MD5 after its key, 64 hex digits. A plain password can be checked
//! against them, and so can the answer of a CRAM-MD5 client (RFC 2195), but the password is not in them.

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::digest::common::hazmat::{SerializableState as _, SerializedState};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::FormatError;
use super::encoding::hex;

/// The block of MD5.
const BLOCK: usize = 64;
/// The state of MD5.
const STATE: usize = 16;

/// The states of HMAC-MD5 (RFC 2104) after the key: the outer one, then the inner one.
#[derive(Clone)]
pub struct Contexts(Zeroizing<[u8; 2 * STATE]>);

impl std::fmt::Debug for Contexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // As good as the password for CRAM-MD5.
        f.write_str("Contexts")
    }
}

impl Contexts {
    /// 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Self::from_bytes(&hex(text)?)
    }

    /// The same decoded.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let states = bytes.try_into().map_err(|_| FormatError::Malformed)?;
        Ok(Self(Zeroizing::new(states)))
    }

    /// The contexts of a password.
    pub fn of(password: &[u8]) -> Self {
        // A key longer than a block is hashed first.
        let digest;
        let key = if password.len() > BLOCK {
            digest = Zeroizing::new(<[u8; STATE]>::from(Md5::digest(password)));
            &digest[..]
        } else {
            password
        };
        let mut states = Zeroizing::new([0; 2 * STATE]);
        for (state, pad) in states.chunks_exact_mut(STATE).zip([0x5c_u8, 0x36]) {
            let mut block = Zeroizing::new([pad; BLOCK]);
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let md5 = Md5::new().chain_update(*block);
            state.copy_from_slice(&md5.serialize()[..STATE]);
        }
        Self(states)
    }

    /// Whether these are the contexts of a password.
    pub fn verify(&self, password: &[u8]) -> bool {
        Self::of(password).0.ct_eq(&*self.0).into()
    }

    /// HMAC-MD5 of a message under the key; `None` should the hash function refuse the state.
    pub fn hmac(&self, message: &[u8]) -> Option<[u8; STATE]> {
        let (outer, inner) = self.0.split_at(STATE);
        let inner = resume(inner)?.chain_update(message).finalize();
        Some(resume(outer)?.chain_update(inner).finalize().into())
    }
}

/// MD5 that has read one block.
fn resume(state: &[u8]) -> Option<Md5> {
    let mut serialized = SerializedState::<Md5>::default();
    serialized[..STATE].copy_from_slice(state);
    serialized[STATE] = 1;
    Md5::deserialize(&serialized).ok()
}

/// The hash function of a challenge and its answer: RFC 2195's, and Courier's two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CramHash {
    /// CRAM-MD5.
    Md5,
    /// Courier's cram-sha1.
    Sha1,
    /// Courier's cram-sha256.
    Sha256,
}

impl CramHash {
    /// Whether hex digits are the HMAC of a challenge under a password.
    pub fn fits(self, password: &[u8], challenge: &[u8], digits: &str) -> bool {
        match self {
            Self::Md5 => Contexts::of(password).fits(challenge, digits),
            Self::Sha1 => same(hmac::<Sha1>(password, challenge).as_deref(), digits),
            Self::Sha256 => same(hmac::<Sha256>(password, challenge).as_deref(), digits),
        }
    }
}

impl Contexts {
    /// Whether hex digits are the HMAC-MD5 of a challenge under the password of these contexts.
    pub fn fits(&self, challenge: &[u8], digits: &str) -> bool {
        same(self.hmac(challenge).as_ref().map(|octets| &octets[..]), digits)
    }
}

fn hmac<D: EagerHash>(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<D>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac.finalize().into_bytes().to_vec())
}

/// Whether hex digits are these octets.
fn same(octets: Option<&[u8]>, digits: &str) -> bool {
    let (Some(octets), Ok(given)) = (octets, hex(digits)) else {
        return false;
    };
    octets.ct_eq(&given).into()
}

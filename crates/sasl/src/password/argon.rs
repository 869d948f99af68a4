//! `$argon2i$` and `$argon2id$` (RFC 9106, the PHC string form).

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::FormatError;

/// Most memory, in KiB.
const MAX_MEMORY: u32 = 128 << 10;
/// Most memory times passes: about a second.
const MAX_WORK: u64 = 512 << 10;
/// Most lanes.
const MAX_LANES: u32 = 64;
/// Octets that hashes have. Another number is what a column that is too narrow left of one.
const LENGTHS: [usize; 5] = [16, 24, 32, 48, 64];
/// OWASP's minimum, robustness.md 5.4.
const NEW: (u32, u32, u32) = (19_456, 2, 1);

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = text.split('$').skip(1);
        let mut next = || fields.next().ok_or(FormatError::Malformed);
        let algorithm = match next()? {
            "argon2i" => Algorithm::Argon2i,
            "argon2id" => Algorithm::Argon2id,
            _ => return Err(FormatError::Malformed),
        };
        let mut field = next()?;
        let mut version = Version::V0x10;
        if let Some(number) = field.strip_prefix("v=") {
            version = match number {
                "16" => Version::V0x10,
                "19" => Version::V0x13,
                _ => return Err(FormatError::Malformed),
            };
            field = next()?;
        }
        let (memory, passes, lanes) = costs(field)?;
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| FormatError::Malformed);
        let (salt, hash) = (decode(next()?)?, decode(next()?)?);
        if fields.next().is_some() || !(8..=64).contains(&salt.len()) || !LENGTHS.contains(&hash.len()) {
            return Err(FormatError::Malformed);
        }
        if memory > MAX_MEMORY || u64::from(memory) * u64::from(passes) > MAX_WORK || lanes > MAX_LANES {
            return Err(FormatError::TooExpensive);
        }
        let params =
            Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| FormatError::Malformed)?;
        Ok(Self {
            algorithm,
            version,
            params,
            salt,
            hash,
        })
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        let mut computed = Zeroizing::new(vec![0; self.hash.len()]);
        Argon2::new(self.algorithm, self.version, self.params.clone())
            .hash_password_into(password, &self.salt, &mut computed)
            .map_err(|_| FormatError::Malformed)?;
        Ok(computed.ct_eq(&self.hash).into())
    }

    /// Memory, passes and lanes, as they are written in a column.
    pub fn cost(&self) -> String {
        let (memory, passes) = (self.params.m_cost(), self.params.t_cost());
        format!("m={memory},t={passes},p={}", self.params.p_cost())
    }

    /// Whether it costs at least what a new one costs, in both senses.
    pub fn is_strong(&self) -> bool {
        let (memory, passes, _) = NEW;
        let work = |memory: u32, passes: u32| u64::from(memory) * u64::from(passes);
        self.algorithm == Algorithm::Argon2id
            && self.params.m_cost() >= memory
            && work(self.params.m_cost(), self.params.t_cost()) >= work(memory, passes)
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Argon2id => "ARGON2ID",
            _ => "ARGON2I",
        }
    }
}

/// `m=..,t=..,p=..`, in this order, digits only.
fn costs(field: &str) -> Result<(u32, u32, u32), FormatError> {
    let mut parts = field.split(',');
    let mut number = |key: &str| {
        let digits = parts.next()?.strip_prefix(key)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // A number that does not even fit is surely over the cap.
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let costs = (number("m="), number("t="), number("p="));
    match (costs, parts.next()) {
        ((Some(memory), Some(passes), Some(lanes)), None) => Ok((memory, passes, lanes)),
        _ => Err(FormatError::Malformed),
    }
}

/// A new `{ARGON2ID}` value.
pub fn store(password: &[u8], salt: &[u8; 16]) -> Option<String> {
    let (memory, passes, lanes) = NEW;
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut hash = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut *hash)
        .ok()?;
    Some(format!(
        "{{ARGON2ID}}$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(*hash)
    ))
}

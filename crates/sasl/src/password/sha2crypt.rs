//! `$5$` and `$6$`: crypt(3) SHA-256 and SHA-512, `$6$[rounds=n$]salt$hash`.

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use subtle::ConstantTimeEq as _;

use super::FormatError;
use super::encoding::{is_crypt64, push_digits, salt_text};

/// Most rounds: about half a second.
const MAX_ROUNDS: u32 = 500_000;
/// Rounds where the value names none.
pub const DEFAULT_ROUNDS: u32 = 5_000;
/// Each round hashes the password about twice, so rounds times length is what costs; about a second.
const MAX_WORK: u64 = 256 << 20;
const MAX_SALT: usize = 16;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sha256,
    Sha512,
}

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    kind: Kind,
    rounds: u32,
    salt: String,
    hash: String,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = text.split('$').skip(1);
        let mut next = || fields.next().ok_or(FormatError::Malformed);
        let kind = match next()? {
            "5" => Kind::Sha256,
            "6" => Kind::Sha512,
            _ => return Err(FormatError::Malformed),
        };
        let mut field = next()?;
        let mut rounds = DEFAULT_ROUNDS;
        if let Some(number) = field.strip_prefix("rounds=") {
            // Digits only: parse() would also take a sign.
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(FormatError::Malformed);
            }
            // A number that does not even fit is surely over the cap.
            rounds = number.parse().unwrap_or(u32::MAX).max(Params::ROUNDS_MIN);
            field = next()?;
        }
        let (salt, hash) = (field, next()?);
        let length = match kind {
            Kind::Sha256 => 43,
            Kind::Sha512 => 86,
        };
        let complete = fields.next().is_none() && salt.len() <= MAX_SALT && hash.len() == length;
        if !complete || !is_crypt64(hash) {
            return Err(FormatError::Malformed);
        }
        if rounds > MAX_ROUNDS {
            return Err(FormatError::TooExpensive);
        }
        Ok(Self {
            kind,
            rounds,
            salt: salt.to_owned(),
            hash: hash.to_owned(),
        })
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        let work = u64::from(self.rounds) * (2 * password.len() as u64 + 128);
        if work > MAX_WORK {
            return Err(FormatError::TooExpensive);
        }
        let computed = compute(self.kind, password, &self.salt, self.rounds).ok_or(FormatError::Malformed)?;
        Ok(computed.as_bytes().ct_eq(self.hash.as_bytes()).into())
    }

    /// How often the hash is taken.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sha256 => "SHA256-CRYPT",
            Kind::Sha512 => "SHA512-CRYPT",
        }
    }
}

/// A new `$6$` value with the default rounds.
pub fn store(password: &[u8], salt: &[u8; 16]) -> Option<String> {
    let salt = salt_text(salt);
    let hash = compute(Kind::Sha512, password, &salt, DEFAULT_ROUNDS)?;
    Some(format!("$6${salt}${hash}"))
}

fn compute(kind: Kind, password: &[u8], salt: &str, rounds: u32) -> Option<String> {
    let params = Params::new(rounds).ok()?;
    Some(match kind {
        Kind::Sha256 => encode(&sha256_crypt(password, salt.as_bytes(), params), kind),
        Kind::Sha512 => encode(&sha512_crypt(password, salt.as_bytes(), params), kind),
    })
}

/// The digest in crypt(3)'s digits: octets are taken in threes from three thirds that take turns.
fn encode(digest: &[u8], kind: Kind) -> String {
    let third = digest.len() / 3;
    let mut out = String::with_capacity(86);
    let mut triple = (0, third, 2 * third);
    for _ in 0..third {
        let (a, b, c) = triple;
        push(&mut out, [digest[a], digest[b], digest[c]], 4);
        triple = match kind {
            Kind::Sha256 => (c + 1, a + 1, b + 1),
            Kind::Sha512 => (b + 1, c + 1, a + 1),
        };
    }
    match kind {
        Kind::Sha256 => push(&mut out, [0, digest[31], digest[30]], 3),
        Kind::Sha512 => push(&mut out, [0, 0, digest[63]], 2),
    }
    out
}

/// `digits` digits of 24 bits, the lowest first.
fn push(out: &mut String, bytes: [u8; 3], digits: usize) {
    let value = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    push_digits(out, value, digits);
}

//! `$y$`: yescrypt, what Debian's `mkpasswd` makes; `$7$`: scrypt as crypt(3) writes it. Verified, never made.

use subtle::ConstantTimeEq as _;
use yescrypt::{Mode, Params, PasswordVerifier as _, Yescrypt};
use zeroize::Zeroizing;

use super::FormatError;
use super::encoding::{crypt64, crypt64_number, is_crypt64, push_digits};

/// Most memory in blocks of 128 octets: 128 MiB.
const MAX_BLOCKS: u64 = 1 << 20;
/// Most blocks times lanes: about a second.
const MAX_WORK: u64 = 1 << 21;
/// Digits of the hash: 32 octets.
const HASH: usize = 43;
/// Most digits of the salt: 64 octets.
const MAX_SALT: usize = 86;

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    text: String,
    /// The cost of `$7$`; `$y$` has its own reader.
    scrypt: Option<Params>,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let fields: Vec<&str> = text.split('$').collect();
        let (scrypt, setting, salt, hash) = match fields[..] {
            ["", "y", setting, salt, hash] => (false, setting, salt, hash),
            // The salt of scrypt follows its 11 digits of cost; it is hashed as it is written.
            ["", "7", setting, hash] => {
                let (cost, salt) = setting.split_at_checked(11).ok_or(FormatError::Malformed)?;
                (true, cost, salt, hash)
            }
            _ => return Err(FormatError::Malformed),
        };
        let plain = [setting, salt, hash].into_iter().all(is_crypt64);
        if !plain || salt.is_empty() || salt.len() > MAX_SALT || hash.len() != HASH {
            return Err(FormatError::Malformed);
        }
        // Its digits have to be those of whole octets.
        if !scrypt && salt.len() % 4 == 1 {
            return Err(FormatError::Malformed);
        }
        let params = if scrypt {
            scrypt_cost(setting)?
        } else {
            yescrypt_cost(setting)?
        };
        Ok(Self {
            text: text.to_owned(),
            scrypt: scrypt.then_some(params),
        })
    }

    /// The digits that say what it costs.
    pub fn cost(&self) -> &str {
        let setting = self.text.split('$').nth(2).unwrap_or_default();
        // The salt of scrypt follows them.
        setting
            .get(..11)
            .filter(|_| self.scrypt.is_some())
            .unwrap_or(setting)
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        let Some(params) = &self.scrypt else {
            return match Yescrypt::default().verify_password(password, self.text.as_str()) {
                Ok(()) => Ok(true),
                Err(yescrypt::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(_) => Err(FormatError::Malformed),
            };
        };
        let (setting, hash) = self.text[3..].split_once('$').ok_or(FormatError::Malformed)?;
        let mut computed = Zeroizing::new([0; 32]);
        yescrypt::yescrypt(password, &setting.as_bytes()[11..], params, &mut *computed)
            .map_err(|_| FormatError::Malformed)?;
        Ok(encode(&*computed).as_bytes().ct_eq(hash.as_bytes()).into())
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        if self.scrypt.is_some() {
            "SCRYPT"
        } else {
            "YESCRYPT"
        }
    }
}

/// log2 N, then r and p in five digits each.
fn scrypt_cost(setting: &str) -> Result<Params, FormatError> {
    let digits = setting.as_bytes();
    let log = digits.first().copied().and_then(crypt64);
    let (Some(log), Some(r), Some(p)) = (
        log,
        crypt64_number(&setting[1..6]),
        crypt64_number(&setting[6..11]),
    ) else {
        return Err(FormatError::Malformed);
    };
    let n = 1_u64 << log;
    affordable(n, r, p)?;
    Params::new(Mode::Classic, n, r, p).map_err(|_| FormatError::Malformed)
}

/// The crate's own encoding; only what `mkpasswd` makes: the default mode, no extra time, no ROM.
fn yescrypt_cost(setting: &str) -> Result<Params, FormatError> {
    // Mode, N, r and lanes in at most this many digits; each is one digit where it is affordable.
    if setting.len() > 8 {
        return Err(FormatError::TooExpensive);
    }
    let params: Params = setting.parse().map_err(|_| FormatError::Malformed)?;
    affordable(params.n(), params.r(), params.p())?;
    let usual = Params::new(Mode::Rw, params.n(), params.r(), params.p());
    if usual.is_ok_and(|usual| usual == params) {
        Ok(params)
    } else {
        Err(FormatError::Unsupported)
    }
}

fn affordable(n: u64, r: u32, p: u32) -> Result<(), FormatError> {
    if n < 2 || r == 0 || p == 0 {
        return Err(FormatError::Malformed);
    }
    let blocks = n.saturating_mul(u64::from(r));
    if blocks > MAX_BLOCKS || blocks.saturating_mul(u64::from(p)) > MAX_WORK {
        return Err(FormatError::TooExpensive);
    }
    Ok(())
}

/// Octets in threes, the lowest six bits first.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(HASH);
    for chunk in bytes.chunks(3) {
        let value = chunk
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
        push_digits(&mut out, value, chunk.len() + 1);
    }
    out
}

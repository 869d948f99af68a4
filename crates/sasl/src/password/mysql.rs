//! MySQL's PASSWORD(): `*` and 40 hex digits since 4.1, 16 hex digits before. Verified, never made.

use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

use super::FormatError;
use super::encoding::hex;

/// A checked value.
#[derive(Debug, Clone)]
pub enum Hash {
    /// SHA-1 of the SHA-1 of the password.
    Sha1(Vec<u8>),
    /// Two numbers of 31 bits (OLD_PASSWORD()).
    Old(Vec<u8>),
}

impl Hash {
    /// `*` and 40 hex digits.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let digits = text.strip_prefix('*').ok_or(FormatError::Malformed)?;
        let bytes = hex(digits)?;
        if bytes.len() != 20 {
            return Err(FormatError::Malformed);
        }
        Ok(Self::Sha1(bytes))
    }

    /// 16 hex digits.
    pub fn old(text: &str) -> Option<Self> {
        let bytes = hex(text).ok().filter(|bytes| bytes.len() == 8)?;
        Some(Self::Old(bytes))
    }

    pub fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha1(hash) => Sha1::digest(Sha1::digest(password)).ct_eq(hash.as_slice()).into(),
            Self::Old(hash) => old_password(password).ct_eq(hash.as_slice()).into(),
        }
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sha1(_) => "MYSQL",
            Self::Old(_) => "MYSQL-OLD",
        }
    }
}

/// The checksum that MySQL 3.23 and 4.0 called a password; blanks and tabs do not count.
fn old_password(password: &[u8]) -> [u8; 8] {
    let (mut first, mut second, mut sum) = (0x5030_5735_u32, 0x1234_5671_u32, 7_u32);
    for byte in password.iter().filter(|byte| !matches!(byte, b' ' | b'\t')) {
        let byte = u32::from(*byte);
        first ^= (first & 63)
            .wrapping_add(sum)
            .wrapping_mul(byte)
            .wrapping_add(first << 8);
        second = second.wrapping_add((second << 8) ^ first);
        sum = sum.wrapping_add(byte);
    }
    let number = u64::from(first & 0x7fff_ffff) << 32 | u64::from(second & 0x7fff_ffff);
    number.to_be_bytes()
}

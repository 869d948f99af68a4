//! Hex digits and base64 as other programs write them.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::FormatError;

/// With or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The octets of base64.
pub fn base64(text: &str) -> Result<Vec<u8>, FormatError> {
    BASE64.decode(text).map_err(|_| FormatError::Malformed)
}

/// The octets of hex digits in any case.
pub fn hex(text: &str) -> Result<Vec<u8>, FormatError> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(FormatError::Malformed);
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<_>>()
        .ok_or(FormatError::Malformed)
}

/// The digits of crypt(3).
const CRYPT64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether all characters are digits of crypt(3).
pub fn is_crypt64(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

/// The value of a digit of crypt(3).
pub fn crypt64(digit: u8) -> Option<u32> {
    let value = CRYPT64.iter().position(|known| *known == digit)?;
    u32::try_from(value).ok()
}

/// A number in digits of crypt(3), the lowest first; at most 30 bits.
pub fn crypt64_number(digits: &str) -> Option<u32> {
    if digits.len() > 5 {
        return None;
    }
    let add = |number: u32, digit| Some(number << 6 | crypt64(digit)?);
    digits.bytes().rev().try_fold(0, add)
}

/// Writes `count` digits of `value`, the lowest first.
pub fn push_digits(out: &mut String, mut value: u32, count: usize) {
    for _ in 0..count {
        out.push(char::from(CRYPT64[(value & 63) as usize]));
        value >>= 6;
    }
}

/// A salt of digits of crypt(3), one for each octet.
pub fn salt_text(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|octet| char::from(CRYPT64[usize::from(octet & 63)]))
        .collect()
}

//! crypt(3) with DES: the traditional form (tutorial 2's ENCRYPT(); 8 characters count) and BSDi's with a
//! number of rounds. Verified, never made.

use subtle::ConstantTimeEq as _;

use super::FormatError;
use super::encoding::{crypt64_number, is_crypt64};

/// Most rounds of BSDi's form: about half a second. The traditional form has 25.
const MAX_ROUNDS: u32 = 4_000_000;

/// A checked value.
#[derive(Debug, Clone)]
pub struct Hash {
    text: String,
    bsdi: bool,
}

/// Whether a value looks like one of these: 13 digits, or `_` and 19 digits.
pub fn has_form(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(rest) => rest.len() == 19 && is_crypt64(rest),
        None => text.len() == 13 && is_crypt64(text),
    }
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if !has_form(text) {
            return Err(FormatError::Malformed);
        }
        let bsdi = text.starts_with('_');
        if bsdi {
            match crypt64_number(&text[1..5]).ok_or(FormatError::Malformed)? {
                0 => return Err(FormatError::Malformed),
                1..=MAX_ROUNDS => {}
                _ => return Err(FormatError::TooExpensive),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            bsdi,
        })
    }

    pub fn verify(&self, password: &[u8]) -> Result<bool, FormatError> {
        // The crate calls these deprecated to keep people from making new hashes with them.
        #[allow(deprecated)]
        let computed = if self.bsdi {
            crypt3_rs::crypt::bsdi::hash_with(self.text.as_str(), password)
        } else {
            crypt3_rs::crypt::unix::hash_with(&self.text[..2], password)
        };
        let computed = computed.map_err(|_| FormatError::Malformed)?.to_string();
        Ok(computed.as_bytes().ct_eq(self.text.as_bytes()).into())
    }

    /// The digits that say how many rounds; none where it is always the same.
    pub fn cost(&self) -> &str {
        if self.bsdi { &self.text[1..5] } else { "" }
    }

    /// The name of the scheme.
    pub fn name(&self) -> &'static str {
        if self.bsdi { "BSDI-CRYPT" } else { "DES-CRYPT" }
    }
}

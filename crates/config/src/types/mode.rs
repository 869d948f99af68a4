//! The permission bits of a file, as chmod(1) takes them.

use std::fmt;
use std::str::FromStr;

use super::text_option;

/// Permission bits, written in octal: `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMode(u32);

impl FileMode {
    /// Bits that are known to be right.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// The bits.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            Ok(bits @ 0..=0o777) if octal => Ok(Self(bits)),
            _ => Err(format!(
                "{text:?}: three octal digits, perhaps after a 0, like 0660"
            )),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0{:03o}", self.0)
    }
}

text_option!(
    FileMode,
    "FileMode",
    "permission bits in quotes, like \"0660\"",
    { "type": "string", "x-type": "file mode" }
);

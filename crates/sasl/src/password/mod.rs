//! Stored passwords: which scheme a database column holds, whether it is affordable, whether a password
//! fits, and how new ones are stored. The formats are those of compat.md 3.8.

mod argon;
mod blowfish;
mod md5crypt;
mod sha2crypt;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_types::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Longest password taken, in octets; longer ones are wrong without a look at the hash.
pub const MAX_PASSWORD: usize = 4096;

/// Why a column cannot be used. It is the site's trouble and a temporary failure, never a wrong password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `{SCHEME}` or `$id$` that we do not know, or a value of no known form.
    #[error("the stored password is in a format that is not supported or not enabled")]
    Unsupported,
    /// The scheme is known but the rest does not fit it (cut off, bad characters).
    #[error("the stored password is damaged")]
    Malformed,
    /// Verifying it would cost more than the cap; nothing was hashed.
    #[error("the stored password is more expensive than allowed")]
    TooExpensive,
}

/// What a column without any mark of its scheme holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmarked {
    /// The password itself.
    Cleartext,
    /// It is refused.
    Refused,
}

/// A stored password, read and found affordable.
#[derive(Debug, Clone)]
pub struct Stored {
    scheme: Scheme,
    /// Costs what the real one costs, but fits no password.
    decoy: bool,
}

#[derive(Debug, Clone)]
enum Scheme {
    Cleartext(Secret),
    Md5(md5crypt::Hash),
    Sha2(sha2crypt::Hash),
    Blowfish(blowfish::Hash),
    Argon2(argon::Hash),
    /// An empty column: the account is locked.
    Locked,
}

impl Stored {
    /// Reads a column: `{SCHEME}data` (any case, with `.B64`), `$id$...`, or an unmarked value.
    ///
    /// Cost caps are checked here, before anything is hashed.
    pub fn parse(column: &str, unmarked: Unmarked) -> Result<Self, FormatError> {
        let scheme = match column.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, data)) => prefixed(name, data)?,
            None if column.is_empty() => Scheme::Locked,
            None if column.starts_with('$') => match modular(column) {
                // A cleartext password may begin with a dollar sign, but not look like a known scheme.
                Err(FormatError::Unsupported) if unmarked == Unmarked::Cleartext => cleartext(column),
                other => other?,
            },
            None if unmarked == Unmarked::Cleartext => cleartext(column),
            None => return Err(FormatError::Unsupported),
        };
        Ok(Self { scheme, decoy: false })
    }

    /// Whether `password` fits. May take up to about a second of processor time.
    pub fn verify(&self, password: &Secret) -> Result<bool, FormatError> {
        let bytes = password.expose();
        if bytes.is_empty() || bytes.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let fits = match &self.scheme {
            Scheme::Cleartext(stored) => equal(stored.expose(), bytes),
            Scheme::Md5(hash) => hash.verify(bytes)?,
            Scheme::Sha2(hash) => hash.verify(bytes)?,
            Scheme::Blowfish(hash) => hash.verify(bytes)?,
            Scheme::Argon2(hash) => hash.verify(bytes)?,
            Scheme::Locked => false,
        };
        Ok(fits && !self.decoy)
    }

    /// The name of the scheme, for logs.
    pub fn scheme(&self) -> &'static str {
        match &self.scheme {
            Scheme::Cleartext(_) => "PLAIN",
            Scheme::Md5(_) => "MD5-CRYPT",
            Scheme::Sha2(_) => "SHA2-CRYPT",
            Scheme::Blowfish(_) => "BLF-CRYPT",
            Scheme::Argon2(_) => "ARGON2",
            Scheme::Locked => "locked",
        }
    }

    /// One that costs the same to verify and fits nothing: what an unknown user is checked against, so
    /// that the time does not tell.
    pub fn decoy(&self) -> Self {
        Self {
            scheme: self.scheme.clone(),
            decoy: true,
        }
    }
}

/// In which form new passwords are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewScheme {
    /// `{ARGON2ID}$argon2id$...`, m=19456 KiB, t=2, p=1.
    #[default]
    Argon2id,
    /// `$6$...`, 5,000 rounds: every crypt(3) reads it.
    Sha512Crypt,
    /// `$2y$10$...`: PHP's and PostfixAdmin's default.
    Bcrypt,
    /// The password itself.
    Cleartext,
}

/// Why a new password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewPasswordError {
    /// Nothing to store.
    #[error("the password is empty")]
    Empty,
    /// Over [`MAX_PASSWORD`].
    #[error("the password is longer than 4096 octets")]
    TooLong,
    /// NUL, line breaks and other control characters cannot be typed everywhere, and bytes that are not
    /// UTF-8 cannot either.
    #[error("the password holds a control character or is not UTF-8")]
    Characters,
    /// bcrypt ignores what follows octet 72, and a cleartext column holds 255.
    #[error("the password is longer than this scheme can hold")]
    TooLongForScheme,
    /// A cleartext that would be read as another scheme.
    #[error("a cleartext password cannot begin with {{ or $")]
    LooksHashed,
    /// The hash function refused.
    #[error("hashing failed")]
    Hash,
}

/// Stores a new password; `salt` is 16 random octets.
pub fn store(scheme: NewScheme, password: &Secret, salt: [u8; 16]) -> Result<String, NewPasswordError> {
    let bytes = password.expose();
    let text = password.expose_str().ok_or(NewPasswordError::Characters)?;
    if text.is_empty() {
        return Err(NewPasswordError::Empty);
    }
    if bytes.len() > MAX_PASSWORD {
        return Err(NewPasswordError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(NewPasswordError::Characters);
    }
    match scheme {
        NewScheme::Argon2id => argon::store(bytes, &salt).ok_or(NewPasswordError::Hash),
        NewScheme::Sha512Crypt => sha2crypt::store(bytes, &salt).ok_or(NewPasswordError::Hash),
        NewScheme::Bcrypt if bytes.len() > 72 => Err(NewPasswordError::TooLongForScheme),
        NewScheme::Bcrypt => blowfish::store(bytes, salt).ok_or(NewPasswordError::Hash),
        NewScheme::Cleartext if bytes.len() > 255 => Err(NewPasswordError::TooLongForScheme),
        NewScheme::Cleartext if text.starts_with(['{', '$']) => Err(NewPasswordError::LooksHashed),
        NewScheme::Cleartext => Ok(text.to_owned()),
    }
}

fn cleartext(text: &str) -> Scheme {
    Scheme::Cleartext(Secret::new(text.as_bytes()))
}

/// `{name}data`, names in any case; `.B64` and `.BASE64` mean that the data is encoded once more.
fn prefixed(name: &str, data: &str) -> Result<Scheme, FormatError> {
    let name = name.to_ascii_uppercase();
    let (name, encoded) = match name.strip_suffix(".B64").or_else(|| name.strip_suffix(".BASE64")) {
        Some(name) => (name, true),
        None => (&*name, false),
    };
    let decoded;
    let data = if encoded {
        let bytes = STANDARD.decode(data).map_err(|_| FormatError::Malformed)?;
        decoded = String::from_utf8(bytes).map_err(|_| FormatError::Malformed)?;
        &*decoded
    } else {
        data
    };
    let wanted: &[&str] = match name {
        "PLAIN" | "CLEAR" | "CLEARTEXT" if data.is_empty() => return Ok(Scheme::Locked),
        "PLAIN" | "CLEAR" | "CLEARTEXT" => return Ok(cleartext(data)),
        "CRYPT" => &["$"],
        "MD5-CRYPT" | "MD5" => &["$1$"],
        "SHA256-CRYPT" => &["$5$"],
        "SHA512-CRYPT" => &["$6$"],
        "BLF-CRYPT" => &["$2a$", "$2b$", "$2y$"],
        "ARGON2I" => &["$argon2i$"],
        "ARGON2ID" => &["$argon2id$"],
        _ => return Err(FormatError::Unsupported),
    };
    if wanted.iter().any(|start| data.starts_with(start)) {
        modular(data)
    } else if matches!(name, "CRYPT" | "MD5") {
        // DES, or Courier's base64 MD5: real formats, not ours.
        Err(FormatError::Unsupported)
    } else {
        Err(FormatError::Malformed)
    }
}

/// `$id$...`.
fn modular(text: &str) -> Result<Scheme, FormatError> {
    let id = text.split('$').nth(1).unwrap_or_default();
    match id {
        "1" => md5crypt::Hash::parse(text).map(Scheme::Md5),
        "5" | "6" => sha2crypt::Hash::parse(text).map(Scheme::Sha2),
        "2a" | "2b" | "2y" => blowfish::Hash::parse(text).map(Scheme::Blowfish),
        "argon2i" | "argon2id" => argon::Hash::parse(text).map(Scheme::Argon2),
        _ => Err(FormatError::Unsupported),
    }
}

/// Compares in a time that tells neither content nor length: the digests are compared.
fn equal(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

//! Stored passwords: which scheme a database column holds, whether it is affordable, whether a password
//! fits, and how new ones are stored. `docs/passwords.md` lists the formats.

mod argon;
mod blowfish;
mod cram;
mod des;
mod digest;
mod encoding;
mod marked;
mod md5crypt;
mod mysql;
mod new;
mod pbkdf2;
mod scram;
mod sha2crypt;
#[cfg(test)]
mod tests;
mod unmarked;
mod yescrypt;

use mail_types::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::cram::{Contexts as CramContexts, CramHash};
pub use self::new::{NewPasswordError, NewScheme, store};
pub use self::scram::{Keys as ScramColumn, Kind as ScramKind};
pub use self::unmarked::{Reading, Unmarked};

/// Longest password taken, in octets; longer ones are wrong without a look at the hash.
pub const MAX_PASSWORD: usize = 4096;

/// Longest column read, in octets; the longest form that is not cleartext has about 400.
const MAX_COLUMN: usize = 8192;

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
    Digest(digest::Hash),
    Mysql(mysql::Hash),
    CramMd5(cram::Contexts),
    Des(des::Hash),
    Md5(md5crypt::Hash),
    Pbkdf2(pbkdf2::Hash),
    Scram(scram::Keys),
    Sha2(sha2crypt::Hash),
    Blowfish(blowfish::Hash),
    Argon2(argon::Hash),
    Yescrypt(yescrypt::Hash),
    /// An empty column: the account is locked.
    Locked,
}

impl Stored {
    /// Reads a column: `{SCHEME}data` (any case, with `.B64` or `.HEX`), `$id$...`, `*` and 40 hex digits
    /// (MySQL's PASSWORD()), or an unmarked value where the site says what those hold.
    ///
    /// Cost caps are checked here, before anything is hashed.
    pub fn parse(column: &str, unmarked: Unmarked) -> Result<Self, FormatError> {
        if column.len() > MAX_COLUMN {
            return Err(FormatError::Malformed);
        }
        let scheme = match column.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, data)) => marked::scheme(name, data)?,
            None if column.is_empty() => Scheme::Locked,
            None if column.starts_with('$') => match modular(column) {
                // A cleartext password may begin with a dollar sign, but not look like a known scheme.
                Err(FormatError::Unsupported) => unmarked.read(column)?,
                other => other?,
            },
            None => match mysql::Hash::parse(column) {
                Ok(hash) => Scheme::Mysql(hash),
                Err(_) => unmarked.read(column)?,
            },
        };
        Ok(Self { scheme, decoy: false })
    }

    /// A column that is the password by definition, whatever it looks like; an empty one is locked.
    pub fn clear(column: &Secret) -> Self {
        let scheme = match column.is_empty() {
            true => Scheme::Locked,
            false => Scheme::Cleartext(column.clone()),
        };
        Self { scheme, decoy: false }
    }

    /// Whether `password` fits. May take up to about a second of processor time.
    pub fn verify(&self, password: &Secret) -> Result<bool, FormatError> {
        let bytes = password.expose();
        // crypt(3) would end at a NUL, and other software of the site with it.
        if bytes.is_empty() || bytes.len() > MAX_PASSWORD || bytes.contains(&0) {
            return Ok(false);
        }
        let fits = match &self.scheme {
            Scheme::Cleartext(stored) => equal(stored.expose(), bytes),
            Scheme::Digest(hash) => hash.verify(bytes),
            Scheme::Mysql(hash) => hash.verify(bytes),
            Scheme::CramMd5(contexts) => contexts.verify(bytes),
            Scheme::Des(hash) => hash.verify(bytes)?,
            Scheme::Md5(hash) => hash.verify(bytes)?,
            Scheme::Pbkdf2(hash) => hash.verify(bytes),
            Scheme::Scram(keys) => keys.verify(bytes),
            Scheme::Sha2(hash) => hash.verify(bytes)?,
            Scheme::Blowfish(hash) => hash.verify(bytes)?,
            Scheme::Argon2(hash) => hash.verify(bytes)?,
            Scheme::Yescrypt(hash) => hash.verify(bytes)?,
            Scheme::Locked => false,
        };
        Ok(fits && !self.decoy)
    }

    /// The name of the scheme, for logs.
    pub fn scheme(&self) -> &'static str {
        match &self.scheme {
            Scheme::Cleartext(_) => "PLAIN",
            Scheme::Digest(hash) => hash.name(),
            Scheme::Mysql(hash) => hash.name(),
            Scheme::CramMd5(_) => "CRAM-MD5",
            Scheme::Des(hash) => hash.name(),
            Scheme::Md5(_) => "MD5-CRYPT",
            Scheme::Pbkdf2(_) => "PBKDF2",
            Scheme::Scram(keys) => keys.name(),
            Scheme::Sha2(hash) => hash.name(),
            Scheme::Blowfish(_) => "BLF-CRYPT",
            Scheme::Argon2(hash) => hash.name(),
            Scheme::Yescrypt(hash) => hash.name(),
            Scheme::Locked => "locked",
        }
    }

    /// The scheme and what checking it costs, in words: columns of one shape take the same time.
    pub fn shape(&self) -> String {
        let cost = match &self.scheme {
            Scheme::Des(hash) => hash.cost().to_owned(),
            Scheme::Pbkdf2(hash) => hash.rounds().to_string(),
            Scheme::Scram(keys) => keys.iterations.to_string(),
            Scheme::Sha2(hash) => hash.rounds().to_string(),
            Scheme::Blowfish(hash) => hash.cost().to_string(),
            Scheme::Argon2(hash) => hash.cost(),
            Scheme::Yescrypt(hash) => hash.cost().to_owned(),
            Scheme::Cleartext(_)
            | Scheme::Digest(_)
            | Scheme::Mysql(_)
            | Scheme::CramMd5(_)
            | Scheme::Md5(_)
            | Scheme::Locked => String::new(),
        };
        format!("{} {cost}", self.scheme())
    }

    /// Whether the column is empty: nobody can log in.
    pub fn is_locked(&self) -> bool {
        matches!(self.scheme, Scheme::Locked)
    }

    /// The password itself, where it is stored: what CRAM-MD5, DIGEST-MD5 and SCRAM can be computed from.
    /// A decoy has none.
    pub fn cleartext(&self) -> Option<&Secret> {
        match &self.scheme {
            Scheme::Cleartext(password) if !self.decoy => Some(password),
            _ => None,
        }
    }

    /// The keys of SCRAM, where the column holds them. A decoy has none.
    pub fn scram(&self) -> Option<&ScramColumn> {
        match &self.scheme {
            Scheme::Scram(keys) if !self.decoy => Some(keys),
            _ => None,
        }
    }

    /// The contexts of CRAM-MD5, where the column holds them or the password. A decoy has none.
    pub fn cram_md5(&self) -> Option<CramContexts> {
        match &self.scheme {
            _ if self.decoy => None,
            Scheme::CramMd5(contexts) => Some(contexts.clone()),
            Scheme::Cleartext(password) => Some(CramContexts::of(password.expose())),
            _ => None,
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

    /// Whether it is a [`Stored::decoy`], which no password fits, whatever was found out about its column.
    pub fn is_decoy(&self) -> bool {
        self.decoy
    }
}

fn cleartext(text: &str) -> Scheme {
    Scheme::Cleartext(Secret::new(text.as_bytes()))
}

/// `$id$...`.
fn modular(text: &str) -> Result<Scheme, FormatError> {
    let id = text.split('$').nth(1).unwrap_or_default();
    match id {
        "1" => md5crypt::Hash::parse(text).map(Scheme::Md5),
        "5" | "6" => sha2crypt::Hash::parse(text).map(Scheme::Sha2),
        "2a" | "2b" | "2y" => blowfish::Hash::parse(text).map(Scheme::Blowfish),
        "argon2i" | "argon2id" => argon::Hash::parse(text).map(Scheme::Argon2),
        "y" | "7" => yescrypt::Hash::parse(text).map(Scheme::Yescrypt),
        _ => Err(FormatError::Unsupported),
    }
}

/// Compares in a time that tells neither content nor length: the digests are compared.
fn equal(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

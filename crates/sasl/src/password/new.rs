//! How new passwords are stored, and whether a stored one deserves a better form.

use mail_types::Secret;

use super::{MAX_PASSWORD, Scheme, Stored, argon, blowfish, md5crypt, sha2crypt};

/// In which form new passwords are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewScheme {
    /// `{ARGON2ID}$argon2id$...`, m=19456 KiB, t=2, p=1. PostfixAdmin reads it from 4.0 on.
    #[default]
    Argon2id,
    /// `$6$...`, 5,000 rounds: every crypt(3) reads it; PostfixAdmin with `system` or `php_crypt`.
    Sha512Crypt,
    /// `{SHA512-CRYPT}$6$...`: PostfixAdmin with `dovecot:SHA512-CRYPT`, or `php_crypt` with that prefix.
    MarkedSha512Crypt,
    /// `$2y$10$...`: PHP's own; PostfixAdmin with `php_crypt:BLOWFISH`.
    Bcrypt,
    /// `{BLF-CRYPT}$2y$10$...`: PostfixAdmin with `dovecot:BLF-CRYPT`, or 4.0.
    MarkedBcrypt,
    /// `$1$...`: the only form that PostfixAdmin up to 3 reads with its default `md5crypt`. Weak.
    Md5Crypt,
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
    #[error("a cleartext password cannot begin with {{ or $, nor look like a hash")]
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
    let hash = match scheme {
        NewScheme::Argon2id => argon::store(bytes, &salt),
        NewScheme::Sha512Crypt => sha2crypt::store(bytes, &salt),
        NewScheme::MarkedSha512Crypt => {
            sha2crypt::store(bytes, &salt).map(|hash| format!("{{SHA512-CRYPT}}{hash}"))
        }
        NewScheme::Bcrypt | NewScheme::MarkedBcrypt if bytes.len() > 72 => {
            return Err(NewPasswordError::TooLongForScheme);
        }
        NewScheme::Bcrypt => blowfish::store(bytes, salt),
        NewScheme::MarkedBcrypt => blowfish::store(bytes, salt).map(|hash| format!("{{BLF-CRYPT}}{hash}")),
        NewScheme::Md5Crypt => md5crypt::store(bytes, &salt),
        NewScheme::Cleartext if bytes.len() > 255 => return Err(NewPasswordError::TooLongForScheme),
        NewScheme::Cleartext if text.starts_with(['{', '$', '*']) => {
            return Err(NewPasswordError::LooksHashed);
        }
        NewScheme::Cleartext => Some(text.to_owned()),
    };
    hash.ok_or(NewPasswordError::Hash)
}

impl Stored {
    /// Whether storing the password anew in `target` makes it harder to guess. Never true where it would
    /// become easier, and for equal strength only where the cost of the stored one is too low.
    pub fn needs_rehash(&self, target: NewScheme) -> bool {
        let wanted = match target {
            NewScheme::Argon2id => (6, 1),
            NewScheme::Bcrypt | NewScheme::MarkedBcrypt => (5, u64::from(blowfish::NEW_COST)),
            NewScheme::Sha512Crypt | NewScheme::MarkedSha512Crypt => {
                (4, u64::from(sha2crypt::DEFAULT_ROUNDS))
            }
            NewScheme::Md5Crypt => (2, 0),
            NewScheme::Cleartext => (0, 0),
        };
        let strength = match &self.scheme {
            // Nobody logs in with it.
            Scheme::Locked => return false,
            Scheme::Argon2(hash) => (6, u64::from(hash.is_strong())),
            // As good as Argon2, whatever the parameters: they are not compared.
            Scheme::Yescrypt(_) => (6, 1),
            Scheme::Blowfish(hash) => (5, u64::from(hash.cost())),
            Scheme::Sha2(hash) => (4, u64::from(hash.rounds())),
            Scheme::Pbkdf2(_) | Scheme::Scram(_) => (3, 0),
            Scheme::Md5(_) => (2, 0),
            Scheme::Digest(hash) => (u8::from(hash.is_salted()), 0),
            Scheme::Des(_) => (1, 0),
            Scheme::Mysql(_) | Scheme::CramMd5(_) | Scheme::Cleartext(_) => (0, 0),
        };
        strength < wanted
    }
}

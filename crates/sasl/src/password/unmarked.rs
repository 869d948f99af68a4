//! What a column holds that names no scheme: only what the site says it may hold.

use super::digest::{self, Kind};
use super::{FormatError, Scheme, cleartext, cram, des, mysql};

/// One reading of an unmarked column. Each but the last has a form that is checked first, so that several
/// can be allowed together; they are tried in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// MySQL's PASSWORD() before 4.1: 16 hex digits.
    MysqlOld,
    /// MD5: 32 hex digits.
    Md5,
    /// SHA-1: 40 hex digits.
    Sha1,
    /// SHA-256: 64 hex digits or base64 of 32 octets.
    Sha256,
    /// SHA-512: 128 hex digits or base64 of 64 octets.
    Sha512,
    /// The contexts of CRAM-MD5: 64 hex digits.
    CramMd5,
    /// crypt(3) DES: 13 digits of crypt(3); or BSDi's, `_` and 19 digits.
    Des,
    /// Base64 of a salted MD5.
    Smd5,
    /// Base64 of a salted SHA-1.
    Ssha,
    /// Base64 of a salted SHA-256.
    Ssha256,
    /// Base64 of a salted SHA-512.
    Ssha512,
    /// The password itself: whatever has no other form.
    Cleartext,
}

impl Reading {
    const ALL: [Self; 12] = [
        Self::MysqlOld,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::CramMd5,
        Self::Des,
        Self::Smd5,
        Self::Ssha,
        Self::Ssha256,
        Self::Ssha512,
        Self::Cleartext,
    ];

    /// The column in this reading; `None` where it has another form.
    fn read(self, column: &str) -> Option<Result<Scheme, FormatError>> {
        let plain = |kind| {
            digest::Hash::unsalted(kind, column)
                .ok()
                .map(Scheme::Digest)
                .map(Ok)
        };
        let salted = |kind| {
            digest::Hash::salted(kind, column)
                .ok()
                .map(Scheme::Digest)
                .map(Ok)
        };
        match self {
            Self::MysqlOld => mysql::Hash::old(column).map(Scheme::Mysql).map(Ok),
            Self::Md5 => plain(Kind::Md5),
            Self::Sha1 => plain(Kind::Sha1),
            Self::Sha256 => plain(Kind::Sha256),
            Self::Sha512 => plain(Kind::Sha512),
            Self::CramMd5 => cram::Contexts::parse(column).ok().map(Scheme::CramMd5).map(Ok),
            Self::Des if des::has_form(column) => Some(des::Hash::parse(column).map(Scheme::Des)),
            Self::Des => None,
            Self::Smd5 => salted(Kind::Md5),
            Self::Ssha => salted(Kind::Sha1),
            Self::Ssha256 => salted(Kind::Sha256),
            Self::Ssha512 => salted(Kind::Sha512),
            Self::Cleartext => Some(Ok(cleartext(column))),
        }
    }
}

/// The readings that a site allows; none is [`Unmarked::REFUSED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unmarked(u16);

impl Unmarked {
    /// An unmarked column cannot be used.
    pub const REFUSED: Self = Self(0);
    /// An unmarked column is the password.
    pub const CLEARTEXT: Self = Self(1 << Reading::Cleartext as u16);

    /// The same with one more reading.
    #[must_use]
    pub const fn with(self, reading: Reading) -> Self {
        Self(self.0 | 1 << reading as u16)
    }

    /// Whether a reading is allowed.
    pub const fn allows(self, reading: Reading) -> bool {
        self.0 & (1 << reading as u16) != 0
    }

    /// The column in the first reading that it has the form of.
    pub(super) fn read(self, column: &str) -> Result<Scheme, FormatError> {
        Reading::ALL
            .into_iter()
            .filter(|reading| self.allows(*reading))
            .find_map(|reading| reading.read(column))
            .unwrap_or(Err(FormatError::Unsupported))
    }
}

impl FromIterator<Reading> for Unmarked {
    fn from_iter<I: IntoIterator<Item = Reading>>(readings: I) -> Self {
        readings.into_iter().fold(Self::REFUSED, Self::with)
    }
}

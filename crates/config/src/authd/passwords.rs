//! The forms of stored passwords: which new ones get, and what unmarked ones are taken for.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The forms of new passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum NewPasswords {
    /// Argon2id with 19 MiB, 2 passes, 1 lane.
    Argon2id,
    /// crypt(3) `$6$`.
    Sha512Crypt,
    /// The same with its mark in front.
    #[serde(rename = "{SHA512-CRYPT}")]
    MarkedSha512Crypt,
    /// `$2y$`.
    Bcrypt,
    /// The same with its mark in front.
    #[serde(rename = "{BLF-CRYPT}")]
    MarkedBcrypt,
    /// crypt(3) `$1$`.
    Md5Crypt,
    /// The password itself.
    Cleartext,
}

/// Readings of a password column without a mark of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum UnmarkedPasswords {
    /// It is the password.
    Cleartext,
    /// It cannot be used.
    Refuse,
    /// crypt(3) DES, the usual ENCRYPT() of MySQL.
    Des,
    /// 32 hex digits.
    Md5,
    /// 40 hex digits.
    Sha1,
    /// 64 hex digits, or base64.
    Sha256,
    /// 128 hex digits, or base64.
    Sha512,
    /// Base64 of MD5 and salt.
    Smd5,
    /// Base64 of SHA-1 and salt.
    Ssha,
    /// Base64 of SHA-256 and salt.
    Ssha256,
    /// Base64 of SHA-512 and salt.
    Ssha512,
    /// 64 hex digits of CRAM-MD5 contexts.
    CramMd5,
    /// 16 hex digits of OLD_PASSWORD().
    MysqlOld,
}

/// One reading, or a list of them.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<UnmarkedPasswords>>, D::Error> {
    struct OneOrMore;
    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<UnmarkedPasswords>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one of the forms in quotes, or a list of them")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            UnmarkedPasswords::deserialize(StrDeserializer::new(text)).map(|one| vec![one])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(OneOrMore).map(Some)
}

//! The words of the options about logins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The forms to which stored passwords are brought at a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Rehash {
    /// None: they stay as they are.
    Off,
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
}

/// The SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
#[schemars(inline)]
pub enum Mechanism {
    /// RFC 4616.
    #[serde(alias = "plain")]
    Plain,
    /// draft-murchison-sasl-login.
    #[serde(alias = "login")]
    Login,
    /// RFC 2195.
    #[serde(rename = "CRAM-MD5", alias = "cram-md5")]
    CramMd5,
    /// RFC 6331 (historic).
    #[serde(rename = "DIGEST-MD5", alias = "digest-md5")]
    DigestMd5,
    /// RFC 5802.
    #[serde(rename = "SCRAM-SHA-1", alias = "scram-sha-1")]
    ScramSha1,
    /// RFC 5802, bound to the TLS connection.
    #[serde(rename = "SCRAM-SHA-1-PLUS", alias = "scram-sha-1-plus")]
    ScramSha1Plus,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256", alias = "scram-sha-256")]
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    #[serde(rename = "SCRAM-SHA-256-PLUS", alias = "scram-sha-256-plus")]
    ScramSha256Plus,
    /// RFC 4422, appendix A.
    #[serde(alias = "external")]
    External,
    /// RFC 7628.
    #[serde(alias = "oauthbearer")]
    Oauthbearer,
    /// Google's and Microsoft's.
    #[serde(alias = "xoauth2")]
    Xoauth2,
}

impl Mechanism {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::External => "EXTERNAL",
            Self::Oauthbearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }
}

/// What follows when a password has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PasswordExpiry {
    /// The login is denied.
    Enforce,
    /// Nothing: the panel shows it.
    Ignore,
}

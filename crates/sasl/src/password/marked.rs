//! `{SCHEME}data`: the names of Dovecot, Courier and PostfixAdmin, in any case, perhaps with `.B64`,
//! `.BASE64` or `.HEX` where the data is encoded once more.

use mail_types::Secret;
use zeroize::Zeroizing;

use super::digest::{self, Kind};
use super::{FormatError, Scheme, cleartext, cram, des, encoding, md5crypt, modular, mysql, pbkdf2, scram};

/// The scheme of a name with its data.
pub fn scheme(name: &str, data: &str) -> Result<Scheme, FormatError> {
    let name = name.to_ascii_uppercase();
    if let Some(name) = name.strip_suffix(".B64").or_else(|| name.strip_suffix(".BASE64")) {
        return from_bytes(name, encoding::base64(data)?);
    }
    if let Some(name) = name.strip_suffix(".HEX") {
        return from_bytes(name, encoding::hex(data)?);
    }
    if let Some((kind, salted)) = digest_of(&name) {
        // {MD5} is two schemes: crypt(3)'s of Dovecot, and the plain digest of Courier.
        return match salted {
            false if name == "MD5" && data.starts_with('$') => md5crypt::Hash::parse(data).map(Scheme::Md5),
            false => digest::Hash::unsalted(kind, data).map(Scheme::Digest),
            true => digest::Hash::salted(kind, data).map(Scheme::Digest),
        };
    }
    match &*name {
        "CRAM-MD5" | "HMAC-MD5" => cram::Contexts::parse(data).map(Scheme::CramMd5),
        name => text(name, data),
    }
}

/// The schemes whose data are octets: the hash function, and whether a salt follows the digest.
fn digest_of(name: &str) -> Option<(Kind, bool)> {
    Some(match name {
        "MD5" | "MD5RAW" | "PLAIN-MD5" | "LDAP-MD5" => (Kind::Md5, false),
        "SMD5" => (Kind::Md5, true),
        "SHA" | "SHA1" => (Kind::Sha1, false),
        "SSHA" | "SSHA1" => (Kind::Sha1, true),
        "SHA256" => (Kind::Sha256, false),
        "SSHA256" => (Kind::Sha256, true),
        "SHA512" => (Kind::Sha512, false),
        "SSHA512" => (Kind::Sha512, true),
        _ => return None,
    })
}

/// A scheme with data that were decoded by its suffix.
fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Scheme, FormatError> {
    let bytes = Zeroizing::new(bytes);
    if let Some((kind, salted)) = digest_of(name)
        && !(name == "MD5" && bytes.starts_with(b"$"))
    {
        return digest::Hash::from_bytes(kind, bytes.to_vec(), salted).map(Scheme::Digest);
    }
    match name {
        "CRAM-MD5" | "HMAC-MD5" => cram::Contexts::from_bytes(&bytes).map(Scheme::CramMd5),
        "PLAIN" | "CLEAR" | "CLEARTEXT" if !bytes.is_empty() => Ok(Scheme::Cleartext(Secret::new(&**bytes))),
        name => text(
            name,
            std::str::from_utf8(&bytes).map_err(|_| FormatError::Malformed)?,
        ),
    }
}

/// The schemes whose data are text.
fn text(name: &str, data: &str) -> Result<Scheme, FormatError> {
    let wanted: &[&str] = match name {
        "PLAIN" | "CLEAR" | "CLEARTEXT" if data.is_empty() => return Ok(Scheme::Locked),
        "PLAIN" | "CLEAR" | "CLEARTEXT" => return Ok(cleartext(data)),
        "DES-CRYPT" => return des::Hash::parse(data).map(Scheme::Des),
        "CRYPT" if des::has_form(data) => return des::Hash::parse(data).map(Scheme::Des),
        "PBKDF2" => return pbkdf2::Hash::parse(data).map(Scheme::Pbkdf2),
        "SCRAM-SHA-1" => return scram::Keys::parse(scram::Kind::Sha1, data).map(Scheme::Scram),
        "SCRAM-SHA-256" => return scram::Keys::parse(scram::Kind::Sha256, data).map(Scheme::Scram),
        "MYSQL" => return mysql::Hash::parse(data).map(Scheme::Mysql),
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
    } else {
        Err(FormatError::Malformed)
    }
}

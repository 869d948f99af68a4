//! The few facts of an X.509 certificate that rustls does not tell: its time and the hash of its signature.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// What is needed of a certificate (RFC 5280 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// End of validity, seconds since 1970.
    pub(super) not_after: i64,
    hash: Hash,
}

/// The hash for tls-server-end-point (RFC 5929 4.1): that of the signature, SHA-256 in place of older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
    Undefined,
}

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// PKCS #1 (1.2.840.113549.1.1.) and ANSI X9.62 (1.2.840.10045.4.), followed by the algorithm.
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

impl Facts {
    /// Reads them of a certificate in DER.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (body, rest) = element(certificate, SEQUENCE)?;
        let (algorithm, _) = element(rest, SEQUENCE)?;
        let (oid, _) = element(algorithm, OBJECT_IDENTIFIER)?;

        let (tag, _, after) = any(body)?;
        let after_version = if tag == VERSION { after } else { body };
        // Serial number, signature algorithm, issuer.
        let rest = (0..3).try_fold(after_version, |rest, _| any(rest).map(|(_, _, rest)| rest))?;
        let (validity, _) = element(rest, SEQUENCE)?;
        let (_, _, rest) = any(validity)?;
        let (tag, time, _) = any(rest)?;
        Some(Self {
            not_after: unix_seconds(tag, time)?,
            hash: hash_of(oid),
        })
    }

    /// The hash of the whole certificate; empty where it is not defined.
    pub(super) fn end_point_hash(&self, der: &[u8]) -> Vec<u8> {
        match self.hash {
            Hash::Sha256 => Sha256::digest(der).to_vec(),
            Hash::Sha384 => Sha384::digest(der).to_vec(),
            Hash::Sha512 => Sha512::digest(der).to_vec(),
            Hash::Undefined => Vec::new(),
        }
    }

    /// RFC 3339.
    pub(super) fn not_after_text(&self) -> String {
        jiff::Timestamp::from_second(self.not_after)
            .map(|time| time.to_string())
            .unwrap_or_default()
    }
}

fn hash_of(oid: &[u8]) -> Hash {
    match (oid.strip_prefix(&RSA), oid.strip_prefix(&ECDSA)) {
        // md5, sha1, sha256, sha224 with RSA.
        (Some([4 | 5 | 11 | 14]), _) => Hash::Sha256,
        (Some([12]), _) => Hash::Sha384,
        (Some([13]), _) => Hash::Sha512,
        // ecdsa-with-SHA1, -SHA224, -SHA256.
        (_, Some([1] | [3, 1 | 2])) => Hash::Sha256,
        (_, Some([3, 3])) => Hash::Sha384,
        (_, Some([3, 4])) => Hash::Sha512,
        _ => Hash::Undefined,
    }
}

/// One element: tag, content, what follows it. Definite lengths of up to four octets (DER).
pub(super) fn any(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                octets
                    .iter()
                    .fold(0, |sum: usize, octet| sum << 8 | usize::from(*octet)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of an element of this tag, and what follows it.
pub(super) fn element(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    any(input)
        .filter(|(tag, _, _)| *tag == wanted)
        .map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ` (RFC 5280 4.1.2.5).
fn unix_seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i16 = text.get(..2)?.parse().ok()?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(unix_seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(unix_seconds(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(
            unix_seconds(GENERALIZED_TIME, b"20500101000000Z"),
            Some(2_524_608_000)
        );
        assert_eq!(unix_seconds(UTC_TIME, b"701301000000Z"), None);
        assert_eq!(unix_seconds(UTC_TIME, b""), None);
    }

    #[test]
    fn a_cut_certificate_is_none() {
        let key = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let der = key.cert.der();
        let facts = Facts::read(der).unwrap();
        assert_eq!(facts.hash, Hash::Sha256);
        assert!(facts.not_after > 1_700_000_000);
        for length in 0..der.len() {
            let _ = Facts::read(&der[..length]);
        }
        assert_eq!(Facts::read(&der[..60]), None);
    }
}

//! The fixed parts of a message file: format record, footer and block checksums, as pure functions.

use mail_types::MailId;

use crate::error::Damage;

/// Bytes of body per checksum.
pub(crate) const BLOCK: usize = 65_536;
/// Length of the format record.
pub(crate) const HEAD_LEN: u64 = 64;
/// Length of the footer.
pub(crate) const FOOT_LEN: u64 = 64;
/// The largest trailer that we read: 100,000 recipients of 600 bytes.
pub(crate) const MAX_TRAILER: u32 = 64 * 1024 * 1024;

const HEAD_MAGIC: &[u8; 8] = b"PRSPOOL1";
const FOOT_MAGIC: &[u8; 8] = b"PRSPEND1";
const VERSION: u16 = 1;

/// The format record of message `id`.
pub(crate) fn head(id: MailId) -> [u8; HEAD_LEN as usize] {
    let mut out = [0; HEAD_LEN as usize];
    out[..8].copy_from_slice(HEAD_MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&(BLOCK as u32).to_le_bytes());
    out[16..36].copy_from_slice(id.as_str().as_bytes());
    let crc = crc32c::crc32c(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks that `bytes` are the format record of message `id` in a version that we know.
pub(crate) fn check_head(bytes: &[u8; HEAD_LEN as usize], id: MailId) -> Result<(), Damage> {
    if &bytes[..8] != HEAD_MAGIC {
        return Err(Damage::new("no spool file"));
    }
    if bytes[8..10] != VERSION.to_le_bytes() {
        return Err(Damage::new(format!(
            "format version {}, this program knows {VERSION}",
            u16::from_le_bytes([bytes[8], bytes[9]])
        )));
    }
    if bytes != &head(id) {
        return Err(Damage::new("the format record"));
    }
    Ok(())
}

/// What the footer says, without the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) trailer_len: u32,
    /// CRC32C of trailer and block checksums.
    pub(crate) trailer_crc: u32,
    pub(crate) body_len: u64,
    pub(crate) total_len: u64,
}

impl Footer {
    /// The 24 bytes before the hash; they are part of what is hashed.
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..4].copy_from_slice(&self.trailer_len.to_le_bytes());
        out[4..8].copy_from_slice(&self.trailer_crc.to_le_bytes());
        out[8..16].copy_from_slice(&self.body_len.to_le_bytes());
        out[16..].copy_from_slice(&self.total_len.to_le_bytes());
        out
    }

    /// Reads a footer and checks that its lengths make up `file_len`.
    pub(crate) fn decode(bytes: &[u8; FOOT_LEN as usize], file_len: u64) -> Result<(Self, [u8; 32]), Damage> {
        if &bytes[56..] != FOOT_MAGIC {
            return Err(Damage::new("no footer"));
        }
        let u32_at = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let u64_at = |i: usize| u64::from(u32_at(i)) | u64::from(u32_at(i + 4)) << 32;
        let footer = Self {
            trailer_len: u32_at(0),
            trailer_crc: u32_at(4),
            body_len: u64_at(8),
            total_len: u64_at(16),
        };
        let sum = blocks(footer.body_len)
            .checked_mul(4)
            .and_then(|n| n.checked_add(footer.body_len))
            .and_then(|n| n.checked_add(u64::from(footer.trailer_len)))
            .and_then(|n| n.checked_add(HEAD_LEN + FOOT_LEN));
        if footer.total_len != file_len || sum != Some(file_len) || footer.trailer_len > MAX_TRAILER {
            return Err(Damage::new("lengths that do not add up"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[24..56]);
        Ok((footer, hash))
    }
}

/// The whole footer.
pub(crate) fn foot(fields: &[u8; 24], hash: &[u8; 32]) -> [u8; FOOT_LEN as usize] {
    let mut out = [0; FOOT_LEN as usize];
    out[..24].copy_from_slice(fields);
    out[24..56].copy_from_slice(hash);
    out[56..].copy_from_slice(FOOT_MAGIC);
    out
}

/// How many blocks a body of this length has.
pub(crate) fn blocks(body_len: u64) -> u64 {
    body_len.div_ceil(BLOCK as u64)
}

//! Framing of the store's files: typed records with checksums (docs/formats/uidlog.md). Pure.

use crate::error::StoreError;

/// A record: its type and its payload.
pub(crate) type Record<'a> = (u8, &'a [u8]);

/// What was found in a file, or in the part of it after what is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// The valid records, in order.
    pub(crate) records: Vec<Record<'a>>,
    /// Length of the prefix that ends with the last valid record: what follows is a torn tail.
    pub(crate) valid: usize,
    /// Whether valid records stand behind damaged ones.
    pub(crate) damaged: bool,
}

/// The first 12 bytes of a file.
pub(crate) fn header(magic: [u8; 8], version: u32) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes
}

/// Whether `bytes` begin with the header that we write. A higher version is an error, so that an old
/// program never harms a new file; anything else is just not such a file.
pub(crate) fn check_header(bytes: &[u8], magic: [u8; 8], version: u32) -> Result<bool, StoreError> {
    let Some((found, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok(false);
    };
    let Some((number, _)) = rest.split_first_chunk::<4>() else {
        return Ok(false);
    };
    let number = u32::from_le_bytes(*number);
    if *found != magic {
        return Ok(false);
    }
    if number > version {
        return Err(StoreError::Unusable(format!(
            "a file of format version {number}, this program knows {version}"
        )));
    }
    Ok(number == version)
}

/// Appends a record to `out`.
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, payload: &[&[u8]]) {
    let len = 1 + payload.iter().map(|p| p.len()).sum::<usize>();
    let length = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let mut crc = crc32c::crc32c(&length);
    crc = crc32c::crc32c_append(crc, &[kind]);
    for part in payload {
        crc = crc32c::crc32c_append(crc, part);
    }
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.push(kind);
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Reads records; `bytes` begin at a record.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut parsed = Parsed {
        records: Vec::new(),
        valid: 0,
        damaged: false,
    };
    let mut at = 0;
    while at < bytes.len() {
        if let Some((record, next)) = record_at(bytes, at) {
            parsed.records.push(record);
            at = next;
            parsed.valid = at;
        } else if let Some(next) = resume(bytes, at + 1) {
            parsed.damaged = true;
            at = next;
        } else {
            break;
        }
    }
    parsed
}

/// The record at `at` and where the next one begins.
fn record_at(bytes: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if len == 0 || len > MAX_BODY {
        return None;
    }
    let body = rest.get(..len)?;
    let found = crc32c::crc32c_append(crc32c::crc32c(length), body);
    (found == u32::from_le_bytes(*crc)).then_some(((body[0], &body[1..]), at + 8 + len))
}

/// The next place after damage where a valid record begins. The work is bounded: bytes that only look like
/// lengths cost one checksum each, and those cannot cost more than the budget together.
fn resume(bytes: &[u8], from: usize) -> Option<usize> {
    let mut budget = 64 * MAX_BODY;
    for at in from..bytes.len().saturating_sub(8) {
        let len = bytes
            .get(at..at + 4)
            .map_or(0, |l| u32::from_le_bytes([l[0], l[1], l[2], l[3]]) as usize);
        if len == 0 || len > MAX_BODY || at + 8 + len > bytes.len() {
            continue;
        }
        budget = budget.checked_sub(len)?;
        if record_at(bytes, at).is_some() {
            return Some(at);
        }
    }
    None
}

/// Reads the numbers of a payload one after the other.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

/// Larger records are damage.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// Length of [`header`].
pub(crate) const HEADER: u64 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, &[b"one"]);
        push(&mut bytes, 2, &[b"tw", b"o"]);
        push(&mut bytes, 3, &[]);
        bytes
    }

    #[test]
    fn records_round_trip() {
        let bytes = three();
        let parsed = parse(&bytes);
        assert_eq!(parsed.records, [(1, &b"one"[..]), (2, b"two"), (3, b"")]);
        assert_eq!((parsed.valid, parsed.damaged), (bytes.len(), false));
    }

    #[test]
    fn a_tail_torn_anywhere_is_cut() {
        let bytes = three();
        let second = 8 + 4;
        for cut in second..second + 11 {
            let parsed = parse(&bytes[..cut]);
            assert_eq!(
                (parsed.records.len(), parsed.valid, parsed.damaged),
                (1, second, false),
                "{cut}"
            );
        }
    }

    #[test]
    fn damage_in_the_middle_costs_one_record() {
        let whole = three();
        for bit in (8 + 4) * 8..(8 + 4 + 12) * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let parsed = parse(&bytes);
            assert_eq!(parsed.records, [(1, &b"one"[..]), (3, b"")], "bit {bit}");
            assert!(parsed.damaged);
        }
    }

    #[test]
    fn only_our_version_is_read() {
        let ours = header(*b"PR-TEST\n", 1);
        assert!(check_header(&ours, *b"PR-TEST\n", 1).unwrap());
        assert!(!check_header(&ours, *b"PR-OTHE\n", 1).unwrap());
        assert!(!check_header(&ours[..5], *b"PR-TEST\n", 1).unwrap());
        assert!(check_header(&header(*b"PR-TEST\n", 2), *b"PR-TEST\n", 1).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}

//! File names of messages: unique base names, flag letters, delivery keys. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use mail_types::DeliveryKey;

use crate::flags::Flags;

/// A file name taken apart: `base` or `base:2,letters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedName<'a> {
    /// Everything before the last `:`: what stays the same for the life of the message.
    pub base: &'a OsStr,
    /// The six flags.
    pub flags: Flags,
    /// Whether [`with_flags`] gives back this very name.
    pub canonical: bool,
}

/// Takes a file name apart. A name without `:2,` has no flags.
pub fn parse(name: &OsStr) -> ParsedName<'_> {
    let bytes = name.as_bytes();
    let Some(colon) = memrchr(b':', bytes) else {
        return ParsedName {
            base: name,
            flags: Flags::NONE,
            canonical: false,
        };
    };
    let base = OsStr::from_bytes(&bytes[..colon]);
    let mut flags = Flags::NONE;
    let mut sorted = true;
    let mut last = 0;
    let Some(letters) = bytes[colon + 1..].strip_prefix(b"2,") else {
        return ParsedName {
            base,
            flags,
            canonical: false,
        };
    };
    for letter in letters {
        match Flags::from_letter(*letter) {
            Some(flag) => flags |= flag,
            None => sorted = false,
        }
        sorted &= *letter > last;
        last = *letter;
    }
    ParsedName {
        base,
        flags,
        canonical: sorted,
    }
}

/// The file name in `cur/` for a base name and flags, without any other letters.
pub fn with_flags(base: &OsStr, flags: Flags) -> OsString {
    let mut name = base.as_bytes().to_vec();
    name.extend_from_slice(b":2,");
    name.extend(flags.letters());
    OsString::from_vec(name)
}

/// The name of a file whose flags change from what `old` says to `flags`: letters that are none of the six
/// (other programs' keywords) stay.
pub fn change_flags(old: &OsStr, flags: Flags) -> OsString {
    let parsed = parse(old);
    let info = &old.as_bytes()[parsed.base.len()..];
    let mut letters: Vec<u8> = flags.letters().collect();
    if let Some(old_letters) = info.strip_prefix(b":2,") {
        letters.extend(old_letters.iter().filter(|l| Flags::from_letter(**l).is_none()));
    }
    letters.sort_unstable();
    letters.dedup();
    let mut name = parsed.base.as_bytes().to_vec();
    name.extend_from_slice(b":2,");
    name.extend(letters);
    OsString::from_vec(name)
}

/// The base name of a delivery: `<seconds>.Q<id>R<n>.<host>,S=<bytes>` (architecture.md section 2).
pub fn delivered(seconds: u64, key: DeliveryKey, host: &str, size: u64) -> OsString {
    format!("{seconds}.{key}.{host},S={size}").into()
}

/// Whether `name` is a message delivered under `key`.
pub fn has_key(name: &OsStr, key: DeliveryKey) -> bool {
    key_of(name) == Some(key)
}

/// The delivery key in a file name of ours.
pub fn key_of(name: &OsStr) -> Option<DeliveryKey> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    text.split('.').nth(1)?.parse().ok()
}

/// A base name that no file has: time, process and 64 random bits.
pub fn unique(seconds: u64, micros: u32, random: u64, host: &str) -> String {
    format!("{seconds}.M{micros}P{}R{random:016x}.{host}", std::process::id())
}

/// The host part of names: `/` and `:` written as Maildir wants them, other odd characters dropped, not too
/// long for a file name.
pub fn host_part(host: &str) -> String {
    let mut part = String::new();
    for c in host.chars().take(64) {
        match c {
            '/' => part.push_str("\\057"),
            ':' => part.push_str("\\072"),
            c if c.is_ascii_graphic() && c != ',' => part.push(c),
            _ => {}
        }
    }
    if part.is_empty() {
        "localhost".to_owned()
    } else {
        part
    }
}

/// The order in which messages that were found together get their UIDs: by arrival, then by name.
pub fn arrival_order(base: &OsStr) -> (u64, &OsStr) {
    let digits = base.as_bytes().iter().take_while(|b| b.is_ascii_digit()).count();
    let seconds = std::str::from_utf8(&base.as_bytes()[..digits])
        .ok()
        .and_then(|d| d.parse().ok());
    (seconds.unwrap_or(u64::MAX), base)
}

/// Where the last `wanted` stands.
fn memrchr(wanted: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|b| *b == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn names_are_taken_apart_at_the_last_colon() {
        let name = parse(os("1.a:b.host,S=3:2,FS"));
        assert_eq!((name.base, name.canonical), (os("1.a:b.host,S=3"), true));
        assert_eq!(name.flags, Flags::FLAGGED | Flags::SEEN);
        assert_eq!(parse(os("1.a.host")).base, os("1.a.host"));
        assert!(!parse(os("1.a.host")).canonical);
        // Foreign orders and letters are read, and known not to be ours.
        for odd in ["1.a:2,SF", "1.a:2,Sa", "1.a:2,SS", "1.a:1,x", "1.a:"] {
            assert!(!parse(os(odd)).canonical, "{odd}");
        }
        assert_eq!(parse(os("1.a:2,SFxa")).flags, Flags::FLAGGED | Flags::SEEN);
    }

    #[test]
    fn foreign_letters_survive_a_change() {
        assert_eq!(change_flags(os("1.a:2,SFab"), Flags::DELETED), os("1.a:2,Tab"));
        assert_eq!(change_flags(os("1.a"), Flags::SEEN), os("1.a:2,S"));
        assert_eq!(change_flags(os("1.a:2,S"), Flags::NONE), os("1.a:2,"));
    }

    #[test]
    fn delivery_keys_stand_in_names() {
        let key = DeliveryKey {
            id: "0Rz4567890abcdefghiR".parse().unwrap(),
            recipient: 7,
        };
        let name = delivered(1_700_000_000, key, &host_part("mx.example.com"), 42);
        assert_eq!(name, os("1700000000.Q0Rz4567890abcdefghiRR7.mx.example.com,S=42"));
        assert_eq!(key_of(&change_flags(&name, Flags::SEEN)), Some(key));
        assert!(!has_key(&name, DeliveryKey { recipient: 70, ..key }));
        assert_eq!(key_of(os("1700000000.M1P2.host")), None);
    }

    #[test]
    fn hosts_cannot_break_names() {
        assert_eq!(host_part("a/b:c,d\n"), "a\\057b\\072cd");
        assert_eq!(host_part(""), "localhost");
    }
}

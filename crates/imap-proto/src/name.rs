//! Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3).

/// A mailbox name as the client sent it (an astring without its quoting); see [`WireName::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireName(pub Vec<u8>);

/// Why a name cannot be a mailbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not modified UTF-7.
    #[error("Mailbox name is not valid modified UTF-7")]
    Encoding,
    /// A control character.
    #[error("Control character in mailbox name")]
    Control,
}

impl WireName {
    /// The name in UTF-8, with any spelling of INBOX as `INBOX` (also as the first level).
    ///
    /// Octets over 127 are taken as UTF-8, as some clients send it; an `&` that begins no valid sequence is
    /// refused, because encoding the result again would give another name.
    pub fn decode(&self) -> Result<String, NameError> {
        let name = decode(&self.0)?;
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if name.eq_ignore_ascii_case("INBOX") {
            return Ok("INBOX".to_owned());
        }
        Ok(name)
    }
}

/// Decodes modified UTF-7. Only the one right spelling is accepted, so that two names never mean one.
pub fn decode(wire: &[u8]) -> Result<String, NameError> {
    let text = std::str::from_utf8(wire).map_err(|_| NameError::Encoding)?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let end = after.find('-').ok_or(NameError::Encoding)?;
        if end == 0 {
            out.push('&');
        } else {
            decode_shifted(&after.as_bytes()[..end], &mut out)?;
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    // Printable ASCII in base64, or two shifts in a row, are other spellings of a name that exists.
    if text.is_ascii() && encode(&out).as_bytes() != wire {
        return Err(NameError::Encoding);
    }
    Ok(out)
}

fn decode_shifted(base64: &[u8], out: &mut String) -> Result<(), NameError> {
    let mut units = Vec::with_capacity(base64.len());
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in base64 {
        let value = ALPHABET
            .iter()
            .position(|a| a == byte)
            .ok_or(NameError::Encoding)?;
        bits = (bits << 6 | value as u32) & 0x3f_ffff;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count & 0xffff) as u16);
        }
    }
    if count >= 6 || bits & ((1 << count) - 1) != 0 {
        return Err(NameError::Encoding);
    }
    for unit in char::decode_utf16(units) {
        out.push(unit.map_err(|_| NameError::Encoding)?);
    }
    Ok(())
}

/// Encodes as modified UTF-7: printable ASCII as it is, `&` as `&-`, the rest as UTF-16 in base64.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut units: Vec<u16> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut units, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut buffer = [0; 2];
            units.extend_from_slice(c.encode_utf16(&mut buffer));
        }
    }
    flush(&mut units, &mut out);
    out
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0u32, 0u32);
    for unit in units.drain(..) {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(char::from(ALPHABET[(bits >> count & 63) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        out.push(char::from(ALPHABET[(bits << (6 - count) & 63) as usize]));
    }
    out.push('-');
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_the_rfc() {
        for (wire, name) in [
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("a&-b", "a&b"),
            ("&2D3eAA-", "😀"),
        ] {
            assert_eq!(decode(wire.as_bytes()).unwrap(), name);
            assert_eq!(encode(name), wire);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        // RFC 3501 5.1.3: a superfluous shift, printable ASCII in base64, an unpaired surrogate, no end.
        for bad in [
            "&Jjo!",
            "&U,BTFw-&ZeVnLIqe-",
            "&AGE-",
            "&2D0-",
            "&",
            "a&b",
            "&A-",
            "\u{1}",
        ] {
            assert!(WireName(bad.as_bytes().to_vec()).decode().is_err(), "{bad}");
        }
        assert!(WireName(vec![0xff]).decode().is_err());
        assert_eq!(WireName(b"iNbOx".to_vec()).decode().unwrap(), "INBOX");
        assert_eq!(
            WireName("Gelöscht".as_bytes().to_vec()).decode().unwrap(),
            "Gelöscht"
        );
    }

    proptest! {
        #[test]
        fn its_own_inverse(name in "\\PC{0,30}") {
            prop_assert_eq!(decode(encode(&name).as_bytes()).unwrap(), name);
        }

        #[test]
        fn never_panics(wire in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = WireName(wire).decode();
        }
    }
}

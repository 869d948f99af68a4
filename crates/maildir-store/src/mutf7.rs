//! The modified UTF-7 of mailbox names (RFC 3501 5.1.3), as folder directories are spelled.

/// Writes `name` in modified UTF-7.
pub fn encode(name: &str) -> String {
    let mut out = String::new();
    let mut wide: Vec<u16> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut wide, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            wide.extend_from_slice(c.encode_utf16(&mut units));
        }
    }
    flush(&mut wide, &mut out);
    out
}

/// Reads modified UTF-7. None where it is not well-formed, or not the way [`encode`] would write the same
/// name: two spellings of one name would be two folders to one program and one to another.
pub fn decode(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let (coded, after) = rest[start + 1..].split_once('-')?;
        if coded.is_empty() {
            out.push('&');
        } else {
            out.push_str(&decode_base64(coded)?);
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == text).then_some(out)
}

fn flush(wide: &mut Vec<u16>, out: &mut String) {
    if wide.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0u32, 0);
    for unit in wide.drain(..) {
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

fn decode_base64(coded: &str) -> Option<String> {
    let (mut bits, mut count) = (0u32, 0);
    let mut units = Vec::new();
    for byte in coded.bytes() {
        let value = ALPHABET.iter().position(|a| *a == byte)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count & 0xffff) as u16);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf16(&units).ok()
}

/// Base64 with `,` for `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_the_rfc() {
        for (name, coded) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Résumé", "R&AOk-sum&AOk-"),
            ("a & b", "a &- b"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(name), coded);
            assert_eq!(decode(coded).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            "&",
            "&AOk",
            "&AOl-",
            "&AGE-",
            "&Jjo-&Jjo-",
            "&U,BT-x&-&",
            "&*-",
            "é",
            "&2D0-",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn inverse(name in "\\PC{0,20}") {
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }
    }
}

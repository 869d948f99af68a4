//! Text for SEARCH: encoded words (RFC 2047), transfer encodings, charsets, dates. Lossy where the mail is broken, never
//! an error: what cannot be decoded is searched as it stands.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

use super::structure::{Kind, Structure};
use crate::header;

/// An unfolded header value with its encoded words decoded.
pub fn header_text(value: &[u8]) -> String {
    let value = header::unfold(value);
    let mut out = String::with_capacity(value.len());
    let mut rest: &[u8] = &value;
    // Between two encoded words white space is not shown, and one character may be split over both; so the
    // octets of neighbours in one charset are put together before they are decoded.
    let mut pending: Option<(Vec<u8>, Vec<u8>)> = None;
    while let Some(start) = memchr::memmem::find(rest, b"=?") {
        let (before, word) = rest.split_at(start);
        let Some((charset, octets, len)) = encoded_word(word) else {
            flush(&mut pending, &mut out);
            out.push_str(&plain(&rest[..start + 2]));
            rest = &rest[start + 2..];
            continue;
        };
        let adjacent = pending.is_some() && before.iter().all(u8::is_ascii_whitespace);
        if !adjacent {
            flush(&mut pending, &mut out);
            out.push_str(&plain(before));
        }
        match &mut pending {
            Some((last, collected)) if last.eq_ignore_ascii_case(&charset) => {
                collected.extend_from_slice(&octets);
            }
            _ => {
                flush(&mut pending, &mut out);
                pending = Some((charset, octets));
            }
        }
        rest = &rest[start + len..];
    }
    flush(&mut pending, &mut out);
    out.push_str(&plain(rest));
    out
}

fn flush(pending: &mut Option<(Vec<u8>, Vec<u8>)>, out: &mut String) {
    if let Some((charset, octets)) = pending.take() {
        out.push_str(&charset_text(&charset, &octets));
    }
}

/// Text without encoding: UTF-8 where it is, else Latin-1, so that no octet is lost.
fn plain(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().map(|b| char::from(*b)).collect()),
    }
}

/// `=?charset?b?text?=`: the charset (without the language of RFC 2231), the octets, the length.
fn encoded_word(word: &[u8]) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    // RFC 2047 allows 75 octets; some programs write far longer ones.
    let limit = &word[..word.len().min(4096)];
    let body = limit.get(2..)?;
    let charset_len = memchr::memchr(b'?', body)?;
    let (charset, rest) = (&body[..charset_len], &body[charset_len + 1..]);
    let encoding = *rest.first()?;
    let text = rest.get(1..)?.strip_prefix(b"?")?;
    let text_len = memchr::memmem::find(text, b"?=")?;
    let encoded = &text[..text_len];
    if charset.is_empty() || !charset.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let octets = match encoding {
        b'b' | b'B' => base64(encoded),
        b'q' | b'Q' => {
            let spaced: Vec<u8> = encoded
                .iter()
                .map(|b| if *b == b'_' { b' ' } else { *b })
                .collect();
            quoted_printable(&spaced)
        }
        _ => return None,
    };
    let charset = charset.split(|b| *b == b'*').next().unwrap_or_default().to_vec();
    Some((charset, octets, 2 + charset_len + 1 + 2 + text_len + 2))
}

/// Octets in a charset as text; UTF-8 or Latin-1 where the charset is unknown.
pub fn charset_text(charset: &[u8], octets: &[u8]) -> String {
    let ascii = charset.is_empty()
        || charset.eq_ignore_ascii_case(b"utf-8")
        || charset.eq_ignore_ascii_case(b"us-ascii");
    match charset_decoder(charset) {
        Some(decode) if !ascii && charset.len() <= 45 => decode(octets),
        _ => plain(octets).into_owned(),
    }
}

/// Base64 without its rules: everything outside the alphabet is passed over.
pub fn base64(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in encoded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

/// Quoted-printable; a broken escape stands for itself.
pub fn quoted_printable(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = &rest[at + 1..];
        let digit = |at: usize| escape.get(at).and_then(|b| char::from(*b).to_digit(16));
        let blanks = escape.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let soft = &escape[blanks..];
        rest = if let (Some(high), Some(low)) = (digit(0), digit(1)) {
            out.push((high << 4 | low) as u8);
            &escape[2..]
        } else if let Some(behind) = soft.strip_prefix(b"\r\n").or_else(|| soft.strip_prefix(b"\n")) {
            behind
        } else if soft.is_empty() {
            soft
        } else {
            out.push(b'=');
            escape
        };
    }
    out.extend_from_slice(rest);
    out
}

/// Calls `visit` with the text of every text part and of every part header below the root, decoded, until
/// it returns `true`; returns whether it did. This is what SEARCH BODY looks at.
pub fn any_body_text(raw: &[u8], structure: &Structure, mut visit: impl FnMut(&str) -> bool) -> bool {
    let slice = |from: usize, to: usize| raw.get(from..to).unwrap_or_default();
    for (index, part) in structure.parts().iter().enumerate() {
        if index > 0 {
            let header = slice(part.header.offset, part.body.offset);
            if header::fields(header).any(|field| visit(&header_text(field.raw_value()))) {
                return true;
            }
        }
        let wanted = part.content.is_text() || index == 0 && structure.parts().len() == 1;
        if part.kind != Kind::Leaf || !wanted {
            continue;
        }
        let body = slice(part.body.offset, part.end.offset);
        let octets = if part.content.encoding.eq_ignore_ascii_case(b"base64") {
            Cow::Owned(base64(body))
        } else if part.content.encoding.eq_ignore_ascii_case(b"quoted-printable") {
            Cow::Owned(quoted_printable(body))
        } else {
            Cow::Borrowed(body)
        };
        let charset = part.content.parameter("charset").unwrap_or_default();
        if visit(&charset_text(charset, &octets)) {
            return true;
        }
    }
    false
}

/// The calendar day of a Date field in its own zone: year, month 1 to 12, day. `None` where there is none.
pub fn date_of(value: &[u8]) -> Option<(u16, u8, u8)> {
    let value = header::unfold(&value[..value.len().min(256)]);
    let text = String::from_utf8_lossy(&value).into_owned();
    let text = text.split_once(',').map_or(text.as_str(), |(_, rest)| rest);
    let mut words = text
        .split(|c: char| c.is_ascii_whitespace() || c == '-')
        .filter(|w| !w.is_empty());
    let mut day = words.next()?;
    if day.chars().all(char::is_alphabetic) {
        // `Mon 5 Jan 2026` without the comma.
        day = words.next()?;
    }
    let day: u8 = day.parse().ok().filter(|d| (1..=31).contains(d))?;
    let month = words.next()?.get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|m| *m == month)? as u8 + 1;
    let year = words.next()?;
    let number: u16 = year.parse().ok()?;
    // RFC 5322 4.3.
    let year = match (year.len(), number) {
        (2, 0..50) => number + 2000,
        (2 | 3, _) => number + 1900,
        (4, _) => number,
        _ => return None,
    };
    Some((year, month, day))
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words() {
        for (value, text) in [
            ("=?utf-8?q?J=C3=B6rg_x?= <j@x>", "Jörg x <j@x>"),
            ("=?iso-8859-1?B?SvZyZw==?=", "Jörg"),
            // White space between two of them is not shown, and a character may be split.
            ("=?utf-8?b?w7w=?= =?utf-8?b?w7w=?=", "üü"),
            ("=?utf-8?q?=C3?=\r\n =?UTF-8?q?=BC?=", "ü"),
            ("a =?utf-8?q?b?= c", "a b c"),
            ("=?utf-8*de?q?b?=", "b"),
            ("=?utf-7?q?+AOQ-?=", "ä"),
            // Broken ones stand for themselves (robustness.md M09).
            ("=?x?q?a?=", "a"),
            ("=?utf-8?b?", "=?utf-8?b?"),
            ("=?utf-8?z?a?=", "=?utf-8?z?a?="),
            ("=?", "=?"),
        ] {
            assert_eq!(header_text(value.as_bytes()), text, "{value}");
        }
        assert_eq!(header_text(b"J\xf6rg"), "Jörg");
        let many = "=?utf-8?b?!!!?= ".repeat(100_000);
        assert_eq!(header_text(many.as_bytes()), "");
    }

    #[test]
    fn transfer_encodings_never_fail() {
        // robustness.md M11
        assert_eq!(
            quoted_printable(b"a=\r\nb=\nc=XY=C3=BC=20=\r="),
            b"abc=XY\xc3\xbc =\r"
        );
        assert_eq!(base64(b"SGVs bG8=\r\nSGVsbG8h!"), b"HelloHello!");
    }

    #[test]
    fn dates_of_all_ages() {
        for (value, date) in [
            ("Mon, 05 Jan 2026 10:00:00 +0000", Some((2026, 1, 5))),
            ("5 Jan 26 10:00 GMT", Some((2026, 1, 5))),
            ("Mon 5 Jan 1998", Some((1998, 1, 5))),
            ("05-Jan-99 1:1", Some((1999, 1, 5))),
            ("99 Foo 99999999999 25:61:61 +9999", None),
            ("", None),
        ] {
            assert_eq!(date_of(value.as_bytes()), date, "{value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in "[=?utf8bq_ \r\nA-F0-9-]{0,80}") {
            let _ = header_text(value.as_bytes());
            let _ = quoted_printable(value.as_bytes());
            let _ = base64(value.as_bytes());
            let _ = date_of(value.as_bytes());
        }
    }
}

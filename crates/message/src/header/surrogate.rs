//! A header in ASCII in place of one in UTF-8, for clients that know nothing of RFC 6532.
//!
//! RFC 6856 2.1 forbids to send UTF-8 headers to a POP3 client that did not ask for them, and leaves a
//! refusal or a surrogate; a refusal would end the fetch of most clients for good. This is the surrogate of
//! RFC 6858: addresses that cannot be written in ASCII become empty groups that show them, text becomes
//! encoded words, parameters are encoded after RFC 2231, what has no ASCII form is left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, HeaderValue};

use super::{Field, fields};

/// The header with every field in ASCII and CRLF line ends. None where nothing has to be done: it is ASCII,
/// or it is not UTF-8 (8-bit mail from before RFC 6532, which goes out as it always did).
pub fn surrogate(header: &[u8]) -> Option<Vec<u8>> {
    if header.is_ascii() || std::str::from_utf8(header).is_err() {
        return None;
    }
    let mut out = Vec::with_capacity(header.len() * 2);
    for field in fields(header) {
        if field.raw().is_ascii() {
            out.extend_from_slice(field.raw());
        } else if field.name().is_ascii() {
            out.extend(rewrite(&field).unwrap_or_default());
        }
    }
    Some(out)
}

/// One field in ASCII, or none if it has no such form.
fn rewrite(field: &Field<'_>) -> Option<Vec<u8>> {
    let name = std::str::from_utf8(field.name()).ok()?;
    let value = field.value();
    let parts = match name.to_ascii_lowercase().as_str() {
        "from" | "sender" | "reply-to" | "to" | "cc" | "bcc" | "resent-from" | "resent-sender"
        | "resent-to" | "resent-cc" | "resent-bcc" | "resent-reply-to" => addresses(&value),
        "content-type" | "content-disposition" => parameters(&value),
        "subject" | "comments" | "content-description" | "thread-topic" => text(&value),
        extension if extension.starts_with("x-") => text(&value),
        _ => return None,
    };
    let mut out = format!("{name}:").into_bytes();
    let mut column = out.len();
    for part in parts {
        // 78 octets on a line (RFC 5322 2.1.1), as far as the parts can be broken.
        if column + 1 + part.len() > 78 && column > name.len() + 1 {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.push(b' ');
        out.extend_from_slice(part.as_bytes());
        column += 1 + part.len();
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

/// Unstructured text as encoded words.
fn text(value: &[u8]) -> Vec<String> {
    encoded_words(&String::from_utf8_lossy(value))
}

/// Encoded words of at most 75 octets each, cut between characters (RFC 2047 2).
fn encoded_words(text: &str) -> Vec<String> {
    // 12 octets around 40 of base64, so that a word fits behind a field name on one line.
    const OCTETS: usize = 30;
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut cut = rest.len().min(OCTETS);
        while !rest.is_char_boundary(cut) {
            cut -= 1;
        }
        let (word, after) = rest.split_at(cut);
        words.push(format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words
}

/// An address list: ASCII addresses stay, others become empty groups named after them (RFC 6858 2.1).
fn addresses(value: &[u8]) -> Vec<String> {
    let terminated = [value, b"\n"].concat();
    let HeaderValue::Address(list) = MessageStream::new(&terminated).parse_address() else {
        return Vec::new();
    };
    let mut parts: Vec<String> = Vec::new();
    for mailbox in list.iter() {
        if let Some(last) = parts.last_mut() {
            last.push(',');
        }
        parts.extend(address(mailbox));
    }
    parts
}

fn address(mailbox: &Addr<'_>) -> Vec<String> {
    let name = mailbox.name.as_deref().unwrap_or_default();
    let address = mailbox.address.as_deref().unwrap_or_default();
    if address.is_ascii() {
        let mut parts = encoded_words(name);
        parts.push(format!("<{address}>"));
        return parts;
    }
    let mut parts = encoded_words(format!("{name} {address}").trim());
    parts.push(":;".into());
    parts
}

/// A MIME value with parameters; those that are not ASCII after RFC 2231 4.
fn parameters(value: &[u8]) -> Vec<String> {
    let terminated = [value, b"\n"].concat();
    let HeaderValue::ContentType(content) = MessageStream::new(&terminated).parse_content_type() else {
        return Vec::new();
    };
    let mut main = content.c_type.to_string();
    if let Some(subtype) = &content.c_subtype {
        main.push('/');
        main.push_str(subtype);
    }
    let mut parts = vec![main];
    for attribute in content.attributes.iter().flatten() {
        if !attribute.name.is_ascii() {
            continue;
        }
        if let Some(last) = parts.last_mut() {
            last.push(';');
        }
        parts.push(parameter(&attribute.name, &attribute.value));
    }
    parts.retain(|part| part.is_ascii());
    parts
}

fn parameter(name: &str, value: &str) -> String {
    let plain = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && !value.contains(['"', '\\']);
    if plain {
        return format!("{name}=\"{value}\"");
    }
    let mut encoded = format!("{name}*=utf-8''");
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(header: &str) -> String {
        String::from_utf8(surrogate(header.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn ascii_and_old_8_bit_headers_are_left_alone() {
        assert_eq!(surrogate(b"Subject: =?utf-8?q?=C3=A9?=\r\n"), None);
        assert_eq!(surrogate(b"Subject: caf\xe9\r\n"), None);
    }

    #[test]
    fn subjects_become_encoded_words() {
        assert_eq!(
            rewritten("To: a@a.test\r\nSubject: café\r\n"),
            "To: a@a.test\r\nSubject: =?utf-8?b?Y2Fmw6k=?=\r\n"
        );
        let long = rewritten(&format!("Subject: {}\n", "ü".repeat(200)));
        assert!(long.lines().all(|line| line.len() <= 78), "{long}");
        let message = format!("{long}\r\n");
        let parsed = mail_parser::MessageParser::default()
            .parse(message.as_bytes())
            .unwrap();
        assert_eq!(parsed.subject().unwrap(), "ü".repeat(200));
    }

    #[test]
    fn addresses_keep_what_ascii_can_say() {
        assert_eq!(
            rewritten("From: Jörg <joerg@a.test>, b@b.test\r\n"),
            "From: =?utf-8?b?SsO2cmc=?= <joerg@a.test>, <b@b.test>\r\n"
        );
        assert_eq!(
            rewritten("To: jörg@a.test\r\n"),
            "To: =?utf-8?b?asO2cmdAYS50ZXN0?= :;\r\n"
        );
    }

    #[test]
    fn file_names_are_percent_encoded() {
        assert_eq!(
            rewritten("Content-Disposition: attachment; filename=\"é a.txt\"\r\n"),
            "Content-Disposition: attachment; filename*=utf-8''%C3%A9%20a.txt\r\n"
        );
    }

    #[test]
    fn what_has_no_form_is_left_out() {
        assert_eq!(
            rewritten("Message-ID: <é@a.test>\r\nX-Note: é\r\nDate: x\r\n"),
            "X-Note: =?utf-8?b?w6k=?=\r\nDate: x\r\n"
        );
    }

    proptest! {
        #[test]
        fn always_ascii_and_still_fields(name in "From|To|Subject|Content-Type|X-A|References", value in "[ -~äß€\u{10ffff}]{0,120}") {
            let header = format!("{name}: {value}\r\nDate: é\r\nEnd: 1\r\n");
            let out = surrogate(header.as_bytes()).unwrap();
            prop_assert!(out.is_ascii());
            prop_assert!(out.ends_with(b"End: 1\r\n"));
            let message = [&out[..], b"\r\n"].concat();
            prop_assert_eq!(super::super::split(&message).header, &out[..]);
        }
    }
}

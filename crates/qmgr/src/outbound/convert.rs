//! An 8-bit message as a 7-bit one, for servers without 8BITMIME: RFC 6152 3, RFC 2045 6, RFC 2049.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use message::header::{self, HeaderEnd};

/// Why a message cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    /// Raw 8-bit octets in header fields have no 7-bit form that means the same.
    #[error("its header is not ASCII")]
    Header,
    /// A signature over the text would break.
    #[error("it is signed")]
    Signed,
    /// A type whose content must not be encoded, or an encoding that is not what it says.
    #[error("its structure does not allow it")]
    Structure,
    /// Parts in parts in parts.
    #[error("it is nested too deeply")]
    Depth,
}

const MAX_DEPTH: u32 = 100;
const LINE: usize = 76;

/// Converts a whole message with CRLF line ends. What is ASCII already stays byte for byte.
pub(crate) fn to_seven_bit(message: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 4);
    entity(message, Context::Message, 0, &mut out)?;
    Ok(out)
}

/// Where an entity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// A message: MIME-Version decides.
    Message,
    /// A part of a multipart.
    Part,
}

fn entity(input: &[u8], context: Context, depth: u32, out: &mut Vec<u8>) -> Result<(), ConvertError> {
    if input.is_ascii() {
        out.extend_from_slice(input);
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(ConvertError::Depth);
    }
    let parts = header::split(input);
    if !parts.header.is_ascii() || !parts.mailbox_line.is_empty() {
        return Err(ConvertError::Header);
    }
    let encoding = header::find(parts.header, "Content-Transfer-Encoding")
        .map(|f| String::from_utf8_lossy(&f.value()).trim().to_ascii_lowercase())
        .unwrap_or_default();
    if !matches!(encoding.as_str(), "" | "7bit" | "8bit" | "binary") {
        return Err(ConvertError::Structure);
    }
    let kind = ContentType::of(parts.header);
    let mut fields = header::remove(parts.header, |f| f.is("Content-Transfer-Encoding"));
    if parts.header.is_empty() && parts.end == HeaderEnd::Implied && context == Context::Message {
        return Err(ConvertError::Structure);
    }
    if context == Context::Message && header::find(parts.header, "MIME-Version").is_none() {
        fields.extend_from_slice(b"MIME-Version: 1.0\r\n");
        if kind.is_none() {
            // RFC 1428: what it is, is not known.
            fields.extend_from_slice(b"Content-Type: text/plain; charset=unknown-8bit\r\n");
        }
    }
    let kind = kind.unwrap_or_else(ContentType::text);
    let mut head = |encoding: &str| {
        out.extend_from_slice(&fields);
        out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
    };
    match (kind.main.as_str(), kind.sub.as_str()) {
        ("multipart", "signed" | "encrypted") => Err(ConvertError::Signed),
        ("multipart", _) => {
            let boundary = kind.boundary.ok_or(ConvertError::Structure)?;
            head("7bit");
            multipart(parts.body, &boundary, depth, out)
        }
        ("message", "rfc822") => {
            head("7bit");
            entity(parts.body, Context::Message, depth + 1, out)
        }
        ("message", _) => Err(ConvertError::Structure),
        ("text", _) => {
            head("quoted-printable");
            quoted_printable(parts.body, out);
            Ok(())
        }
        _ => {
            head("base64");
            base64_lines(parts.body, out);
            Ok(())
        }
    }
}

/// Preamble and epilogue have to be ASCII; each part is an entity of its own.
fn multipart(body: &[u8], boundary: &[u8], depth: u32, out: &mut Vec<u8>) -> Result<(), ConvertError> {
    // The line break before a delimiter belongs to it (RFC 2046 5.1.1); one is put in front for the first.
    let mut part: Option<usize> = None;
    let mut copied = 0;
    let mut at = 0;
    while at <= body.len() {
        let end = memmem::find(&body[at..], b"\r\n").map_or(body.len(), |n| at + n + 2);
        let line = &body[at..end];
        if let Some(closing) = delimiter(line, boundary) {
            let before = at.saturating_sub(2).max(copied);
            match part {
                Some(start) => entity(&body[start..before.max(start)], Context::Part, depth + 1, out)?,
                None if body[copied..before].is_ascii() => out.extend_from_slice(&body[copied..before]),
                None => return Err(ConvertError::Structure),
            }
            out.extend_from_slice(&body[before.max(part.unwrap_or(0))..end]);
            copied = end;
            part = (!closing).then_some(end);
        }
        if end == body.len() {
            break;
        }
        at = end;
    }
    match part {
        // The closing delimiter is missing: the last part reaches to the end.
        Some(start) => entity(&body[start..], Context::Part, depth + 1, out),
        None if copied == 0 => Err(ConvertError::Structure),
        None if body[copied..].is_ascii() => {
            out.extend_from_slice(&body[copied..]);
            Ok(())
        }
        None => Err(ConvertError::Structure),
    }
}

/// Whether a line is a delimiter of this boundary, and whether it is the closing one.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (closing, rest) = match rest.strip_prefix(b"--") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    rest.iter()
        .all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
        .then_some(closing)
}

/// RFC 2045 6.7; line breaks stay line breaks.
fn quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    let mut lines = text;
    while !lines.is_empty() {
        let (line, rest, ended) = match memmem::find(lines, b"\r\n") {
            Some(n) => (&lines[..n], &lines[n + 2..], true),
            None => (lines, &lines[lines.len()..], false),
        };
        let mut width = 0;
        for (at, byte) in line.iter().enumerate() {
            let last = at + 1 == line.len();
            let plain = match byte {
                b'=' => false,
                b' ' | b'\t' => !last,
                // A line that is a single dot, or begins with "From ", is changed by some gateways.
                b'.' => width > 0 || !last,
                b'F' => !(width == 0 && line[at..].starts_with(b"From ")),
                b'!'..=b'~' => true,
                _ => false,
            };
            let needed = if plain { 1 } else { 3 };
            if width + needed > LINE - 1 {
                out.extend_from_slice(b"=\r\n");
                width = 0;
            }
            if plain {
                out.push(*byte);
            } else {
                out.extend_from_slice(format!("={byte:02X}").as_bytes());
            }
            width += needed;
        }
        if ended {
            out.extend_from_slice(b"\r\n");
        }
        lines = rest;
    }
}

fn base64_lines(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(LINE / 4 * 3) {
        out.extend_from_slice(STANDARD.encode(chunk).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// What matters of a Content-Type.
struct ContentType {
    main: String,
    sub: String,
    boundary: Option<Vec<u8>>,
}

impl ContentType {
    fn text() -> Self {
        Self {
            main: "text".to_owned(),
            sub: "plain".to_owned(),
            boundary: None,
        }
    }

    /// Of a header block; none where there is no such field. One that cannot be read is octets.
    fn of(header_block: &[u8]) -> Option<Self> {
        let field = header::find(header_block, "Content-Type")?;
        let value = field.value();
        let value = String::from_utf8_lossy(&value);
        let (kind, params) = value.split_once(';').unwrap_or((&value, ""));
        let (main, sub) = kind
            .trim()
            .split_once('/')
            .unwrap_or(("application", "octet-stream"));
        Some(Self {
            main: main.trim().to_ascii_lowercase(),
            sub: sub.trim().to_ascii_lowercase(),
            boundary: boundary(params),
        })
    }
}

/// The `boundary` parameter, quoted or not.
fn boundary(mut params: &str) -> Option<Vec<u8>> {
    loop {
        params = params.trim_start_matches([' ', '\t', ';']);
        let (name, rest) = params.split_once('=')?;
        let rest = rest.trim_start();
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next()? {
                        (at, '"') => break at + 1,
                        (_, '\\') => value.push(chars.next()?.1),
                        (_, c) => value.push(c),
                    }
                };
                (value, &quoted[end..])
            }
            None => {
                let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case("boundary") {
            return (!value.is_empty()).then(|| value.into_bytes());
        }
        params = after;
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;

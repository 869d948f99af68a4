//! Texts of dialogues: C escapes and braces, expanded to bytes.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A TLS 1.0 record with the beginning of a ClientHello: what a server sees when a client starts TLS in clear.
const CLIENT_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x2f, 0x01, 0x00, 0x00, 0x2b, 0x03, 0x03, 0x0a, 0x0d, 0x00, 0x11, 0x22, 0x33,
    0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44,
    0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0x00, 0x00, 0x04, 0x13, 0x01, 0x13, 0x02, 0x01,
    0x00,
];

/// Expands a text; `values` are the names in braces.
///
/// # Errors
/// An escape or brace that means nothing.
pub fn expand(text: &str, values: &HashMap<String, String>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at = escape(text, at, &mut out)?,
            b'{' => {
                let end = closing_brace(bytes, at)
                    .with_context(|| format!("a brace without its partner in {text}"))?;
                out.extend(braced(&text[at..end], values)?);
                at = end + 1;
            }
            byte => out.push(byte),
        }
    }
    Ok(out)
}

fn escape(text: &str, at: usize, out: &mut Vec<u8>) -> Result<usize> {
    let after = &text[at..];
    let Some(letter) = after.chars().next() else {
        bail!("a backslash at the end of {text}")
    };
    match letter {
        'r' => out.push(b'\r'),
        'n' => out.push(b'\n'),
        't' => out.push(b'\t'),
        '0' => out.push(0),
        '\\' | '{' | '}' => out.push(u8::try_from(letter)?),
        'x' => {
            let digits = after
                .get(1..3)
                .with_context(|| format!("two digits after \\x in {text}"))?;
            out.push(u8::from_str_radix(digits, 16).with_context(|| format!("\\x{digits}"))?);
            return Ok(at + 3);
        }
        other => bail!("\\{other} means nothing in {text}"),
    }
    Ok(at + letter.len_utf8())
}

fn closing_brace(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        at += 1;
    }
}

fn braced(inner: &str, values: &HashMap<String, String>) -> Result<Vec<u8>> {
    if let Some(value) = values.get(inner) {
        return Ok(value.clone().into_bytes());
    }
    if let Some(plain) = inner.strip_prefix("b64 ") {
        return Ok(STANDARD.encode(expand(plain, values)?).into_bytes());
    }
    if inner == "clienthello" {
        return Ok(CLIENT_HELLO.to_vec());
    }
    let repeated = inner
        .rsplit_once('*')
        .and_then(|(text, times)| Some((text, times.parse::<usize>().ok()?)));
    match repeated {
        Some((text, times)) => Ok(expand(text, values)?.repeat(times)),
        None => bail!("{{{inner}}} means nothing here"),
    }
}

#[cfg(test)]
mod tests {
    //! What each escape becomes.

    use super::*;

    #[test]
    fn texts_expand() {
        let values = HashMap::from([("user".to_owned(), "u@local.test".to_owned())]);
        let expand = |text: &str| expand(text, &values).unwrap();
        assert_eq!(expand(r"a\r\n\x00\\ü"), "a\r\n\0\\ü".as_bytes());
        assert_eq!(expand("{A*3}{BDAT 1\\r\\nx*2}"), b"AAABDAT 1\r\nxBDAT 1\r\nx");
        assert_eq!(
            expand("{b64 \\0{user}\\0secret}"),
            b"AHVAbG9jYWwudGVzdABzZWNyZXQ="
        );
        assert_eq!(expand(r"\{x\}"), b"{x}");
        assert_eq!(expand("{clienthello}").len(), 52);
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [r"\q", r"\x1", "{nobody}", "{open", "trailing\\"] {
            assert!(expand(text, &HashMap::new()).is_err(), "{text}");
        }
    }
}

//! The response of a DIGEST-MD5 client (RFC 2831 2.1.2): directives separated by commas.

/// Most directives taken; RFC 2831 knows 13.
const MAX_DIRECTIVES: usize = 32;

/// Reads `name=value, name="value", ...`. A value in quotes has backslashes before quotes and backslashes.
pub fn parse(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() {
        let equals = rest
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or("a directive has no value")?;
        let (name, value, after) = directive(&rest[..equals], &rest[equals + 1..])?;
        if found.len() == MAX_DIRECTIVES || found.iter().any(|(known, _)| *known == name) {
            return Err("a directive is repeated, or there are too many");
        }
        found.push((name, value));
        let after = after.trim_ascii_start();
        rest = match after.first() {
            None => after,
            Some(b',') => skip(after),
            Some(_) => return Err("directives are separated by commas"),
        };
    }
    Ok(found)
}

/// One directive: its name, value, and what follows.
fn directive<'a>(name: &[u8], value: &'a [u8]) -> Result<(String, Vec<u8>, &'a [u8]), &'static str> {
    let name = std::str::from_utf8(name.trim_ascii()).unwrap_or_default();
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err("a directive has no name");
    }
    let value = value.trim_ascii_start();
    let (value, after) = match value.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = value.iter().position(|byte| *byte == b',').unwrap_or(value.len());
            (value[..end].trim_ascii_end().to_vec(), &value[end..])
        }
    };
    Ok((name.to_ascii_lowercase(), value, after))
}

/// The rest of a quoted string, and what follows it.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut value = Vec::new();
    let mut octets = text.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Ok((value, &text[at + 1..])),
            b'\\' => value.extend(octets.next().map(|(_, octet)| *octet)),
            octet => value.push(*octet),
        }
    }
    Err("a quoted value has no end")
}

/// Commas and spaces, of which there may be more than one.
fn skip(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| *byte != b',' && !byte.is_ascii_whitespace());
    &text[start.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let parsed = parse(b", Username=\"a\\\"b\\\\c,d\" ,, nc = 00000001 ,qop=auth").unwrap();
        let expected = [
            ("username", &b"a\"b\\c,d"[..]),
            ("nc", b"00000001"),
            ("qop", b"auth"),
        ];
        assert_eq!(
            parsed,
            expected.map(|(name, value)| (name.to_owned(), value.to_vec()))
        );
        assert_eq!(parse(b""), Ok(vec![]));
        for bad in [
            &b"x"[..],
            b"=1",
            b"x=\"1",
            b"x=\"1\\\"",
            b"x=\"1\"y=2",
            b"x=1,X=2",
            b"\xff=1",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse((0..33).map(|n| format!("x{n}=1,")).collect::<String>().as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<Vec<u8>>()) {
            let _ = parse(&text);
        }
    }
}

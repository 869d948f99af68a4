//! The Content-* fields of a part (RFC 2045, 2046, 2183, 2557, 1864, 3282), read tolerantly.

use super::{MAX_FIELD, MAX_PARAMETERS};
use crate::header;

/// Names and values in order, as written, unquoted. RFC 2231 names (`filename*0*`) are not put together:
/// every reader of BODYSTRUCTURE gets what the message says.
pub type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// What a part says about its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// e.g. `text`, as written.
    pub main_type: Vec<u8>,
    /// e.g. `plain`, as written.
    pub subtype: Vec<u8>,
    /// Parameters of Content-Type.
    pub parameters: Parameters,
    /// Content-ID.
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding; `7bit` where it is missing.
    pub encoding: Vec<u8>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
}

/// Content-Disposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    /// e.g. `attachment`, as written.
    pub kind: Vec<u8>,
    /// Its parameters.
    pub parameters: Parameters,
}

impl Content {
    /// What a part without any field is: text, or a message inside a digest (RFC 2046 5.1.5).
    pub(super) fn default_of(digest: bool) -> Self {
        let mut content = Self {
            encoding: b"7bit".to_vec(),
            ..Self::default()
        };
        if digest {
            (content.main_type, content.subtype) = (b"message".to_vec(), b"rfc822".to_vec());
        } else {
            (content.main_type, content.subtype) = (b"text".to_vec(), b"plain".to_vec());
            content.parameters = vec![(b"charset".to_vec(), b"us-ascii".to_vec())];
        }
        content
    }

    /// Reads the fields of a header; of repeated fields the first counts.
    pub(super) fn parse(header: &[u8], digest: bool) -> Self {
        let mut content = Self::default_of(digest);
        let mut seen = 0u8;
        let mut first = |bit: u8| {
            let new = seen & bit == 0;
            seen |= bit;
            new
        };
        for field in header::fields(header) {
            let name = field.name();
            let Some(b"content-") = name.get(..8).map(<[u8]>::to_ascii_lowercase).as_deref() else {
                continue;
            };
            let cut = &field.raw_value()[..field.raw_value().len().min(MAX_FIELD)];
            let value = header::unfold(cut);
            let text = || (!value.is_empty()).then(|| value.to_vec());
            match name[8..].to_ascii_lowercase().as_slice() {
                b"type" if first(1) => content.set_type(&value),
                b"transfer-encoding" if first(2) => {
                    if let Some(word) = Words(&value).token() {
                        content.encoding = word.to_vec();
                    }
                }
                b"id" if first(4) => content.id = text(),
                b"description" if first(8) => content.description = text(),
                b"md5" if first(16) => content.md5 = text(),
                b"location" if first(32) => content.location = text(),
                b"disposition" if first(64) => {
                    let mut words = Words(&value);
                    content.disposition = words.token().map(|kind| Disposition {
                        kind: kind.to_vec(),
                        parameters: words.parameters(),
                    });
                }
                b"language" if first(128) => content.language = languages(&value),
                _ => {}
            }
        }
        content
    }

    fn set_type(&mut self, value: &[u8]) {
        let mut words = Words(value);
        let main = words.token();
        let slash = words.special(b'/');
        let (Some(main), true, Some(sub)) = (main, slash, words.token()) else {
            // Unreadable: text/plain is the default of RFC 2045 5.2 for a syntactically wrong field too.
            *self = Self {
                parameters: Vec::new(),
                ..std::mem::take(self)
            };
            (self.main_type, self.subtype) = (b"text".to_vec(), b"plain".to_vec());
            return;
        };
        (self.main_type, self.subtype) = (main.to_vec(), sub.to_vec());
        self.parameters = words.parameters();
    }

    /// The first parameter of Content-Type with this name.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }

    /// Whether the type is this one; case does not matter.
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main_type.eq_ignore_ascii_case(main.as_bytes())
            && self.subtype.eq_ignore_ascii_case(sub.as_bytes())
    }

    /// text/*.
    pub fn is_text(&self) -> bool {
        self.main_type.eq_ignore_ascii_case(b"text")
    }

    pub(super) fn is_multipart(&self) -> bool {
        self.main_type.eq_ignore_ascii_case(b"multipart") && self.is_identity()
    }

    pub(super) fn is_message(&self) -> bool {
        (self.is("message", "rfc822") || self.is("message", "global")) && self.is_identity()
    }

    pub(super) fn boundary(&self) -> Option<&[u8]> {
        self.parameter("boundary")
    }

    /// No transfer encoding that would hide what is inside (RFC 2045 6.4 allows none on composite types).
    fn is_identity(&self) -> bool {
        !self.encoding.eq_ignore_ascii_case(b"base64")
            && !self.encoding.eq_ignore_ascii_case(b"quoted-printable")
    }

    /// Makes it data without structure.
    pub(super) fn make_opaque(&mut self) {
        (self.main_type, self.subtype) = (b"application".to_vec(), b"octet-stream".to_vec());
        self.parameters.clear();
    }
}

fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Words(value);
    let mut found = Vec::new();
    while let Some(tag) = words.token() {
        found.push(tag.to_vec());
        if found.len() >= MAX_PARAMETERS || !words.special(b',') {
            break;
        }
    }
    found
}

/// Reads tokens, quoted strings and parameters off a value; every call moves forward, so it is linear.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// White space and comments, nested or unclosed.
    fn skip_blank(&mut self) {
        let mut depth = 0usize;
        let mut at = 0;
        while let Some(byte) = self.0.get(at) {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => at += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => break,
            }
            at += 1;
        }
        self.0 = &self.0[at.min(self.0.len())..];
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.skip_blank();
        let special = |b: &u8| {
            b.is_ascii_whitespace()
                || matches!(
                    b,
                    b'(' | b')'
                        | b'<'
                        | b'>'
                        | b'@'
                        | b','
                        | b';'
                        | b':'
                        | b'\\'
                        | b'"'
                        | b'/'
                        | b'['
                        | b']'
                        | b'?'
                        | b'='
                )
        };
        let len = self.0.iter().position(special).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn special(&mut self, wanted: u8) -> bool {
        self.skip_blank();
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// `;name=value` as often as it comes; what makes no sense is skipped up to the next semicolon.
    fn parameters(&mut self) -> Parameters {
        let mut found = Parameters::new();
        while !self.0.is_empty() && found.len() < MAX_PARAMETERS {
            if !self.special(b';') {
                self.skip_to_semicolon();
                continue;
            }
            let Some(name) = self.token() else { continue };
            if self.special(b'=') {
                let value = self.value();
                found.push((name.to_vec(), value));
            }
        }
        found
    }

    fn skip_to_semicolon(&mut self) {
        let len = memchr::memchr(b';', self.0).unwrap_or(self.0.len());
        self.0 = &self.0[len..];
    }

    /// A quoted string, or everything up to the next semicolon or blank (wider than RFC 2045's token, as
    /// unquoted values with `/`, `=` or `:` are common).
    fn value(&mut self) -> Vec<u8> {
        self.skip_blank();
        let Some(b'"') = self.0.first() else {
            let len = self
                .0
                .iter()
                .position(|b| *b == b';' || b.is_ascii_whitespace())
                .unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(len);
            self.0 = rest;
            return value.to_vec();
        };
        let mut value = Vec::new();
        let mut at = 1;
        while let Some(byte) = self.0.get(at) {
            at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    if let Some(escaped) = self.0.get(at) {
                        value.push(*escaped);
                        at += 1;
                    }
                }
                byte => value.push(*byte),
            }
        }
        self.0 = &self.0[at.min(self.0.len())..];
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(header: &str) -> Content {
        Content::parse(header.as_bytes(), false)
    }

    #[test]
    fn parameters_as_mail_programs_write_them() {
        let c = content(
            "Content-Type: Multipart/Mixed (a (nested) comment); Boundary=\"a \\\"b\\\"\";\n\tcharset = utf-8; x=a/b=c\n",
        );
        assert!(c.is("multipart", "mixed") && c.is_multipart());
        assert_eq!(c.boundary(), Some(&b"a \"b\""[..]));
        assert_eq!(c.parameter("charset"), Some(&b"utf-8"[..]));
        assert_eq!(c.parameter("x"), Some(&b"a/b=c"[..]));
        let c = content("content-disposition: attachment; filename*0*=utf-8''a; filename=\"unclosed\n");
        let d = c.disposition.unwrap();
        assert_eq!(d.kind, b"attachment");
        assert_eq!(d.parameters[1], (b"filename".to_vec(), b"unclosed".to_vec()));
    }

    #[test]
    fn unreadable_types_are_text() {
        for header in [
            "Content-Type: \n",
            "Content-Type: text\n",
            "Content-Type: /;\n",
            "Content-Type: ((((\n",
        ] {
            assert!(content(header).is("text", "plain"), "{header}");
        }
        assert_eq!(content("").parameter("CHARSET"), Some(&b"us-ascii"[..]));
        // The first of two counts.
        assert!(content("Content-Type: a/b\nContent-Type: c/d\n").is("a", "b"));
    }

    #[test]
    fn parameters_are_capped() {
        let header = format!("Content-Disposition: x{}\n", "; f*1*=a".repeat(100_000));
        let d = content(&header).disposition.unwrap();
        assert_eq!(d.parameters.len(), MAX_PARAMETERS);
    }

    #[test]
    fn languages_are_a_list() {
        assert_eq!(
            content("Content-Language: de, en (x)\n").language,
            [b"de".to_vec(), b"en".to_vec()]
        );
    }
}

//! ENVELOPE: the fields of a header as RFC 3501 7.4.2 shows them, encoded words untouched.

use super::{MAX_ADDRESSES, MAX_FIELD};
use crate::header;

/// The ten fields of an ENVELOPE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Date.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<EnvelopeAddress>,
    /// Sender; From where it is missing or empty.
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To; From where it is missing or empty.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To.
    pub to: Vec<EnvelopeAddress>,
    /// Cc.
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc.
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

/// One address, or the begin (`host` none) or end (`mailbox` none too) of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvelopeAddress {
    /// The display name, or the comment behind an old-style address.
    pub name: Option<Vec<u8>>,
    /// The source route.
    pub route: Option<Vec<u8>>,
    /// The local part without quotes, or the name of a group.
    pub mailbox: Option<Vec<u8>>,
    /// The domain; empty where the address has none.
    pub host: Option<Vec<u8>>,
}

impl Envelope {
    /// Reads a header; of repeated fields the first counts.
    pub fn parse(header: &[u8]) -> Self {
        let mut envelope = Self::default();
        let mut seen = 0u16;
        for field in header::fields(header) {
            let name = field.name().to_ascii_lowercase();
            let Some(bit) = FIELDS.iter().position(|f| f.as_bytes() == name) else {
                continue;
            };
            if seen & 1 << bit != 0 {
                continue;
            }
            seen |= 1 << bit;
            let raw = field.raw_value();
            let value = header::unfold(&raw[..raw.len().min(MAX_FIELD)]);
            // An empty field is shown as an empty string, a missing one as NIL.
            let text = || Some(value.to_vec());
            match bit {
                0 => envelope.date = text(),
                1 => envelope.subject = text(),
                2 => envelope.from = addresses(&value),
                3 => envelope.sender = addresses(&value),
                4 => envelope.reply_to = addresses(&value),
                5 => envelope.to = addresses(&value),
                6 => envelope.cc = addresses(&value),
                7 => envelope.bcc = addresses(&value),
                8 => envelope.in_reply_to = text(),
                _ => envelope.message_id = text(),
            }
        }
        if envelope.sender.is_empty() {
            envelope.sender.clone_from(&envelope.from);
        }
        if envelope.reply_to.is_empty() {
            envelope.reply_to.clone_from(&envelope.from);
        }
        envelope
    }
}

const FIELDS: [&str; 10] = [
    "date",
    "subject",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "in-reply-to",
    "message-id",
];

/// Reads an address list, whatever it looks like.
fn addresses(value: &[u8]) -> Vec<EnvelopeAddress> {
    let tokens = tokenize(value);
    let mut found = Vec::new();
    let mut in_group = false;
    let mut at = 0;
    let mut element = Element::default();
    while at < tokens.len() && found.len() < MAX_ADDRESSES {
        match &tokens[at] {
            Token::Special(b',') => std::mem::take(&mut element).finish(&mut found),
            Token::Special(b';') => {
                std::mem::take(&mut element).finish(&mut found);
                if std::mem::take(&mut in_group) {
                    found.push(EnvelopeAddress::default());
                }
            }
            Token::Special(b':') if !in_group && !element.has_at => {
                in_group = true;
                let name = element.phrase();
                element = Element::default();
                found.push(EnvelopeAddress {
                    mailbox: Some(name),
                    ..EnvelopeAddress::default()
                });
            }
            Token::Special(b'<') => at = element.angle(&tokens, at + 1),
            Token::Special(b'@') => element.has_at = true,
            Token::Special(_) => {}
            Token::Comment(text) => element.comment = Some(text.clone()),
            Token::Word(word) if element.has_at => element.host.extend_from_slice(word),
            Token::Word(word) => element.words.push(word.clone()),
        }
        at += 1;
    }
    element.finish(&mut found);
    if in_group {
        found.push(EnvelopeAddress::default());
    }
    found
}

/// What was collected of one address.
#[derive(Default)]
struct Element {
    words: Vec<Vec<u8>>,
    host: Vec<u8>,
    has_at: bool,
    comment: Option<Vec<u8>>,
    /// What stood in angle brackets.
    spec: Option<EnvelopeAddress>,
}

impl Element {
    fn phrase(&self) -> Vec<u8> {
        self.words.join(&b' ')
    }

    /// Reads `[route:] local@domain>` and returns the index of its last token.
    fn angle(&mut self, tokens: &[Token], start: usize) -> usize {
        let close = tokens[start..].iter().position(|t| *t == Token::Special(b'>'));
        let end = start + close.unwrap_or(tokens.len() - start);
        let inner = &tokens[start..end];
        let colon = inner.iter().position(|t| *t == Token::Special(b':'));
        let (route, spec) = match colon {
            Some(colon) if inner.first() == Some(&Token::Special(b'@')) => {
                (&inner[..colon], &inner[colon + 1..])
            }
            _ => (&inner[..0], inner),
        };
        let at = spec
            .iter()
            .rposition(|t| *t == Token::Special(b'@'))
            .unwrap_or(spec.len());
        self.spec = Some(EnvelopeAddress {
            name: None,
            route: (!route.is_empty()).then(|| text(route)),
            mailbox: Some(text(&spec[..at])),
            host: Some(text(spec.get(at + 1..).unwrap_or_default())),
        });
        end
    }

    fn finish(self, found: &mut Vec<EnvelopeAddress>) {
        let phrase = self.phrase();
        if let Some(mut address) = self.spec {
            address.name = if phrase.is_empty() {
                self.comment
            } else {
                Some(phrase)
            };
            found.push(address);
        } else if !self.words.is_empty() || self.has_at {
            let mailbox = if self.has_at { self.words.concat() } else { phrase };
            found.push(EnvelopeAddress {
                name: self.comment,
                route: None,
                mailbox: Some(mailbox),
                host: Some(self.host),
            });
        }
    }
}

fn text(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Special(byte) => out.push(*byte),
            Token::Word(word) => out.extend_from_slice(word),
            Token::Comment(_) => {}
        }
    }
    out
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Special(u8),
    /// An atom with its dots, a domain literal, or the content of a quoted string.
    Word(Vec<u8>),
    Comment(Vec<u8>),
}

/// One pass; comments count their depth and never recurse.
fn tokenize(value: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'"' => {
                let (content, next) = delimited(value, at + 1, None, b'"');
                tokens.push(Token::Word(content));
                at = next;
            }
            b'(' => {
                let (content, next) = delimited(value, at + 1, Some(b'('), b')');
                tokens.push(Token::Comment(content));
                at = next;
            }
            b'<' | b'>' | b'@' | b',' | b';' | b':' => {
                tokens.push(Token::Special(*byte));
                at += 1;
            }
            b'[' => {
                let len = memchr::memchr(b']', &value[at..]).map_or(value.len() - at, |end| end + 1);
                tokens.push(Token::Word(value[at..at + len].to_vec()));
                at += len;
            }
            _ => {
                let stop = |b: &u8| b.is_ascii_whitespace() || b"\"(<>@,;:".contains(b);
                let len = value[at..].iter().position(stop).unwrap_or(value.len() - at);
                // `)` alone and its like are part of the word: nothing is lost.
                tokens.push(Token::Word(value[at..at + len.max(1)].to_vec()));
                at += len.max(1);
            }
        }
    }
    tokens
}

/// The text up to the closing byte (or the end), backslashes resolved, and where it goes on.
fn delimited(value: &[u8], start: usize, open: Option<u8>, close: u8) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut depth = 0usize;
    let mut at = start;
    while let Some(byte) = value.get(at) {
        at += 1;
        if *byte == b'\\' {
            if let Some(escaped) = value.get(at) {
                out.push(*escaped);
                at += 1;
            }
            continue;
        }
        if *byte == close {
            if depth == 0 {
                return (out, at);
            }
            depth -= 1;
        } else if Some(*byte) == open {
            depth += 1;
        }
        out.push(*byte);
    }
    (out, value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(value: &str) -> Vec<String> {
        let part = |p: &Option<Vec<u8>>| {
            p.as_ref()
                .map_or("NIL".to_owned(), |p| String::from_utf8_lossy(p).into_owned())
        };
        let line = |a: &EnvelopeAddress| {
            format!(
                "{}|{}|{}|{}",
                part(&a.name),
                part(&a.route),
                part(&a.mailbox),
                part(&a.host)
            )
        };
        addresses(value.as_bytes()).iter().map(line).collect()
    }

    #[test]
    fn addresses_of_all_ages() {
        for (value, expected) in [
            ("a@b.c", vec!["NIL|NIL|a|b.c"]),
            ("\"A, B\" <a@b.c>, d@e", vec!["A, B|NIL|a|b.c", "NIL|NIL|d|e"]),
            ("Joe Q. Public <j.q@x.y>", vec!["Joe Q. Public|NIL|j.q|x.y"]),
            (
                "pete(his account)@silly.test(his host)",
                vec!["his host|NIL|pete|silly.test"],
            ),
            ("joe@x (Joe (the) Doe)", vec!["Joe (the) Doe|NIL|joe|x"]),
            ("<@a,@b:c@d>", vec!["NIL|@a,@b|c|d"]),
            (
                "Group: a@b, C <c@d>;, e@f",
                vec![
                    "NIL|NIL|Group|NIL",
                    "NIL|NIL|a|b",
                    "C|NIL|c|d",
                    "NIL|NIL|NIL|NIL",
                    "NIL|NIL|e|f",
                ],
            ),
            (
                "undisclosed-recipients:;",
                vec!["NIL|NIL|undisclosed-recipients|NIL", "NIL|NIL|NIL|NIL"],
            ),
            ("\"q \\\"t\"@x", vec!["NIL|NIL|q \"t|x"]),
            ("=?utf-8?q?J=C3=B6?= <j@x>", vec!["=?utf-8?q?J=C3=B6?=|NIL|j|x"]),
            ("MAILER-DAEMON", vec!["NIL|NIL|MAILER-DAEMON|"]),
            ("x <y", vec!["x|NIL|y|"]),
            ("<>", vec!["NIL|NIL||"]),
            ("a@[1.2.3.4]", vec!["NIL|NIL|a|[1.2.3.4]"]),
            (",, ,", vec![]),
        ] {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let e = Envelope::parse(b"From: a@b\nReply-To:\nSubject:\nSubject: second\n");
        assert_eq!(e.sender, e.from);
        assert_eq!(e.reply_to, e.from);
        assert_eq!(e.subject.as_deref(), Some(&b""[..]));
        assert_eq!(e.date, None);
    }

    #[test]
    fn hostile_values_end() {
        // robustness.md M07
        for value in [
            "a (b\\".to_owned(),
            "(".repeat(100_000),
            "\"".repeat(99_999),
            "<".repeat(50_000),
        ] {
            let _ = addresses(value.as_bytes());
        }
        let many = "a@b,".repeat(20_000);
        assert!(addresses(many.as_bytes()).len() <= MAX_ADDRESSES);
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ a@<>,;:()\\\\\"\\[\\]\r\n]{0,60}") {
            let _ = addresses(value.as_bytes());
            let _ = Envelope::parse(format!("From: {value}\n").as_bytes());
        }
    }
}

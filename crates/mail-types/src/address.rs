//! Mail addresses in one canonical form: the local part unquoted, the domain in lower-case A-labels.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an address or a domain that we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`, or nothing before or after it.
    #[error("an address needs a local part, an @ and a domain")]
    Incomplete,
    /// The local part is longer than 64 octets (RFC 5321 4.5.3.1.1) or holds a control character.
    #[error("the local part is too long or holds a character that is not allowed")]
    LocalPart,
    /// The domain breaks RFC 5321 4.1.2 or RFC 5891, or is longer than 255 octets.
    #[error("the domain is not valid")]
    Domain,
}

/// A domain name: dot-separated labels of 1 to 63 octets, at most 255 in all, lower case, A-labels for
/// international names (RFC 5890). No trailing dot and no address literal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Checks and folds `text`; U-labels become A-labels.
    ///
    /// Characters that only become a dot by later normalisation (U+3002, U+FF0E, U+FF61) are refused, so
    /// that a separator never appears behind our back.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > 255 || text.contains(['\u{3002}', '\u{ff0e}', '\u{ff61}']) {
            return Err(AddressError::Domain);
        }
        let folded = text.to_ascii_lowercase();
        let international = !folded.is_ascii() || folded.split('.').any(|label| label.starts_with("xn--"));
        let ascii = if international {
            let ascii = idna::domain_to_ascii_strict(&folded).map_err(|_| AddressError::Domain)?;
            // An A-label must decode, or two programs will disagree about what it names.
            let (_, decoded) = idna::domain_to_unicode(&ascii);
            decoded.map_err(|_| AddressError::Domain)?;
            ascii
        } else {
            folded
        };
        if ascii.len() > 255 || !ascii.split('.').all(valid_label) {
            return Err(AddressError::Domain);
        }
        // A name of digits and dots only is an address in disguise (192.0.2.1, 2130706433).
        if ascii.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(AddressError::Domain);
        }
        Ok(Self(ascii))
    }

    /// The name in lower-case ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits, hyphens inside; underscores are tolerated because real hosts use them.
fn valid_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::new(text)
    }
}

/// A mailbox address `local@domain` (RFC 5321 4.1.2, RFC 6531 3.3).
///
/// The local part is kept as its meaning, not as its spelling: `"u"@d`, `"\u"@d` and `u@d` are one value.
/// Its case is kept (RFC 5321 2.4); [`Address::lookup_key`] folds it for the tables. [`fmt::Display`]
/// quotes where the grammar needs it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Makes an address of an already unquoted local part and a domain.
    pub fn new(local: &str, domain: Domain) -> Result<Self, AddressError> {
        if local.is_empty() {
            return Err(AddressError::Incomplete);
        }
        // U+FF20 is an @ after normalisation: refused for the reason given at `Domain::new`.
        if local.len() > 64 || local.chars().any(|c| c.is_control() || c == '\u{ff20}') {
            return Err(AddressError::LocalPart);
        }
        Ok(Self {
            local: local.to_owned(),
            domain,
        })
    }

    /// Reads `local@domain`, the local part either a dot-atom or a quoted string; the split is at the
    /// last `@`. No angle brackets, no source route, no address literal.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Incomplete)?;
        let domain = Domain::new(domain)?;
        if let Some(inner) = local.strip_prefix('"') {
            let inner = inner.strip_suffix('"').ok_or(AddressError::LocalPart)?;
            return Self::new(&unquote(inner)?, domain);
        }
        // `\u` outside quotes is the old quoted-pair in a dot-string (RFC 821); it means `u`.
        let plain = if local.contains('\\') {
            unquote(local)?
        } else {
            local.to_owned()
        };
        if !is_dot_atom(&plain) {
            return Err(AddressError::LocalPart);
        }
        Self::new(&plain, domain)
    }

    /// The local part, unquoted.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The key under which tables know this address: unquoted, all lower case (compat.md 2.2).
    pub fn lookup_key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }

    /// Whether sending it needs SMTPUTF8 (RFC 6531): the local part is not ASCII.
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// The local part split at the first `delimiter` that leaves something before it: `u+tag` is
    /// (`u`, `tag`). None where there is no extension.
    pub fn split_extension(&self, delimiter: char) -> Option<(&str, &str)> {
        match self.local.split_once(delimiter) {
            Some(("", _)) | None => None,
            Some(parts) => Some(parts),
        }
    }

    /// The same domain with another local part.
    pub fn with_local(&self, local: &str) -> Result<Self, AddressError> {
        Self::new(local, self.domain.clone())
    }
}

/// Removes quoted-pair backslashes; an unescaped quote or a dangling backslash is an error.
fn unquote(inner: &str) -> Result<String, AddressError> {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().ok_or(AddressError::LocalPart)?),
            '"' => return Err(AddressError::LocalPart),
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// RFC 5321 Dot-string with the UTF8-non-ascii extension of RFC 6531.
fn is_dot_atom(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|atom| {
            !atom.is_empty()
                && atom
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c))
        })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// The envelope sender: an address, or the null path `<>` of reports (RFC 5321 4.5.5).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ReversePath {
    /// `<>`.
    Null,
    /// A mailbox.
    Address(Address),
}

impl ReversePath {
    /// The address, unless this is the null path.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Whether this is `<>`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Without angle brackets: the null path is the empty text.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The inverse of `Display`: the empty text is the null path.
impl FromStr for ReversePath {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            Ok(Self::Null)
        } else {
            Address::parse(text).map(Self::Address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_address_are_one_value() {
        for text in [
            "u@local.test",
            "\"u\"@local.test",
            "\\u@local.test",
            "\"\\u\"@LOCAL.test",
        ] {
            assert_eq!(
                Address::parse(text).unwrap().to_string(),
                "u@local.test",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_an_address() {
        for text in [
            "",
            "@",
            "a@",
            "@b.test",
            "a",
            "a@b@c.test",
            "a b@c.test",
            ".a@c.test",
            "a.@c.test",
            "a..b@c.test",
            "\"a@c.test",
            "\"a\"b@c.test",
            "a@c..test",
            "a@-c.test",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@2130706433",
            "a@c.test:25",
            "u\u{ff20}local.test",
            "u@local\u{3002}test",
            "u@xn--a",
            "\"a\nb\"@c.test",
            "u@../x",
            "u@.",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
        assert!(Address::parse(&format!("{}@c.test", "x".repeat(65))).is_err());
        assert!(Address::parse(&format!("a@{}.test", "x".repeat(64))).is_err());
    }

    #[test]
    fn odd_local_parts_are_quoted_when_shown() {
        let address = Address::parse("\"a\\\"> b\"@c.test").unwrap();
        assert_eq!(address.local(), "a\"> b");
        assert_eq!(address.to_string(), "\"a\\\"> b\"@c.test");
    }

    #[test]
    fn international_domains_are_a_labels() {
        let address = Address::parse("jörg@Bücher.example").unwrap();
        assert_eq!(address.domain().as_str(), "xn--bcher-kva.example");
        assert!(address.needs_utf8());
    }

    #[test]
    fn extension_needs_a_base() {
        let address = Address::parse("u+tag+more@c.test").unwrap();
        assert_eq!(address.split_extension('+'), Some(("u", "tag+more")));
        assert_eq!(Address::parse("+tag@c.test").unwrap().split_extension('+'), None);
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverses(local in "[ -~äß]{1,20}") {
            if let Ok(address) = Address::new(&local, Domain::new("c.test").unwrap()) {
                prop_assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
            }
        }

        #[test]
        fn no_input_panics(text in "\\PC{0,80}") {
            let _ = Address::parse(&text);
        }
    }
}

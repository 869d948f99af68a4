//! Names: host names, mail addresses, the recipient delimiter.

use std::fmt;
use std::str::FromStr;

use mail_types::{Address, Domain};

use super::text_option;

/// A host or domain name, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Domain);

impl HostName {
    /// The name as a checked domain.
    pub fn domain(&self) -> &Domain {
        &self.0
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<Domain> for HostName {
    fn from(domain: Domain) -> Self {
        Self(domain)
    }
}

impl FromStr for HostName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Domain::new(text)
            .map(Self)
            .map_err(|_| format!("{text:?} is not a host name; write it like mail.example.com"))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_option!(
    HostName,
    "HostName",
    "a host name in quotes, like \"mail.example.com\"",
    { "type": "string", "x-type": "host name" }
);

/// A mail address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MailAddress(Address);

impl MailAddress {
    /// The checked address.
    pub fn address(&self) -> &Address {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Address::parse(text)
            .map(Self)
            .map_err(|error| format!("{text:?} is not a mail address: {error}"))
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_option!(
    MailAddress,
    "MailAddress",
    "a mail address in quotes",
    { "type": "string", "x-type": "mail address" }
);

/// The character between a user name and its extension (`user+list`); empty for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delimiter(Option<char>);

impl Delimiter {
    /// A delimiter, or none.
    pub const fn new(delimiter: Option<char>) -> Self {
        Self(delimiter)
    }

    /// The character; None where extensions are off.
    pub const fn get(self) -> Option<char> {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (None, _) => Ok(Self(None)),
            (Some(c), None) if c.is_ascii_punctuation() && !"@\"<>()[]\\,;:".contains(c) => Ok(Self(Some(c))),
            _ => Err(format!("{text:?}: one character like + or -, or \"\" for none")),
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |c| c.fmt(f))
    }
}

text_option!(
    Delimiter,
    "Delimiter",
    "one character in quotes, like \"+\", or \"\"",
    { "type": "string", "x-type": "character" }
);

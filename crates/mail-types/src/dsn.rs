//! The parameters of RFC 3461 (delivery status notifications) and its xtext encoding.

use std::fmt;

/// When the sender wants to hear about a recipient (RFC 3461 4.1).
///
/// `None` in the envelope means the default: failure, and delay where the site sends delay notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    /// Tell about a delivery.
    pub success: bool,
    /// Tell about a failure.
    pub failure: bool,
    /// Tell about a delay.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`: all three off.
    pub const NEVER: Self = Self {
        success: false,
        failure: false,
        delay: false,
    };

    /// Reads the value of `NOTIFY=`; `NEVER` stands alone, nothing may be empty or unknown.
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        let mut notify = Self::NEVER;
        for word in value.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => notify.success = true,
                "FAILURE" => notify.failure = true,
                "DELAY" => notify.delay = true,
                _ => return None,
            }
        }
        Some(notify)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ]
        .into_iter()
        .filter_map(|(on, word)| on.then_some(word))
        .collect();
        f.write_str(if words.is_empty() { "NEVER" } else { "" })?;
        f.write_str(&words.join(","))
    }
}

/// How much of the message a failure report returns (RFC 3461 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// `ORCPT=`: the recipient as the sender knew it (RFC 3461 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    /// The address type, `rfc822` or `utf-8` as a rule.
    pub addr_type: String,
    /// The address, decoded from xtext.
    pub address: String,
}

impl OriginalRecipient {
    /// Reads `type;xtext`.
    pub fn parse(value: &str) -> Option<Self> {
        let (addr_type, address) = value.split_once(';')?;
        let valid =
            !addr_type.is_empty() && addr_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let address = xtext_decode(address)?;
        // A control character would travel into reports and logs.
        if !valid || address.is_empty() || address.chars().any(char::is_control) {
            return None;
        }
        Some(Self {
            addr_type: addr_type.to_ascii_lowercase(),
            address,
        })
    }
}

/// `type;xtext`, fit for the wire.
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.addr_type, xtext_encode(&self.address))
    }
}

/// Encodes as xtext (RFC 3461 4): every octet outside `!`..`~`, and `+` and `=`, becomes `+XX`.
pub fn xtext_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b'!'..=b'~').contains(&byte) && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("+{byte:02X}"));
        }
    }
    out
}

/// Decodes xtext; `None` for a broken escape, an octet that may not stand there, or bytes that are not
/// UTF-8.
pub fn xtext_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let digit = |b: Option<u8>| match b? {
                    b @ b'0'..=b'9' => Some(b - b'0'),
                    b @ b'A'..=b'F' => Some(b - b'A' + 10),
                    _ => None,
                };
                out.push(digit(bytes.next())? << 4 | digit(bytes.next())?);
            }
            b'=' => return None,
            b'!'..=b'~' | 0x80.. => out.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notify_values() {
        assert_eq!(Notify::parse("never"), Some(Notify::NEVER));
        assert_eq!(
            Notify::parse("SUCCESS,delay").unwrap().to_string(),
            "SUCCESS,DELAY"
        );
        for bad in ["", "NEVER,SUCCESS", "FOO", "SUCCESS,"] {
            assert_eq!(Notify::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn orcpt_refuses_line_breaks() {
        assert!(OriginalRecipient::parse("rfc822;a+40b.test").is_some());
        assert!(OriginalRecipient::parse("rfc822;x+0D+0AY:1").is_none());
        assert!(OriginalRecipient::parse("rfc822;a+4").is_none());
        assert!(OriginalRecipient::parse("a@b").is_none());
    }

    proptest! {
        #[test]
        fn xtext_is_its_own_inverse(text in "\\PC{0,40}") {
            prop_assert_eq!(xtext_decode(&xtext_encode(&text)).unwrap(), text);
        }
    }
}

//! The ids that follow a message and a session through all daemons.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 20 characters [0-9A-Za-z]")]
pub struct IdError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The id of one message: 20 characters `[0-9A-Za-z]`, of which the first 8 are the time in milliseconds
/// (so ids sort by time) and the last 12 hold 71 random bits (architecture.md section 2, "One id").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailId([u8; 20]);

impl MailId {
    /// Makes an id of the wall time in milliseconds since 1970 and 128 random bits.
    pub fn new(unix_millis: u64, random: u128) -> Self {
        let mut id = [b'0'; 20];
        fill(&mut id[..8], u128::from(unix_millis));
        fill(&mut id[8..], random);
        Self(id)
    }

    /// The 20 characters.
    pub fn as_str(&self) -> &str {
        // Only ALPHABET characters are ever stored, so this is always valid; the fallback is unreachable.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The wall time in milliseconds that the id was made of.
    pub fn unix_millis(&self) -> u64 {
        self.0[..8].iter().fold(0, |sum: u64, byte| {
            let digit = ALPHABET.iter().position(|a| a == byte).unwrap_or(0);
            sum.wrapping_mul(62).wrapping_add(digit as u64)
        })
    }
}

/// Writes `value` in base 62, the last digits of it.
fn fill(out: &mut [u8], mut value: u128) {
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
}

impl FromStr for MailId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; 20] = text.as_bytes().try_into().map_err(|_| IdError)?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) {
            Ok(Self(bytes))
        } else {
            Err(IdError)
        }
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of one session of one daemon: same shape and making as [`MailId`], another meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(MailId);

impl SessionId {
    /// Makes an id of the wall time in milliseconds since 1970 and 128 random bits.
    pub fn new(unix_millis: u64, random: u128) -> Self {
        Self(MailId::new(unix_millis, random))
    }

    /// The 20 characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for SessionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What makes one delivery one: the message and the recipient's index in it, given at expansion.
///
/// Two deliveries with the same key are the same delivery, whatever happened in between.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DeliveryKey {
    /// The message.
    pub id: MailId,
    /// The recipient's index in the message, from 0.
    pub recipient: u32,
}

/// `Q<id>R<index>`, as it stands in Maildir file names.
impl fmt::Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q{}R{}", self.id, self.recipient)
    }
}

impl FromStr for DeliveryKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        // The id may itself hold an R, so the split is by position.
        let (id, rest) = text
            .strip_prefix('Q')
            .and_then(|t| t.split_at_checked(20))
            .ok_or(IdError)?;
        let recipient = rest.strip_prefix('R').ok_or(IdError)?;
        Ok(Self {
            id: id.parse()?,
            recipient: recipient.parse().map_err(|_| IdError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_keep_it() {
        let early = MailId::new(1_700_000_000_000, u128::MAX);
        let late = MailId::new(1_700_000_000_001, 0);
        assert!(early < late);
        assert_eq!(late.unix_millis(), 1_700_000_000_001);
        assert_eq!(early.to_string().len(), 20);
        assert_eq!(early.to_string().parse::<MailId>().unwrap(), early);
        assert!("short".parse::<MailId>().is_err());
        assert!("../../etc/passwd/xxxx".parse::<MailId>().is_err());
    }

    #[test]
    fn delivery_keys_round_trip() {
        // The id itself may hold the letter R.
        let key = DeliveryKey {
            id: "RRRRRRRRRRRRRRRRRRRR".parse().unwrap(),
            recipient: 12,
        };
        assert_eq!(key.to_string(), "QRRRRRRRRRRRRRRRRRRRRR12");
        assert_eq!(key.to_string().parse::<DeliveryKey>().unwrap(), key);
        assert!("Qabc".parse::<DeliveryKey>().is_err());
    }
}

//! SMTP replies and enhanced status codes.

use std::fmt;
use std::str::FromStr;

/// An enhanced mail system status code `class.subject.detail` (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 temporary, 5 permanent.
    pub class: u8,
    /// What it is about, 0 to 999.
    pub subject: u16,
    /// The detail, 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Makes a code; meant for constants.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl FromStr for EnhancedStatus {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut number = || -> Option<u16> {
            let part = parts.next()?;
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let (class, subject, detail) = (number().ok_or(())?, number().ok_or(())?, number().ok_or(())?);
        match (class, parts.next()) {
            (2 | 4 | 5, None) => Ok(Self {
                class: class as u8,
                subject,
                detail,
            }),
            _ => Err(()),
        }
    }
}

/// One SMTP or LMTP reply: code, enhanced status where there is one, text of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The three-digit code, 200 to 599.
    pub code: u16,
    /// The enhanced status code; none in greetings, EHLO, 354 and foreign replies without one.
    pub status: Option<EnhancedStatus>,
    /// The text, lines separated by `\n`, without code, status or CR.
    pub text: String,
}

impl Reply {
    /// A reply with an enhanced status.
    pub fn new(code: u16, status: EnhancedStatus, text: impl Into<String>) -> Self {
        Self {
            code,
            status: Some(status),
            text: text.into(),
        }
    }

    /// A reply without an enhanced status.
    pub fn plain(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            text: text.into(),
        }
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// `550 5.1.1 text` on one line, for logs and reports; line breaks become blanks.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text.replace('\n', " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes() {
        assert_eq!("5.7.1".parse(), Ok(EnhancedStatus::new(5, 7, 1)));
        for bad in ["", "5.7", "5.7.1.2", "3.0.0", "5..1", "5.7.1000", "+5.7.1"] {
            assert!(bad.parse::<EnhancedStatus>().is_err(), "{bad}");
        }
    }

    #[test]
    fn replies_are_one_line_in_logs() {
        let reply = Reply::new(550, EnhancedStatus::new(5, 1, 1), "no such\nuser");
        assert_eq!(reply.to_string(), "550 5.1.1 no such user");
        assert!(reply.is_permanent() && !reply.is_positive());
    }
}

//! Replies: a status line with an optional response code, and the lines of a short multi-line reply.

use std::borrow::Cow;

/// Response codes in brackets (RFC 2449 8.1, RFC 3206, RFC 6856 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// Another session has the maildrop.
    InUse,
    /// The credentials are wrong, or the account may not be used.
    Auth,
    /// Trouble of ours that will pass.
    SysTemp,
    /// Trouble that needs somebody's hands.
    SysPerm,
    /// The message needs UTF-8 mode.
    Utf8,
}

impl ResponseCode {
    /// The text between the brackets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "IN-USE",
            Self::Auth => "AUTH",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::Utf8 => "UTF8",
        }
    }
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    positive: bool,
    code: Option<ResponseCode>,
    text: Cow<'static, str>,
    lines: Option<Vec<String>>,
}

impl Reply {
    /// `+OK text`.
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            positive: true,
            code: None,
            text: text.into(),
            lines: None,
        }
    }

    /// `-ERR text`.
    pub fn err(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            positive: false,
            code: None,
            text: text.into(),
            lines: None,
        }
    }

    /// `-ERR [CODE] text`.
    pub fn err_code(code: ResponseCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            positive: false,
            code: Some(code),
            text: text.into(),
            lines: None,
        }
    }

    /// `+OK text`, the lines, and the lone dot. For short lists that never begin with a dot (CAPA, AUTH).
    pub fn list(text: impl Into<Cow<'static, str>>, lines: Vec<String>) -> Self {
        Self {
            positive: true,
            code: None,
            text: text.into(),
            lines: Some(lines),
        }
    }

    /// Whether it is `+OK`.
    pub fn is_ok(&self) -> bool {
        self.positive
    }

    /// The response code, if it has one.
    pub fn code(&self) -> Option<ResponseCode> {
        self.code
    }

    /// Appends the bytes of the reply.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.positive { b"+OK" } else { b"-ERR" });
        if let Some(code) = self.code {
            out.extend_from_slice(b" [");
            out.extend_from_slice(code.as_str().as_bytes());
            out.push(b']');
        }
        if !self.text.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if let Some(lines) = &self.lines {
            for line in lines {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b".\r\n");
        }
    }
}

/// Appends the continuation `+ base64` of a SASL exchange (RFC 5034 4).
pub fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    use base64::Engine;
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(
        base64::engine::general_purpose::STANDARD
            .encode(challenge)
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn on_the_wire() {
        assert_eq!(bytes(&Reply::ok("Hello there.")), "+OK Hello there.\r\n");
        assert_eq!(bytes(&Reply::ok("")), "+OK\r\n");
        assert_eq!(
            bytes(&Reply::err_code(ResponseCode::Auth, "Login failed.")),
            "-ERR [AUTH] Login failed.\r\n"
        );
        assert_eq!(
            bytes(&Reply::list("List", vec!["TOP".into(), "UIDL".into()])),
            "+OK List\r\nTOP\r\nUIDL\r\n.\r\n"
        );
        let mut out = Vec::new();
        write_challenge(b"Username:", &mut out);
        assert_eq!(out, b"+ VXNlcm5hbWU6\r\n");
        out.clear();
        write_challenge(b"", &mut out);
        assert_eq!(out, b"+ \r\n");
    }
}

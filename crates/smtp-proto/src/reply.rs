//! Replies on the wire (RFC 5321 4.2) and the wordings of compat.md 2.6 that log scripts know.

use mail_types::{EnhancedStatus, Reply};

/// Appends `reply` in wire form: `code-text` lines, the last one `code text`, each with the status.
///
/// Control characters of the text become `?`, so that no text can end the reply early.
pub fn encode(reply: &Reply, out: &mut Vec<u8>) {
    let mut lines = reply.text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let separator = if lines.peek().is_some() { b'-' } else { b' ' };
        out.extend_from_slice(format!("{:03}", reply.code).as_bytes());
        out.push(separator);
        if let Some(status) = reply.status {
            out.extend_from_slice(status.to_string().as_bytes());
            if !line.is_empty() {
                out.push(b' ');
            }
        }
        out.extend(line.bytes().map(|b| if b.is_ascii_control() { b'?' } else { b }));
        out.extend_from_slice(b"\r\n");
    }
}

/// Makes a reply of code, status numbers and text; for the constants below and for daemons.
pub fn new(code: u16, status: (u8, u16, u16), text: impl Into<String>) -> Reply {
    Reply::new(code, EnhancedStatus::new(status.0, status.1, status.2), text)
}

/// `250 2.1.0 Ok` after MAIL.
pub fn mail_ok() -> Reply {
    new(250, (2, 1, 0), "Ok")
}

/// `250 2.1.5 Ok` after RCPT.
pub fn rcpt_ok() -> Reply {
    new(250, (2, 1, 5), "Ok")
}

/// `250 2.0.0 Ok` after NOOP and RSET.
pub fn ok() -> Reply {
    new(250, (2, 0, 0), "Ok")
}

/// `221 2.0.0 Bye`.
pub fn bye() -> Reply {
    new(221, (2, 0, 0), "Bye")
}

/// `354 End data with <CR><LF>.<CR><LF>`.
pub fn start_data() -> Reply {
    Reply::plain(354, "End data with <CR><LF>.<CR><LF>")
}

/// `220 2.0.0 Ready to start TLS`.
pub fn start_tls() -> Reply {
    new(220, (2, 0, 0), "Ready to start TLS")
}

/// `235 2.7.0 Authentication successful`.
pub fn auth_ok() -> Reply {
    new(235, (2, 7, 0), "Authentication successful")
}

/// `535 5.7.8 Error: authentication failed: ...`; `no_mechanism` says why it is.
pub fn auth_failed(no_mechanism: bool) -> Reply {
    let reason = if no_mechanism {
        "no mechanism available"
    } else {
        "authentication failure"
    };
    new(535, (5, 7, 8), format!("Error: authentication failed: {reason}"))
}

/// `501 5.7.0 Error: ...`: an initial response to a mechanism that has none (RFC 4954 4). No failed login.
pub fn auth_server_first() -> Reply {
    let text = "Error: this mechanism takes no initial response";
    new(501, (5, 7, 0), text)
}

/// `454 4.7.0 Temporary authentication failure: generic failure`.
pub fn auth_unavailable() -> Reply {
    new(
        454,
        (4, 7, 0),
        "Temporary authentication failure: generic failure",
    )
}

/// `501 5.7.0 Authentication aborted`.
pub fn auth_aborted() -> Reply {
    new(501, (5, 7, 0), "Authentication aborted")
}

/// `502 5.5.1 Error: command not implemented`.
pub fn not_implemented() -> Reply {
    new(502, (5, 5, 1), "Error: command not implemented")
}

/// `530 5.7.0 Must issue a STARTTLS command first`.
pub fn tls_required() -> Reply {
    new(530, (5, 7, 0), "Must issue a STARTTLS command first")
}

/// `503 5.5.1 Error: ...`, a command out of order.
pub fn out_of_order(text: &str) -> Reply {
    new(503, (5, 5, 1), format!("Error: {text}"))
}

/// `421 4.4.2 <host> Error: timeout exceeded`.
pub fn timed_out(host: &str) -> Reply {
    new(421, (4, 4, 2), format!("{host} Error: timeout exceeded"))
}

/// `421 4.7.0 <host> Error: ...`.
pub fn abuse(host: &str, text: &str) -> Reply {
    new(421, (4, 7, 0), format!("{host} Error: {text}"))
}

/// `421 4.3.2 <host> Service shutting down`.
pub fn shutting_down(host: &str) -> Reply {
    new(421, (4, 3, 2), format!("{host} Service shutting down"))
}

/// `452 4.5.3 Error: too many recipients`.
pub fn too_many_recipients() -> Reply {
    new(452, (4, 5, 3), "Error: too many recipients")
}

/// `552 5.3.4 Message size exceeds fixed limit`, at MAIL.
pub fn declared_too_big() -> Reply {
    new(552, (5, 3, 4), "Message size exceeds fixed limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        encode(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_and_many() {
        assert_eq!(wire(&mail_ok()), "250 2.1.0 Ok\r\n");
        assert_eq!(wire(&start_data()), "354 End data with <CR><LF>.<CR><LF>\r\n");
        assert_eq!(wire(&Reply::plain(334, "")), "334 \r\n");
        assert_eq!(
            wire(&new(550, (5, 1, 1), "a\nb")),
            "550-5.1.1 a\r\n550 5.1.1 b\r\n"
        );
    }

    #[test]
    fn no_text_ends_a_reply_early() {
        assert_eq!(wire(&new(550, (5, 1, 1), "a\r\u{1b}b\0")), "550 5.1.1 a??b?\r\n");
    }
}

//! Replies off the wire (RFC 5321 4.2.1): several lines, one code, bounded.

use mail_types::{EnhancedStatus, Reply};

/// What cannot be a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line that does not start with a code from 200 to 599 and a blank or hyphen.
    #[error("malformed reply line {0:?}")]
    Malformed(String),
    /// Lines of one reply with different codes.
    #[error("reply with two codes, {0} and {1}")]
    Mixed(u16, u16),
    /// Longer than we read.
    #[error("reply is too long")]
    TooLong,
}

/// Takes one whole reply off the front of `input`: the reply and its octets; `None` while it is not complete.
///
/// Control characters in the text become `?` and bytes that are no UTF-8 the replacement character, because the text
/// goes into logs and reports.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let mut at = 0;
    let mut code = None;
    let mut lines: Vec<String> = Vec::new();
    while let Some(length) = memchr::memchr(b'\n', &input[at..]) {
        let line = &input[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += length + 1;
        let (this, last, text) = split(line)?;
        match code {
            Some(code) if code != this => return Err(ReplyError::Mixed(code, this)),
            _ => code = Some(this),
        }
        lines.push(clean(text));
        if last {
            return Ok(Some((assemble(this, &lines), at)));
        }
        if at > REPLY {
            return Err(ReplyError::TooLong);
        }
    }
    if input.len() - at > LINE {
        return Err(ReplyError::TooLong);
    }
    Ok(None)
}

fn split(line: &[u8]) -> Result<(u16, bool, &[u8]), ReplyError> {
    let malformed = || ReplyError::Malformed(clean(&line[..line.len().min(100)]));
    let (digits, rest) = line.split_at_checked(3).ok_or_else(malformed)?;
    let code = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|code| (200..600).contains(code))
        .ok_or_else(malformed)?;
    match rest.split_first() {
        None => Ok((code, true, rest)),
        Some((b' ', text)) => Ok((code, true, text)),
        Some((b'-', text)) => Ok((code, false, text)),
        Some(_) => Err(malformed()),
    }
}

fn clean(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Takes the enhanced status off the lines, where the first has one of the code's class (RFC 2034 4).
fn assemble(code: u16, lines: &[String]) -> Reply {
    let word = lines
        .first()
        .and_then(|line| line.split(' ').next())
        .unwrap_or_default();
    let status = word
        .parse::<EnhancedStatus>()
        .ok()
        .filter(|status| u16::from(status.class) == code / 100);
    let texts: Vec<&str> = lines
        .iter()
        .map(|line| match status {
            Some(_) => line.strip_prefix(word).unwrap_or(line).trim_start_matches(' '),
            None => line,
        })
        .collect();
    Reply {
        code,
        status,
        text: texts.join("\n"),
    }
}

const LINE: usize = 4096;
const REPLY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(wire: &[u8]) -> Reply {
        let (reply, length) = parse(wire).unwrap().unwrap();
        assert_eq!(length, wire.len());
        reply
    }

    #[test]
    fn status_comes_off_every_line() {
        let reply = one(b"550-5.1.1 no such\r\n550 5.1.1 user\r\n");
        assert_eq!(reply, crate::reply::new(550, (5, 1, 1), "no such\nuser"));
        assert_eq!(one(b"250 2 ok\n").text, "2 ok");
        assert_eq!(one(b"250 5.1.1 liar\r\n").status, None);
        assert_eq!(one(b"220\r\n").text, "");
    }

    #[test]
    fn incomplete_and_broken() {
        assert_eq!(parse(b"250-a\r\n250 b"), Ok(None));
        assert!(parse(b"25\r\n").is_err() && parse(b"999 x\r\n").is_err() && parse(b"250x\r\n").is_err());
        assert_eq!(parse(b"250-a\r\n550 b\r\n"), Err(ReplyError::Mixed(250, 550)));
        assert_eq!(parse(&[b'2'; 5000]), Err(ReplyError::TooLong));
        assert_eq!(parse(&b"250-x\r\n".repeat(20_000)), Err(ReplyError::TooLong));
    }

    #[test]
    fn no_control_characters_get_into_logs() {
        assert_eq!(one(b"550 a\x1b[2J\0\xff\r\n").text, "a?[2J?\u{fffd}");
    }

    proptest! {
        #[test]
        fn nothing_panics(wire in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&wire);
        }

        #[test]
        fn what_we_write_we_read(code in 200u16..600, text in "[ -~]{0,20}(\n[ -~]{0,20})?") {
            let mut wire = Vec::new();
            let status = EnhancedStatus::new((code / 100).max(2) as u8, 1, 2);
            let reply = Reply { code, status: (code / 100 != 3).then_some(status), text };
            crate::reply::encode(&reply, &mut wire);
            let (read, length) = parse(&wire).unwrap().unwrap();
            prop_assert_eq!(length, wire.len());
            prop_assert_eq!(read.code, reply.code);
            if reply.status.is_some() {
                prop_assert_eq!(read.status, reply.status);
            }
        }
    }
}

//! The commands of a POP3 client and their grammar.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_types::Secret;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map, opt};
use nom::error::Error;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `USER name` (RFC 1939 7).
    User(String),
    /// `PASS string`: everything behind the first blank is the password.
    Pass(Secret),
    /// `APOP`: known, always refused; it needs passwords in clear on the server.
    Apop,
    /// `AUTH`, with nothing: the client asks which mechanisms there are (RFC 1734's older form).
    AuthList,
    /// `AUTH mechanism [initial-response]` (RFC 5034 4).
    Auth {
        /// The mechanism in upper case.
        mechanism: String,
        /// The initial response, decoded; `=` is an empty one.
        initial: Option<Secret>,
    },
    /// `STLS` (RFC 2595 4).
    Stls,
    /// `UTF8` (RFC 6856 2.1).
    Utf8,
    /// `CAPA` (RFC 2449 5).
    Capa,
    /// `NOOP`.
    Noop,
    /// `QUIT`.
    Quit,
    /// `STAT`.
    Stat,
    /// `LIST [msg]`.
    List(Option<u64>),
    /// `RETR msg`.
    Retr(u64),
    /// `DELE msg`.
    Dele(u64),
    /// `RSET`.
    Rset,
    /// `TOP msg n`.
    Top {
        /// The message number.
        message: u64,
        /// Lines of the body.
        lines: u64,
    },
    /// `UIDL [msg]`.
    Uidl(Option<u64>),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The keyword is not known.
    #[error("unknown command")]
    Unknown,
    /// The arguments do not fit the keyword.
    #[error("wrong arguments")]
    Arguments,
    /// An initial response or a response is not base64.
    #[error("not base64")]
    Base64,
    /// The client cancelled the exchange with `*` (RFC 5034 4).
    #[error("cancelled by the client")]
    Cancelled,
}

/// Reads one line (without its line end) as a command. Keywords may be in any case.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let (rest, keyword) = keyword(line).map_err(|_| CommandError::Unknown)?;
    let arguments = match rest.split_first() {
        None => None,
        Some((b' ', arguments)) => Some(arguments),
        Some(_) => return Err(CommandError::Unknown),
    };
    match keyword.to_ascii_uppercase().as_slice() {
        b"USER" => text(arguments).map(|name| Command::User(name.to_owned())),
        b"PASS" => text(arguments).map(|password| Command::Pass(Secret::new(password))),
        b"APOP" => Ok(Command::Apop),
        b"AUTH" => auth(arguments.unwrap_or_default()),
        b"STLS" => nothing(arguments, Command::Stls),
        b"UTF8" => nothing(arguments, Command::Utf8),
        b"CAPA" => nothing(arguments, Command::Capa),
        b"NOOP" => nothing(arguments, Command::Noop),
        b"QUIT" => nothing(arguments, Command::Quit),
        b"STAT" => nothing(arguments, Command::Stat),
        b"RSET" => nothing(arguments, Command::Rset),
        b"LIST" => numbers(opt(number), arguments).map(Command::List),
        b"UIDL" => numbers(opt(number), arguments).map(Command::Uidl),
        b"RETR" => numbers(number, arguments).map(Command::Retr),
        b"DELE" => numbers(number, arguments).map(Command::Dele),
        b"TOP" => numbers((number, preceded(char(' '), number)), arguments)
            .map(|(message, lines)| Command::Top { message, lines }),
        _ => Err(CommandError::Unknown),
    }
}

/// Reads one line of a SASL exchange: base64, or `*` to cancel (RFC 5034 4).
pub fn sasl_response(line: &[u8]) -> Result<Secret, CommandError> {
    if line == b"*" {
        return Err(CommandError::Cancelled);
    }
    STANDARD
        .decode(line)
        .map(Secret::new)
        .map_err(|_| CommandError::Base64)
}

type Parsed<'a, T> = IResult<&'a [u8], T>;

fn keyword(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while1(|b: u8| b.is_ascii_alphanumeric()).parse(input)
}

/// A message number or a count of lines; what does not fit is the largest number there is.
fn number(input: &[u8]) -> Parsed<'_, u64> {
    map(digit1, |digits: &[u8]| {
        digits.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
    })
    .parse(input)
}

/// Runs a parser over the arguments; blanks at the end are forgiven.
fn numbers<'a, T>(
    parser: impl Parser<&'a [u8], Output = T, Error = Error<&'a [u8]>>,
    arguments: Option<&'a [u8]>,
) -> Result<T, CommandError> {
    all_consuming(terminated(parser, take_while(|b| b == b' ')))
        .parse(arguments.unwrap_or_default())
        .map(|(_, value)| value)
        .map_err(|_: nom::Err<Error<&[u8]>>| CommandError::Arguments)
}

/// A command without arguments; blanks are forgiven.
fn nothing(arguments: Option<&[u8]>, command: Command) -> Result<Command, CommandError> {
    if arguments.unwrap_or_default().trim_ascii().is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Arguments)
    }
}

/// A name or password: not empty, UTF-8 (RFC 6856 2.2), no control character.
fn text(arguments: Option<&[u8]>) -> Result<&str, CommandError> {
    let text = arguments
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(CommandError::Arguments);
    }
    Ok(text)
}

/// Blanks at the end are forgiven, as elsewhere.
fn auth(arguments: &[u8]) -> Result<Command, CommandError> {
    let blanks = arguments.iter().rev().take_while(|octet| **octet == b' ').count();
    let arguments = &arguments[..arguments.len() - blanks];
    if arguments.is_empty() {
        return Ok(Command::AuthList);
    }
    let (mechanism, initial) = all_consuming((mechanism, opt(preceded(char(' '), initial_response))))
        .parse(arguments)
        .map(|(_, parts)| parts)
        .map_err(|_: nom::Err<Error<&[u8]>>| CommandError::Arguments)?;
    let initial = match initial {
        None => None,
        Some(b"=") => Some(Secret::new(Vec::new())),
        Some(encoded) => Some(
            STANDARD
                .decode(encoded)
                .map(Secret::new)
                .map_err(|_| CommandError::Base64)?,
        ),
    };
    Ok(Command::Auth {
        mechanism: String::from_utf8_lossy(mechanism).to_ascii_uppercase(),
        initial,
    })
}

/// `sasl-mech` of RFC 4422: at most 20 letters, digits, hyphens and underscores.
fn mechanism(input: &[u8]) -> Parsed<'_, &[u8]> {
    nom::bytes::complete::take_while_m_n(1, 20, |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        .parse(input)
}

fn initial_response(input: &[u8]) -> Parsed<'_, &[u8]> {
    nom::branch::alt((
        all_consuming(tag("=")),
        take_while1(|b: u8| !b.is_ascii_whitespace()),
    ))
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_with_their_arguments() {
        let cases = [
            ("user a b", Command::User("a b".into())),
            ("PASS  two blanks ", Command::Pass(Secret::new(" two blanks "))),
            ("PASS pässwörd", Command::Pass(Secret::new("pässwörd"))),
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command::Apop),
            ("AUTH", Command::AuthList),
            ("AUTH  ", Command::AuthList),
            (
                "AUTH plain",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: None,
                },
            ),
            (
                "AUTH PLAIN ",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: None,
                },
            ),
            (
                "AUTH PLAIN = ",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: Some(Secret::new("")),
                },
            ),
            (
                "AUTH PLAIN =",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: Some(Secret::new("")),
                },
            ),
            (
                "AUTH PLAIN AGEAYg==",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: Some(Secret::new("\0a\0b")),
                },
            ),
            ("stls", Command::Stls),
            ("UTF8 ", Command::Utf8),
            ("CAPA", Command::Capa),
            ("NOOP", Command::Noop),
            ("QUIT", Command::Quit),
            ("STAT", Command::Stat),
            ("RSET", Command::Rset),
            ("LIST", Command::List(None)),
            ("LIST ", Command::List(None)),
            ("LIST 3", Command::List(Some(3))),
            ("UIDL 3 ", Command::Uidl(Some(3))),
            ("RETR 4294967296", Command::Retr(4_294_967_296)),
            ("DELE 99999999999999999999999", Command::Dele(u64::MAX)),
            (
                "TOP 1 99999999999",
                Command::Top {
                    message: 1,
                    lines: 99_999_999_999,
                },
            ),
        ];
        for (line, command) in cases {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_no_command() {
        for line in [
            "",
            " NOOP",
            "NOOPS",
            "GET / HTTP/1.1",
            "XTND XMIT",
            "\u{16}\u{3}\u{1}",
            "NOOP\0",
            "LAST",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Unknown), "{line:?}");
        }
        for line in [
            "RETR",
            "RETR -1",
            "RETR +1",
            "RETR 1 2",
            "RETR x",
            "RETR  1",
            "TOP 1",
            "TOP 1 -1",
            "TOP 1  2",
            "TOP 1 2 3",
            "LIST x",
            "UIDL 1x",
            "USER",
            "USER ",
            "PASS",
            "USER a\0b",
            "PASS a\rb",
            "QUIT now",
            "STLS x",
            "AUTH PLAIN AA== x",
            "AUTH PL/AIN",
            "AUTH ABCDEFGHIJKLMNOPQRSTU",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Arguments), "{line:?}");
        }
        assert_eq!(parse(b"USER \xff\xfe"), Err(CommandError::Arguments));
        for line in ["AUTH PLAIN !", "AUTH PLAIN AGEAYg=", "AUTH PLAIN =="] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Base64), "{line:?}");
        }
    }

    #[test]
    fn responses() {
        assert_eq!(sasl_response(b"YQ=="), Ok(Secret::new("a")));
        assert_eq!(sasl_response(b""), Ok(Secret::new("")));
        assert_eq!(sasl_response(b"*"), Err(CommandError::Cancelled));
        assert_eq!(sasl_response(b"* "), Err(CommandError::Base64));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&line);
            let _ = sasl_response(&line);
        }

        #[test]
        fn any_tail_of_a_keyword(word in "(?i)(user|pass|auth|list|retr|top|uidl|dele)", tail in "\\PC{0,40}") {
            let _ = parse(format!("{word}{tail}").as_bytes());
        }
    }
}

//! One command line in, one checked [`Command`] out, or the exact reply to what is wrong with it.

mod params;
mod path;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use mail_types::{Address, Reply, ReversePath, Secret};

pub use params::{MailParams, Param, ParamRules, RcptParams};

use crate::reply;

/// The verbs that we know; decides what may be said when, before the arguments are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// HELO, EHLO or LHLO.
    Hello(HelloKind),
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat,
    /// AUTH (RFC 4954).
    Auth,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN, which we do not have.
    Expn,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// Which greeting it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloKind {
    /// HELO: no extensions.
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO (LMTP).
    Lhlo,
}

/// A command with its arguments checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// HELO, EHLO, LHLO.
    Hello(Hello),
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO.
    Rcpt(Rcpt),
    /// DATA.
    Data,
    /// BDAT.
    Bdat(Bdat),
    /// AUTH.
    Auth(Auth),
    /// STARTTLS.
    StartTls,
    /// RSET.
    Rset,
    /// NOOP, with whatever argument.
    Noop,
    /// VRFY.
    Vrfy(String),
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// A greeting. The name is printable, without blanks or parentheses, so it is safe in a Received field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Which one.
    pub kind: HelloKind,
    /// What the client calls itself: a domain or an address literal, at most 255 octets.
    pub name: String,
}

/// `MAIL FROM:<path> params`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender.
    pub path: ReversePath,
    /// The parameters.
    pub params: MailParams,
}

/// `RCPT TO:<path> params`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// The recipient.
    pub path: RcptPath,
    /// The path as typed, without the angle brackets; for replies.
    pub typed: String,
    /// The parameters.
    pub params: RcptParams,
}

impl Mail {
    /// A sender without parameters.
    pub fn new(path: ReversePath) -> Self {
        Self {
            path,
            params: MailParams::default(),
        }
    }
}

impl Rcpt {
    /// A recipient without parameters.
    pub fn new(address: Address) -> Self {
        Self {
            typed: address.to_string(),
            path: RcptPath::Address(address),
            params: RcptParams::default(),
        }
    }
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RcptPath {
    /// An address.
    Address(Address),
    /// `<postmaster>` without a domain, in any case (RFC 5321 4.5.1).
    Postmaster,
}

/// `BDAT size [LAST]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bdat {
    /// Octets that follow the line.
    pub size: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

/// `AUTH mechanism [initial-response]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Upper case.
    pub mechanism: String,
    /// The decoded initial response; `=` is the empty one.
    pub initial: Option<Secret>,
}

/// Why a line is not a command that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A verb that does not exist.
    #[error("unknown command")]
    Unrecognized,
    /// A verb that exists but not here (EXPN).
    #[error("command not implemented")]
    NotImplemented,
    /// NUL, CR, LF or another control character inside the line.
    #[error("control character in the command")]
    ControlCharacter,
    /// Bytes that are no UTF-8.
    #[error("command is not UTF-8")]
    NotUtf8,
    /// The form is wrong; this is the right one.
    #[error("syntax: {0}")]
    Syntax(&'static str),
    /// The sender is no address.
    #[error("bad sender address")]
    BadSender,
    /// The recipient is no address.
    #[error("bad recipient address")]
    BadRecipient,
    /// `""@domain`: fits the grammar, names nobody.
    #[error("empty local part")]
    EmptyLocalPart,
    /// An address outside ASCII without SMTPUTF8 (RFC 6531 3.5).
    #[error("address needs SMTPUTF8")]
    NeedsUtf8,
    /// A parameter that was not announced.
    #[error("unsupported option {0}")]
    UnsupportedOption(String),
    /// A parameter given twice, or with a value that it cannot have.
    #[error("bad parameter {0}")]
    BadParameter(String),
    /// SIZE that is no number.
    #[error("bad SIZE")]
    BadSize,
    /// SIZE above what fits in 64 bits.
    #[error("SIZE above every limit")]
    SizeTooBig,
    /// AUTH data that is not base64.
    #[error("not base64")]
    BadBase64,
}

impl CommandError {
    /// What the client hears (compat.md 2.6).
    pub fn reply(&self) -> Reply {
        match self {
            Self::Unrecognized => reply::new(500, (5, 5, 2), "Error: command not recognized"),
            Self::NotImplemented => reply::not_implemented(),
            Self::ControlCharacter => reply::new(501, (5, 5, 2), "Error: control character in command"),
            Self::NotUtf8 => reply::new(501, (5, 5, 2), "Error: command is not valid UTF-8"),
            Self::Syntax(form) => reply::new(501, (5, 5, 4), format!("Syntax: {form}")),
            Self::BadSender => reply::new(501, (5, 1, 7), "Bad sender address syntax"),
            Self::BadRecipient => reply::new(501, (5, 1, 3), "Bad recipient address syntax"),
            Self::EmptyLocalPart => reply::new(553, (5, 1, 3), "Bad recipient address syntax"),
            Self::NeedsUtf8 => reply::new(553, (5, 6, 7), "Error: address needs SMTPUTF8"),
            Self::UnsupportedOption(name) => {
                reply::new(555, (5, 5, 4), format!("Unsupported option: {name}"))
            }
            Self::BadParameter(name) => reply::new(501, (5, 5, 4), format!("Bad parameter: {name}")),
            Self::BadSize => reply::new(501, (5, 5, 4), "Bad message size syntax"),
            Self::SizeTooBig => reply::declared_too_big(),
            Self::BadBase64 => reply::new(501, (5, 5, 2), "Error: cannot decode base64"),
        }
    }
}

/// The verb of a line, if we know it.
pub fn verb(line: &[u8]) -> Option<Verb> {
    let word = line.split(|b| *b == b' ').next().unwrap_or_default();
    VERBS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, verb)| *verb)
}

/// Reads a line (without its CRLF). `rules` names the parameters of private extensions that are allowed.
pub fn parse(line: &[u8], rules: &ParamRules) -> Result<Command, CommandError> {
    if line.iter().any(u8::is_ascii_control) {
        return Err(CommandError::ControlCharacter);
    }
    let verb = verb(line).ok_or(CommandError::Unrecognized)?;
    let line = std::str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?;
    let args = line
        .split_once(' ')
        .map_or("", |(_, args)| args)
        .trim_matches(' ');
    let bare = |command: Command, form: &'static str| {
        if args.is_empty() {
            Ok(command)
        } else {
            Err(CommandError::Syntax(form))
        }
    };
    match verb {
        Verb::Hello(kind) => hello(kind, args).map(Command::Hello),
        Verb::Mail => mail(args, rules).map(Command::Mail),
        Verb::Rcpt => rcpt(args, rules).map(Command::Rcpt),
        Verb::Data => bare(Command::Data, "DATA"),
        Verb::Bdat => bdat(args).map(Command::Bdat),
        Verb::Auth => auth(args).map(Command::Auth),
        Verb::StartTls => bare(Command::StartTls, "STARTTLS"),
        Verb::Rset => bare(Command::Rset, "RSET"),
        Verb::Quit => bare(Command::Quit, "QUIT"),
        Verb::Noop => Ok(Command::Noop),
        Verb::Help => Ok(Command::Help),
        Verb::Expn => Err(CommandError::NotImplemented),
        Verb::Vrfy if args.is_empty() => Err(CommandError::Syntax("VRFY address")),
        Verb::Vrfy => Ok(Command::Vrfy(args.to_owned())),
    }
}

/// Decodes an AUTH response line: base64, or `*` for giving up, which is `None`.
pub fn parse_auth_response(line: &[u8]) -> Result<Option<Secret>, CommandError> {
    if line == b"*" {
        return Ok(None);
    }
    decode_base64(line).map(Some)
}

fn hello(kind: HelloKind, args: &str) -> Result<Hello, CommandError> {
    let form = match kind {
        HelloKind::Helo => "HELO hostname",
        HelloKind::Ehlo => "EHLO hostname",
        HelloKind::Lhlo => "LHLO hostname",
    };
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b) || !b.is_ascii();
    if args.is_empty() || args.len() > 255 || !args.bytes().all(harmless) {
        return Err(CommandError::Syntax(form));
    }
    Ok(Hello {
        kind,
        name: args.to_owned(),
    })
}

fn mail(args: &str, rules: &ParamRules) -> Result<Mail, CommandError> {
    let rest = after_keyword(args, "FROM:").ok_or(CommandError::Syntax("MAIL FROM:<address>"))?;
    let (rest, typed) = path::path(rest).map_err(|_| CommandError::BadSender)?;
    let params = params::mail(params::list(rest)?, rules)?;
    if !typed.is_ascii() && !params.smtputf8 {
        return Err(if typed.parse::<ReversePath>().is_ok() {
            CommandError::NeedsUtf8
        } else {
            CommandError::BadSender
        });
    }
    let path = typed.parse().map_err(|_| CommandError::BadSender)?;
    Ok(Mail { path, params })
}

fn rcpt(args: &str, rules: &ParamRules) -> Result<Rcpt, CommandError> {
    let rest = after_keyword(args, "TO:").ok_or(CommandError::Syntax("RCPT TO:<address>"))?;
    let (rest, typed) = path::path(rest).map_err(|_| CommandError::BadRecipient)?;
    let path = if typed.eq_ignore_ascii_case("postmaster") {
        RcptPath::Postmaster
    } else if typed.starts_with("\"\"@") {
        return Err(CommandError::EmptyLocalPart);
    } else {
        RcptPath::Address(typed.parse().map_err(|_| CommandError::BadRecipient)?)
    };
    let params = params::rcpt(params::list(rest)?, rules)?;
    Ok(Rcpt {
        path,
        typed: typed.to_owned(),
        params,
    })
}

/// `FROM:` or `TO:` in any case; blanks after it are tolerated, as everywhere.
fn after_keyword<'a>(args: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = args.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword)
        .then(|| rest.trim_start_matches(' '))
}

fn bdat(args: &str) -> Result<Bdat, CommandError> {
    let error = CommandError::Syntax("BDAT count [LAST]");
    let (count, last) = match args.split_once(' ') {
        None => (args, false),
        Some((count, word)) if word.trim_matches(' ').eq_ignore_ascii_case("LAST") => (count, true),
        Some(_) => return Err(error),
    };
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error);
    }
    let size = count.parse().map_err(|_| error)?;
    Ok(Bdat { size, last })
}

fn auth(args: &str) -> Result<Auth, CommandError> {
    let (mechanism, initial) = match args.split_once(' ') {
        None => (args, None),
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_matches(' '))),
    };
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if mechanism.is_empty() || mechanism.len() > 20 || !mechanism.bytes().all(valid) {
        return Err(CommandError::Syntax("AUTH mechanism"));
    }
    let initial = match initial {
        None => None,
        Some("=") => Some(Secret::new([])),
        Some(text) => Some(decode_base64(text.as_bytes())?),
    };
    Ok(Auth {
        mechanism: mechanism.to_ascii_uppercase(),
        initial,
    })
}

fn decode_base64(text: &[u8]) -> Result<Secret, CommandError> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map(Secret::new)
        .map_err(|_| CommandError::BadBase64)
}

/// Every verb by name.
const VERBS: [(&str, Verb); 15] = [
    ("HELO", Verb::Hello(HelloKind::Helo)),
    ("EHLO", Verb::Hello(HelloKind::Ehlo)),
    ("LHLO", Verb::Hello(HelloKind::Lhlo)),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("AUTH", Verb::Auth),
    ("STARTTLS", Verb::StartTls),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("QUIT", Verb::Quit),
];

//! From the octets of a command to its value: tag, verb, table of arguments.

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::combinator::all_consuming;

use super::lexical::{Fault, Parsed};
use super::{BadCommand, Command, MAX_TAG, Problem, TaggedCommand, arguments, fetch, search};

/// Parses one command as [`crate::framing::Framer`] gives it (for APPEND: the head without the message).
pub fn parse(input: &[u8]) -> Result<TaggedCommand, BadCommand> {
    let bad = |tag: &str, reason| BadCommand {
        tag: tag.to_owned(),
        reason,
    };
    let Some(space) = input.iter().take(MAX_TAG + 1).position(|b| *b == b' ') else {
        return Err(bad("*", Problem::Tag));
    };
    let Some(tag) = tag(&input[..space]) else {
        return Err(bad("*", Problem::Tag));
    };
    match command(&input[space + 1..]) {
        Ok(command) => Ok(TaggedCommand { tag, command }),
        Err(reason) => Err(bad(&tag, reason)),
    }
}

/// A tag: one to 128 astring characters other than `+`.
pub fn tag(octets: &[u8]) -> Option<String> {
    let valid = |byte: &u8| {
        matches!(byte, 0x21..=0x7e) && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+')
    };
    let fits = (1..=MAX_TAG).contains(&octets.len()) && octets.iter().all(valid);
    fits.then(|| String::from_utf8_lossy(octets).into_owned())
}

fn command(input: &[u8]) -> Result<Command, Problem> {
    let Ok((arguments, verb)) = verb(input) else {
        return Err(Problem::Tag);
    };
    let upper = verb.to_ascii_uppercase();
    // `UID FETCH` and its like: one verb more.
    let (arguments, uid, upper) = if upper == b"UID" {
        let arguments = arguments.strip_prefix(b" ").ok_or(Problem::Arguments)?;
        let (arguments, verb) = self::verb(arguments).map_err(|_| Problem::Arguments)?;
        (arguments, true, verb.to_ascii_uppercase())
    } else {
        (arguments, false, upper)
    };
    let table = if uid { &UID_COMMANDS[..] } else { &COMMANDS[..] };
    let (_, parser) = table
        .iter()
        .find(|(name, _)| name.as_bytes() == upper)
        .ok_or(Problem::Unknown)?;
    match all_consuming(parser).parse(arguments) {
        Ok((_, command)) => Ok(command),
        Err(nom::Err::Error(Fault(problem)) | nom::Err::Failure(Fault(problem))) => Err(problem),
        Err(nom::Err::Incomplete(_)) => Err(Problem::Arguments),
    }
}

fn verb(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'-').parse(input)
}

/// Parses what follows the verb, including the blank before the first argument.
type Arguments = fn(&[u8]) -> Parsed<'_, Command>;

const COMMANDS: [(&str, Arguments); 30] = [
    ("CAPABILITY", |i| Ok((i, Command::Capability))),
    ("NOOP", |i| Ok((i, Command::Noop))),
    ("LOGOUT", |i| Ok((i, Command::Logout))),
    ("STARTTLS", |i| Ok((i, Command::StartTls))),
    ("AUTHENTICATE", arguments::authenticate),
    ("LOGIN", arguments::login),
    ("ENABLE", arguments::enable),
    ("ID", arguments::id),
    ("NAMESPACE", |i| Ok((i, Command::Namespace))),
    ("SELECT", |i| arguments::select(i, false)),
    ("EXAMINE", |i| arguments::select(i, true)),
    ("CREATE", arguments::create),
    ("DELETE", arguments::delete),
    ("RENAME", arguments::rename),
    ("SUBSCRIBE", |i| arguments::subscribe(i, true)),
    ("UNSUBSCRIBE", |i| arguments::subscribe(i, false)),
    ("LIST", |i| arguments::list(i, false)),
    ("LSUB", |i| arguments::list(i, true)),
    ("STATUS", arguments::status),
    ("APPEND", arguments::append),
    ("CHECK", |i| Ok((i, Command::Check))),
    ("CLOSE", |i| Ok((i, Command::Close))),
    ("UNSELECT", |i| Ok((i, Command::Unselect))),
    ("EXPUNGE", |i| Ok((i, Command::Expunge(None)))),
    ("SEARCH", |i| search::search(i, false)),
    ("FETCH", |i| fetch::fetch(i, false)),
    ("STORE", |i| arguments::store(i, false)),
    ("COPY", |i| arguments::copy(i, false)),
    ("MOVE", |i| arguments::r#move(i, false)),
    ("IDLE", |i| Ok((i, Command::Idle))),
];

const UID_COMMANDS: [(&str, Arguments); 6] = [
    ("EXPUNGE", arguments::uid_expunge),
    ("SEARCH", |i| search::search(i, true)),
    ("FETCH", |i| fetch::fetch(i, true)),
    ("STORE", |i| arguments::store(i, true)),
    ("COPY", |i| arguments::copy(i, true)),
    ("MOVE", |i| arguments::r#move(i, true)),
];

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

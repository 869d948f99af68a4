//! The arguments of every command except FETCH and SEARCH, in the order of RFC 3501 section 6.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_types::Secret;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while1};
use nom::combinator::{map, opt, value};
use nom::multi::many1;
use nom::sequence::{preceded, separated_pair};

use super::lexical::{
    Parsed, astring, atom, date_time, fail, flag_list, list_mailbox, mailbox, nstring, parenthesised,
    sequence_set, space, store_flags, string,
};
use super::{Command, Flags, Problem, StatusItem, StoreOperation};
use crate::name::WireName;

/// RFC 3501 6.2.2 with the initial response of RFC 4959.
pub(super) fn authenticate(input: &[u8]) -> Parsed<'_, Command> {
    let (input, mechanism) = preceded(space, atom).parse(input)?;
    let mechanism = mechanism.to_ascii_uppercase();
    let (input, response) = opt(preceded(space, take_while1(|b: u8| b.is_ascii_graphic()))).parse(input)?;
    let initial = match response {
        None => None,
        Some(b"=") => Some(Secret::new(Vec::new())),
        Some(base64) => match STANDARD.decode(base64) {
            Ok(octets) => Some(Secret::new(octets)),
            Err(_) => return fail(Problem::Arguments),
        },
    };
    Ok((input, Command::Authenticate { mechanism, initial }))
}

/// RFC 3501 6.2.3.
pub(super) fn login(input: &[u8]) -> Parsed<'_, Command> {
    let (input, (user, password)) = preceded(space, separated_pair(astring, space, astring)).parse(input)?;
    Ok((
        input,
        Command::Login {
            user,
            password: Secret::new(password),
        },
    ))
}

/// RFC 5161 section 3.1.
pub(super) fn enable(input: &[u8]) -> Parsed<'_, Command> {
    map(
        many1(preceded(space, map(atom, str::to_ascii_uppercase))),
        Command::Enable,
    )
    .parse(input)
}

/// RFC 2971 section 3.1 and 3.3 (at most 30 pairs, names of 30 octets, values of 1024).
pub(super) fn id(input: &[u8]) -> Parsed<'_, Command> {
    let pair = |input| {
        let (input, (name, value)) = separated_pair(string, space, nstring).parse(input)?;
        if name.len() > 30 || value.as_ref().is_some_and(|v| v.len() > 1024) {
            return fail(Problem::Arguments);
        }
        Ok((input, (name, value)))
    };
    let list = |input| {
        let (input, pairs) = parenthesised(input, pair)?;
        if pairs.len() > 30 {
            fail(Problem::Arguments)
        } else {
            Ok((input, pairs))
        }
    };
    let nil = value(Vec::new(), tag_no_case("NIL"));
    map(preceded(space, alt((nil, list))), Command::Id).parse(input)
}

/// RFC 3501 6.3.1, 6.3.2.
pub(super) fn select(input: &[u8], read_only: bool) -> Parsed<'_, Command> {
    map(name, |mailbox| Command::Select { mailbox, read_only }).parse(input)
}

/// RFC 3501 6.3.3.
pub(super) fn create(input: &[u8]) -> Parsed<'_, Command> {
    map(name, Command::Create).parse(input)
}

/// RFC 3501 6.3.4.
pub(super) fn delete(input: &[u8]) -> Parsed<'_, Command> {
    map(name, Command::Delete).parse(input)
}

/// RFC 3501 6.3.5.
pub(super) fn rename(input: &[u8]) -> Parsed<'_, Command> {
    let (input, (from, to)) = (name, name).parse(input)?;
    Ok((input, Command::Rename { from, to }))
}

/// RFC 3501 6.3.6, 6.3.7.
pub(super) fn subscribe(input: &[u8], subscribe: bool) -> Parsed<'_, Command> {
    map(name, |mailbox| Command::Subscribe { mailbox, subscribe }).parse(input)
}

/// RFC 3501 6.3.8, 6.3.9.
pub(super) fn list(input: &[u8], subscribed: bool) -> Parsed<'_, Command> {
    let (input, (reference, pattern)) = (name, preceded(space, list_mailbox)).parse(input)?;
    Ok((
        input,
        Command::List {
            reference,
            pattern,
            subscribed,
        },
    ))
}

/// RFC 3501 6.3.10.
pub(super) fn status(input: &[u8]) -> Parsed<'_, Command> {
    let item = |input| {
        let (input, word) = atom(input)?;
        let item = match word.to_ascii_uppercase().as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            _ => return fail(Problem::Arguments),
        };
        Ok((input, item))
    };
    let (input, mailbox) = name(input)?;
    let (input, items) = preceded(space, |input| parenthesised(input, item)).parse(input)?;
    if items.is_empty() {
        return fail(Problem::Arguments);
    }
    Ok((input, Command::Status { mailbox, items }))
}

/// RFC 3501 6.3.11, up to the message: its literal was cut off, the blank before it remains.
pub(super) fn append(input: &[u8]) -> Parsed<'_, Command> {
    let (input, mailbox) = name(input)?;
    let (input, flags) = opt(preceded(space, flag_list)).parse(input)?;
    let (input, date) = opt(preceded(space, date_time)).parse(input)?;
    let (input, ()) = space(input)?;
    Ok((
        input,
        Command::Append {
            mailbox,
            flags: flags.unwrap_or_default(),
            date,
        },
    ))
}

/// RFC 4315 section 2.1.
pub(super) fn uid_expunge(input: &[u8]) -> Parsed<'_, Command> {
    map(preceded(space, sequence_set), |set| Command::Expunge(Some(set))).parse(input)
}

/// RFC 3501 6.4.6.
pub(super) fn store(input: &[u8], uid: bool) -> Parsed<'_, Command> {
    let operation = alt((
        value(StoreOperation::Add, tag("+")),
        value(StoreOperation::Remove, tag("-")),
        value(StoreOperation::Replace, tag("")),
    ));
    let (input, set) = preceded(space, sequence_set).parse(input)?;
    let (input, operation) = preceded(space, operation).parse(input)?;
    let (input, silent) = preceded(tag_no_case("FLAGS"), opt(tag_no_case(".SILENT"))).parse(input)?;
    let (input, flags): (_, Flags) = preceded(space, store_flags).parse(input)?;
    Ok((
        input,
        Command::Store {
            set,
            operation,
            silent: silent.is_some(),
            flags,
            uid,
        },
    ))
}

/// RFC 3501 6.4.7.
pub(super) fn copy(input: &[u8], uid: bool) -> Parsed<'_, Command> {
    let (input, (set, mailbox)) = (preceded(space, sequence_set), name).parse(input)?;
    Ok((input, Command::Copy { set, mailbox, uid }))
}

/// RFC 6851 section 3.
pub(super) fn r#move(input: &[u8], uid: bool) -> Parsed<'_, Command> {
    let (input, (set, mailbox)) = (preceded(space, sequence_set), name).parse(input)?;
    Ok((input, Command::Move { set, mailbox, uid }))
}

/// A blank and a mailbox name.
fn name(input: &[u8]) -> Parsed<'_, WireName> {
    preceded(space, mailbox).parse(input)
}

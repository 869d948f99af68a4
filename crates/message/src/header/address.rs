//! Addresses in header fields (RFC 5322 3.4), read strictly.
//!
//! Whether somebody may send as the address in From is decided here, so a value that two programs could
//! read in two ways (robustness.md S70) is an error and not a guess. The value is cut into tokens first,
//! comments thrown away, so that the work is linear and nothing recurses.

use mail_types::Address;
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::one_of;
use nom::combinator::map;
use nom::error::{Error, ErrorKind};
use nom::multi::many0_count;
use nom::{IResult, Parser};

/// Why the addresses of a field cannot be told for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressListError {
    /// It does not follow the grammar of RFC 5322 3.4, or only its obsolete part.
    #[error("the address list is not well formed")]
    Syntax,
    /// An address in it is none that we could ever accept (no domain, an address literal, too long).
    #[error("an address in the list is not valid")]
    Address,
    /// There are more addresses than allowed.
    #[error("there are too many addresses")]
    TooMany,
}

/// All addresses of all From fields, in order, at most `max`. Empty where there is no address at all.
///
/// A display name that looks like an address counts as one: what a mail program shows as the sender is
/// held to the same rules as the sender.
pub fn from_addresses(header: &[u8], max: usize) -> Result<Vec<Address>, AddressListError> {
    let mut all = Vec::new();
    for field in super::find_all(header, "From") {
        all.extend(address_list(&field.value(), max)?);
        if all.len() > max {
            return Err(AddressListError::TooMany);
        }
    }
    Ok(all)
}

/// The addresses of an unfolded field value, at most `max`: `address-list` of RFC 5322 3.4 with groups,
/// and with empty elements (obs-addr-list).
pub fn address_list(value: &[u8], max: usize) -> Result<Vec<Address>, AddressListError> {
    let tokens = tokenize(value)?;
    let mut found = Vec::new();
    let mut in_group = false;
    for element in tokens.split_inclusive(|token| matches!(token, Token::Special(',' | ';'))) {
        let (mut element, closes) = match element.split_last() {
            Some((Token::Special(','), rest)) => (rest, false),
            Some((Token::Special(';'), rest)) => (rest, true),
            _ => (element, false),
        };
        if let Some(colon) = element.iter().position(|token| *token == Token::Special(':')) {
            let (name, rest) = element.split_at(colon);
            if in_group || name.is_empty() || !is_phrase(name) {
                return Err(AddressListError::Syntax);
            }
            in_group = true;
            element = &rest[1..];
        }
        if closes && !in_group {
            return Err(AddressListError::Syntax);
        }
        read_element(element, &mut found)?;
        in_group &= !closes;
        if found.len() > max {
            return Err(AddressListError::TooMany);
        }
    }
    if in_group {
        return Err(AddressListError::Syntax);
    }
    Ok(found)
}

/// One mailbox: nothing, `addr-spec`, or `[phrase] "<" addr-spec ">"`.
fn read_element(tokens: &[Token<'_>], found: &mut Vec<Address>) -> Result<(), AddressListError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let Some(open) = tokens.iter().position(|token| *token == Token::Special('<')) else {
        found.push(addr_spec(tokens)?);
        return Ok(());
    };
    let name = &tokens[..open];
    if !is_phrase(name) {
        // `a@b.test <c@d.test>`, the name not quoted: sloppy and common.
        found.push(addr_spec(name)?);
    } else if let [Token::Quoted(text)] = name {
        // `"a@b.test" <c@d.test>`: mail programs show the name only.
        found.extend(Address::parse(text.trim()));
    }
    match tokens[open + 1..].split_last() {
        Some((Token::Special('>'), inner)) => found.push(addr_spec(inner)?),
        _ => return Err(AddressListError::Syntax),
    }
    Ok(())
}

/// `local-part "@" domain`.
fn addr_spec(tokens: &[Token<'_>]) -> Result<Address, AddressListError> {
    let [local, Token::Special('@'), Token::Atom(domain)] = tokens else {
        return Err(AddressListError::Syntax);
    };
    let domain = std::str::from_utf8(domain).map_err(|_| AddressListError::Address)?;
    let domain = mail_types::Domain::new(domain).map_err(|_| AddressListError::Address)?;
    match local {
        Token::Atom(local) => {
            let local = std::str::from_utf8(local).map_err(|_| AddressListError::Address)?;
            Address::parse(&format!("{local}@{domain}")).map_err(|_| AddressListError::Address)
        }
        Token::Quoted(local) => Address::new(local, domain).map_err(|_| AddressListError::Address),
        Token::Special(_) => Err(AddressListError::Syntax),
    }
}

/// Words only.
fn is_phrase(tokens: &[Token<'_>]) -> bool {
    !tokens.iter().any(|token| matches!(token, Token::Special(_)))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    /// A run of atom text and dots; octets above 127 belong to it (RFC 6532, and old 8-bit names).
    Atom(&'a [u8]),
    /// A quoted string, unquoted.
    Quoted(String),
    /// One of `<>@,;:`.
    Special(char),
}

/// Cuts a value into tokens; white space and comments only separate.
fn tokenize(value: &[u8]) -> Result<Vec<Token<'_>>, AddressListError> {
    let mut tokens = Vec::new();
    let mut rest = skip_blank(value)?;
    while !rest.is_empty() {
        let (after, token) = alt((
            map(atom, Token::Atom),
            map(quoted, Token::Quoted),
            map(special, Token::Special),
        ))
        .parse(rest)
        .map_err(|_: nom::Err<Error<&[u8]>>| AddressListError::Syntax)?;
        tokens.push(token);
        rest = skip_blank(after)?;
    }
    Ok(tokens)
}

fn skip_blank(input: &[u8]) -> Result<&[u8], AddressListError> {
    many0_count(alt((take_while1(|b: u8| b.is_ascii_whitespace()), comment)))
        .parse(input)
        .map(|(rest, _)| rest)
        .map_err(|_: nom::Err<Error<&[u8]>>| AddressListError::Syntax)
}

fn atom(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|b: u8| b >= 0x80 || b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
        .parse(input)
}

fn special(input: &[u8]) -> IResult<&[u8], char> {
    one_of("<>@,;:").parse(input)
}

/// A quoted string without its quotes and backslashes. An unclosed one is a failure, not another token.
fn quoted(input: &[u8]) -> IResult<&[u8], String> {
    let Some(inner) = input.strip_prefix(b"\"") else {
        return Err(nom::Err::Error(Error::new(input, ErrorKind::Char)));
    };
    let mut text = Vec::new();
    let mut bytes = inner.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((&inner[at + 1..], String::from_utf8_lossy(&text).into_owned())),
            b'\\' => match bytes.next() {
                Some((_, escaped)) => text.push(*escaped),
                None => break,
            },
            other => text.push(*other),
        }
    }
    Err(nom::Err::Failure(Error::new(input, ErrorKind::Char)))
}

/// A comment with those nested in it, counted instead of recursed into.
fn comment(input: &[u8]) -> IResult<&[u8], &[u8]> {
    if input.first() != Some(&b'(') {
        return Err(nom::Err::Error(Error::new(input, ErrorKind::Char)));
    }
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, byte) in input.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((&input[at + 1..], &input[..=at]));
        }
    }
    Err(nom::Err::Failure(Error::new(input, ErrorKind::Char)))
}

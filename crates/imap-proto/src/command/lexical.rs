//! The words of the grammar: atoms, strings, numbers, sets, flags, dates (RFC 3501 section 9).

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take, take_while, take_while_m_n, take_while1};
use nom::combinator::{map, map_opt, opt, recognize, value, verify};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

use super::{Flags, Problem};
use crate::date::{Date, DateTime, MONTHS};
use crate::name::WireName;
use crate::sequence::{Bound, SequenceSet};

/// What parsers here return.
pub(super) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// A parse error that knows what the client is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub(super) Problem);

impl<'a> nom::error::ParseError<&'a [u8]> for Fault {
    fn from_error_kind(_: &'a [u8], _: nom::error::ErrorKind) -> Self {
        Self(Problem::Arguments)
    }
    fn append(_: &'a [u8], _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// Ends the whole parse with this problem; no alternative is tried.
pub(super) fn fail<T>(problem: Problem) -> Result<T, nom::Err<Fault>> {
    Err(nom::Err::Failure(Fault(problem)))
}

/// `SP`.
pub(super) fn space(input: &[u8]) -> Parsed<'_, ()> {
    value((), tag(" ")).parse(input)
}

fn is_atom_char(byte: u8) -> bool {
    // CTL, SP, ( ) { % * " \ ] and anything beyond ASCII are not.
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

/// `atom`, as text.
pub(super) fn atom(input: &[u8]) -> Parsed<'_, &str> {
    map_opt(take_while1(is_atom_char), |b| std::str::from_utf8(b).ok()).parse(input)
}

/// `astring`: bare word, quoted string or literal.
pub(super) fn astring(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    alt((map(take_while1(is_astring_char), <[u8]>::to_vec), string)).parse(input)
}

/// `string`: quoted or literal; never holds NUL.
pub(super) fn string(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    alt((quoted, literal)).parse(input)
}

/// `nstring`.
pub(super) fn nstring(input: &[u8]) -> Parsed<'_, Option<Vec<u8>>> {
    alt((value(None, tag_no_case("NIL")), map(string, Some))).parse(input)
}

fn quoted(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (mut rest, _) = tag("\"")(input)?;
    let mut out = Vec::new();
    loop {
        let (after, plain) =
            take_while(|b: u8| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)).parse(rest)?;
        out.extend_from_slice(plain);
        match after {
            [b'"', tail @ ..] => return Ok((tail, out)),
            [b'\\', escaped @ (b'"' | b'\\'), tail @ ..] => {
                out.push(*escaped);
                rest = tail;
            }
            _ => return Err(nom::Err::Error(Fault(Problem::Arguments))),
        }
    }
}

fn literal(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (rest, size) = delimited(tag("{"), number64, (opt(tag("+")), tag("}\r\n"))).parse(input)?;
    // The framer saw this literal and collected exactly so many octets, or the text is malformed.
    let (rest, octets) = take(usize::try_from(size).unwrap_or(usize::MAX)).parse(rest)?;
    if octets.contains(&0) {
        return Err(nom::Err::Error(Fault(Problem::Arguments)));
    }
    Ok((rest, octets.to_vec()))
}

/// `number`: 32 bits.
pub(super) fn number(input: &[u8]) -> Parsed<'_, u32> {
    map_opt(number64, |n| u32::try_from(n).ok()).parse(input)
}

fn number64(input: &[u8]) -> Parsed<'_, u64> {
    map_opt(
        take_while_m_n(1, 20, |b: u8| b.is_ascii_digit()),
        |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok(),
    )
    .parse(input)
}

/// `nz-number`: 32 bits, not 0.
pub(super) fn nz_number(input: &[u8]) -> Parsed<'_, u32> {
    verify(number, |n| *n != 0).parse(input)
}

/// `sequence-set`.
pub(super) fn sequence_set(input: &[u8]) -> Parsed<'_, SequenceSet> {
    fn bound(input: &[u8]) -> Parsed<'_, Bound> {
        alt((value(Bound::Last, tag("*")), map(nz_number, Bound::Number))).parse(input)
    }
    let range = |input| {
        let (rest, first) = bound(input)?;
        let (rest, second) = opt(preceded(tag(":"), bound)).parse(rest)?;
        Ok((rest, (first, second.unwrap_or(first))))
    };
    map(separated_list1(tag(","), range), SequenceSet::new).parse(input)
}

/// `mailbox`.
pub(super) fn mailbox(input: &[u8]) -> Parsed<'_, WireName> {
    map(astring, WireName).parse(input)
}

/// `list-mailbox`: an astring in which the wildcards may stand bare.
pub(super) fn list_mailbox(input: &[u8]) -> Parsed<'_, WireName> {
    let bare = take_while1(|b| is_astring_char(b) || b == b'%' || b == b'*');
    map(alt((map(bare, <[u8]>::to_vec), string)), WireName).parse(input)
}

/// One flag, into `flags`. `\Recent` is accepted and left out, as it cannot be set.
fn flag(input: &[u8]) -> Parsed<'_, (bool, &str)> {
    let (rest, system) = opt(tag("\\")).parse(input)?;
    map(atom, |word| (system.is_some(), word)).parse(rest)
}

/// `(flag flag)`, possibly empty.
pub(super) fn flag_list(input: &[u8]) -> Parsed<'_, Flags> {
    let (rest, words) = parenthesised(input, flag)?;
    Ok((rest, collect_flags(&words)?))
}

/// `flag-list / (flag *(SP flag))`, as in STORE.
pub(super) fn store_flags(input: &[u8]) -> Parsed<'_, Flags> {
    if input.first() == Some(&b'(') {
        return flag_list(input);
    }
    let (rest, words) = separated_list1(space, flag).parse(input)?;
    Ok((rest, collect_flags(&words)?))
}

fn collect_flags(words: &[(bool, &str)]) -> Result<Flags, nom::Err<Fault>> {
    let mut flags = Flags::default();
    for (system, word) in words {
        match (system, word.to_ascii_lowercase().as_str()) {
            (true, "answered") => flags.answered = true,
            (true, "flagged") => flags.flagged = true,
            (true, "deleted") => flags.deleted = true,
            (true, "seen") => flags.seen = true,
            (true, "draft") => flags.draft = true,
            (true, "recent") => {}
            (true, _) => return fail(Problem::Flag),
            (false, _) if flags.keywords.iter().any(|k| k.eq_ignore_ascii_case(word)) => {}
            (false, _) => flags.keywords.push((*word).to_owned()),
        }
    }
    Ok(flags)
}

/// `(item item)`, possibly empty; one blank between items.
pub(super) fn parenthesised<'a, T>(
    input: &'a [u8],
    item: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> Parsed<'a, Vec<T>> {
    let (mut rest, _) = tag("(")(input)?;
    let mut items = Vec::new();
    if let [b')', tail @ ..] = rest {
        return Ok((tail, items));
    }
    loop {
        let (after, parsed) = item(rest)?;
        items.push(parsed);
        match after {
            [b')', tail @ ..] => return Ok((tail, items)),
            [b' ', tail @ ..] => rest = tail,
            _ => return Err(nom::Err::Error(Fault(Problem::Arguments))),
        }
    }
}

/// `date`: `1-Feb-1994`, with or without quotes.
pub(super) fn date(input: &[u8]) -> Parsed<'_, Date> {
    fn text(input: &[u8]) -> Parsed<'_, Date> {
        let digits = |min, max| take_while_m_n(min, max, |b: u8| b.is_ascii_digit());
        let (rest, day) = digits(1, 2).parse(input)?;
        let (rest, (month, year)) =
            preceded(tag("-"), separated_pair(month, tag("-"), digits(4, 4))).parse(rest)?;
        match Date::new(small(year), month, small(day) as u8) {
            Some(date) => Ok((rest, date)),
            None => fail(Problem::Date),
        }
    }
    alt((delimited(tag("\""), text, tag("\"")), text)).parse(input)
}

/// `date-time`: `"17-Jul-1996 02:44:25 -0700"`.
pub(super) fn date_time(input: &[u8]) -> Parsed<'_, DateTime> {
    let digits = |n| take_while_m_n(n, n, |b: u8| b.is_ascii_digit());
    let (rest, _) = tag("\"")(input)?;
    let (rest, day) = alt((preceded(tag(" "), digits(1)), digits(2), digits(1))).parse(rest)?;
    let (rest, (month, year)) = preceded(tag("-"), separated_pair(month, tag("-"), digits(4))).parse(rest)?;
    let (rest, (hour, minute, second)) = (
        preceded(tag(" "), digits(2)),
        preceded(tag(":"), digits(2)),
        preceded(tag(":"), digits(2)),
    )
        .parse(rest)?;
    let (rest, sign) = preceded(tag(" "), alt((tag("+"), tag("-")))).parse(rest)?;
    let (rest, zone) = terminated(digits(4), tag("\"")).parse(rest)?;
    let zone = (small(&zone[..2]) * 60 + small(&zone[2..])) as i16;
    let zone = if sign == b"-" { -zone } else { zone };
    let moment = Date::new(small(year), month, small(day) as u8).and_then(|date| {
        DateTime::new(
            date,
            small(hour) as u8,
            small(minute) as u8,
            small(second) as u8,
            zone,
        )
    });
    match moment {
        Some(moment) => Ok((rest, moment)),
        None => fail(Problem::Date),
    }
}

fn month(input: &[u8]) -> Parsed<'_, u8> {
    map_opt(recognize(take(3usize)), |name: &[u8]| {
        let index = MONTHS
            .iter()
            .position(|m| m.as_bytes().eq_ignore_ascii_case(name))?;
        u8::try_from(index + 1).ok()
    })
    .parse(input)
}

/// At most four digits as a number.
fn small(digits: &[u8]) -> u16 {
    digits
        .iter()
        .take(4)
        .fold(0, |sum, digit| sum * 10 + u16::from(digit.wrapping_sub(b'0')))
}

//! The path of MAIL and RCPT (RFC 5321 4.1.2): what stands between the angle brackets.

use nom::branch::alt;
use nom::bytes::complete::{is_not, take};
use nom::character::complete::char;
use nom::combinator::recognize;
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// Reads `<...>` and returns what follows it and the text inside.
///
/// A `>` inside a quoted string does not end the path. Source routes are left in: no address starts with
/// an `@`, so they are refused (RFC 5321 appendix C allows it, and nobody sends them but spammers).
pub(super) fn path(input: &str) -> IResult<&str, &str> {
    delimited(char('<'), recognize(many0_count(piece)), char('>')).parse(input)
}

/// A quoted string, a quoted pair, or a run of ordinary characters. Each takes at least one character.
fn piece(input: &str) -> IResult<&str, &str> {
    alt((quoted_string, quoted_pair, is_not("<>\"\\ "))).parse(input)
}

fn quoted_string(input: &str) -> IResult<&str, &str> {
    recognize(delimited(
        char('"'),
        many0_count(alt((quoted_pair, is_not("\"\\")))),
        char('"'),
    ))
    .parse(input)
}

fn quoted_pair(input: &str) -> IResult<&str, &str> {
    recognize(preceded(char('\\'), take(1usize))).parse(input)
}

//! SEARCH and its keys (RFC 3501 6.4.4).

use nom::Parser;
use nom::bytes::complete::{tag_no_case, take_while1};
use nom::combinator::{map, opt, verify};
use nom::sequence::preceded;

use super::lexical::{Parsed, astring, atom, date, fail, number, sequence_set, space};
use super::{Command, MAX_NESTING, Problem, SearchKey};

/// SEARCH and UID SEARCH.
pub(super) fn search(input: &[u8], uid: bool) -> Parsed<'_, Command> {
    let (input, charset) = opt(preceded((space, tag_no_case("CHARSET"), space), astring)).parse(input)?;
    if let Some(charset) = charset {
        let known = charset.eq_ignore_ascii_case(b"UTF-8") || charset.eq_ignore_ascii_case(b"US-ASCII");
        if !known {
            return fail(Problem::Charset);
        }
    }
    let (input, keys) = keys(input, 0)?;
    Ok((input, Command::Search { key: one(keys), uid }))
}

/// One or more keys, each with a blank in front.
fn keys(mut input: &[u8], depth: usize) -> Parsed<'_, Vec<SearchKey>> {
    let mut keys = Vec::new();
    loop {
        let (rest, ()) = space(input)?;
        let (rest, key) = key(rest, depth)?;
        keys.push(key);
        input = rest;
        if input.first() != Some(&b' ') {
            return Ok((input, keys));
        }
    }
}

fn one(mut keys: Vec<SearchKey>) -> SearchKey {
    if keys.len() == 1 {
        keys.remove(0)
    } else {
        SearchKey::And(keys)
    }
}

/// The only recursion on what a peer sends; `depth` is bounded before each descent.
fn key(input: &[u8], depth: usize) -> Parsed<'_, SearchKey> {
    if depth > MAX_NESTING {
        return fail(Problem::TooDeep);
    }
    if let [b'(', rest @ ..] = input {
        let (rest, first) = key(rest, depth + 1)?;
        let (rest, mut others) = if rest.first() == Some(&b' ') {
            keys(rest, depth + 1)?
        } else {
            (rest, Vec::new())
        };
        let [b')', rest @ ..] = rest else {
            return fail(Problem::Arguments);
        };
        others.insert(0, first);
        return Ok((rest, one(others)));
    }
    if input.first().is_some_and(|b| b.is_ascii_digit() || *b == b'*') {
        return map(sequence_set, SearchKey::Sequence).parse(input);
    }
    let (rest, word) = take_while1(|b: u8| b.is_ascii_alphabetic()).parse(input)?;
    let word = word.to_ascii_uppercase();
    match word.as_slice() {
        b"NOT" => {
            let (rest, inner) = argument(rest, |i| key(i, depth + 1))?;
            Ok((rest, not(inner)))
        }
        b"OR" => {
            let (rest, left) = argument(rest, |i| key(i, depth + 1))?;
            let (rest, right) = argument(rest, |i| key(i, depth + 1))?;
            Ok((rest, SearchKey::Or(Box::new(left), Box::new(right))))
        }
        word => simple(rest, word),
    }
}

fn simple<'a>(rest: &'a [u8], word: &[u8]) -> Parsed<'a, SearchKey> {
    use SearchKey as K;
    let flag = match word {
        b"ALL" => Some(K::And(Vec::new())),
        b"ANSWERED" => Some(K::Answered),
        b"DELETED" => Some(K::Deleted),
        b"DRAFT" => Some(K::Draft),
        b"FLAGGED" => Some(K::Flagged),
        b"SEEN" => Some(K::Seen),
        b"RECENT" => Some(K::Recent),
        b"NEW" => Some(K::And(vec![K::Recent, not(K::Seen)])),
        b"OLD" => Some(not(K::Recent)),
        b"UNANSWERED" => Some(not(K::Answered)),
        b"UNDELETED" => Some(not(K::Deleted)),
        b"UNDRAFT" => Some(not(K::Draft)),
        b"UNFLAGGED" => Some(not(K::Flagged)),
        b"UNSEEN" => Some(not(K::Seen)),
        _ => None,
    };
    if let Some(key) = flag {
        return Ok((rest, key));
    }
    match word {
        b"KEYWORD" => argument(rest, |i| map(keyword, K::Keyword).parse(i)),
        b"UNKEYWORD" => argument(rest, |i| map(keyword, |k| not(K::Keyword(k))).parse(i)),
        b"UID" => argument(rest, |i| map(sequence_set, K::Uid).parse(i)),
        b"BEFORE" => argument(rest, |i| map(date, K::Before).parse(i)),
        b"ON" => argument(rest, |i| map(date, K::On).parse(i)),
        b"SINCE" => argument(rest, |i| map(date, K::Since).parse(i)),
        b"SENTBEFORE" => argument(rest, |i| map(date, K::SentBefore).parse(i)),
        b"SENTON" => argument(rest, |i| map(date, K::SentOn).parse(i)),
        b"SENTSINCE" => argument(rest, |i| map(date, K::SentSince).parse(i)),
        b"LARGER" => argument(rest, |i| map(number, K::Larger).parse(i)),
        b"SMALLER" => argument(rest, |i| map(number, K::Smaller).parse(i)),
        b"BCC" | b"CC" | b"FROM" | b"SUBJECT" | b"TO" => {
            let field = String::from_utf8_lossy(word).to_ascii_lowercase();
            argument(rest, move |i| map(text, |t| K::Header(field.clone(), t)).parse(i))
        }
        b"HEADER" => {
            let (rest, field) = argument(rest, field_name)?;
            argument(rest, move |i| map(text, |t| K::Header(field.clone(), t)).parse(i))
        }
        b"BODY" => argument(rest, |i| map(text, K::Body).parse(i)),
        b"TEXT" => argument(rest, |i| map(text, K::Text).parse(i)),
        _ => fail(Problem::Arguments),
    }
}

fn argument<'a, T>(input: &'a [u8], parser: impl Fn(&'a [u8]) -> Parsed<'a, T>) -> Parsed<'a, T> {
    preceded(space, parser).parse(input)
}

fn not(key: SearchKey) -> SearchKey {
    match key {
        // Two of them cancel out, so that `NOT UNSEEN` costs no depth.
        SearchKey::Not(inner) => *inner,
        key => SearchKey::Not(Box::new(key)),
    }
}

fn keyword(input: &[u8]) -> Parsed<'_, String> {
    map(atom, str::to_owned).parse(input)
}

fn field_name(input: &[u8]) -> Parsed<'_, String> {
    map(verify(text, |name: &String| !name.is_empty()), |name| {
        name.to_ascii_lowercase()
    })
    .parse(input)
}

/// A search string: without a charset it should be ASCII, but clients send UTF-8 all the same.
fn text(input: &[u8]) -> Parsed<'_, String> {
    let (rest, octets) = astring(input)?;
    match String::from_utf8(octets) {
        Ok(text) => Ok((rest, text)),
        Err(_) => fail(Problem::Charset),
    }
}

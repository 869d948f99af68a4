//! FETCH and its items (RFC 3501 6.4.5).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::combinator::{map, opt, value};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, separated_pair};

use super::lexical::{Parsed, astring, fail, number, nz_number, parenthesised, sequence_set, space};
use super::{Command, FetchItem, MAX_PART_DEPTH, Problem, Section, SectionText};

/// FETCH and UID FETCH.
pub(super) fn fetch(input: &[u8], uid: bool) -> Parsed<'_, Command> {
    let (input, set) = preceded(space, sequence_set).parse(input)?;
    let (input, mut items) = preceded(space, items).parse(input)?;
    if uid && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    Ok((input, Command::Fetch { set, items, uid }))
}

fn items(input: &[u8]) -> Parsed<'_, Vec<FetchItem>> {
    if input.first() == Some(&b'(') {
        let (rest, items) = parenthesised(input, item)?;
        return if items.is_empty() {
            fail(Problem::Arguments)
        } else {
            Ok((rest, dedup(items)))
        };
    }
    alt((macro_items, map(item, |item| vec![item]))).parse(input)
}

/// The same item twice is answered once; answers are found by name.
fn dedup(items: Vec<FetchItem>) -> Vec<FetchItem> {
    let mut unique: Vec<FetchItem> = Vec::with_capacity(items.len());
    for item in items {
        // Quadratic, so only for lists of a natural length.
        if unique.len() > 64 || !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

fn macro_items(input: &[u8]) -> Parsed<'_, Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Rfc822Size};
    alt((
        value(
            vec![Flags, InternalDate, Rfc822Size, Envelope],
            tag_no_case("ALL"),
        ),
        value(
            vec![Flags, InternalDate, Rfc822Size, Envelope, Body],
            tag_no_case("FULL"),
        ),
        value(vec![Flags, InternalDate, Rfc822Size], tag_no_case("FAST")),
    ))
    .parse(input)
}

fn item(input: &[u8]) -> Parsed<'_, FetchItem> {
    alt((
        section_item,
        value(FetchItem::Envelope, tag_no_case("ENVELOPE")),
        value(FetchItem::Flags, tag_no_case("FLAGS")),
        value(FetchItem::InternalDate, tag_no_case("INTERNALDATE")),
        value(FetchItem::Rfc822Header, tag_no_case("RFC822.HEADER")),
        value(FetchItem::Rfc822Size, tag_no_case("RFC822.SIZE")),
        value(FetchItem::Rfc822Text, tag_no_case("RFC822.TEXT")),
        value(FetchItem::Rfc822, tag_no_case("RFC822")),
        value(FetchItem::BodyStructure, tag_no_case("BODYSTRUCTURE")),
        value(FetchItem::Body, tag_no_case("BODY")),
        value(FetchItem::Uid, tag_no_case("UID")),
    ))
    .parse(input)
}

fn section_item(input: &[u8]) -> Parsed<'_, FetchItem> {
    let (input, peek) = alt((
        value(true, tag_no_case("BODY.PEEK[")),
        value(false, tag_no_case("BODY[")),
    ))
    .parse(input)?;
    let (input, section) = section(input)?;
    let (input, _) = tag("]")(input)?;
    let range = delimited(tag("<"), separated_pair(number, tag("."), nz_number), tag(">"));
    let (input, partial) = opt(range).parse(input)?;
    Ok((
        input,
        FetchItem::Section {
            peek,
            section,
            partial,
        },
    ))
}

fn section(input: &[u8]) -> Parsed<'_, Section> {
    let (input, path) = opt(separated_list1(tag("."), nz_number)).parse(input)?;
    let path = path.unwrap_or_default();
    if path.len() > MAX_PART_DEPTH {
        return fail(Problem::TooDeep);
    }
    let (input, text) = if path.is_empty() {
        map(opt(section_text), |text| text.unwrap_or(SectionText::All)).parse(input)?
    } else {
        let text = alt((section_text, value(SectionText::Mime, tag_no_case("MIME"))));
        map(opt(preceded(tag("."), text)), |text| {
            text.unwrap_or(SectionText::All)
        })
        .parse(input)?
    };
    Ok((input, Section { path, text }))
}

fn section_text(input: &[u8]) -> Parsed<'_, SectionText> {
    let names = |input| parenthesised(input, astring);
    let fields = |not| move |names| SectionText::HeaderFields { not, names };
    let (rest, text) = alt((
        map(preceded(tag_no_case("HEADER.FIELDS.NOT "), names), fields(true)),
        map(preceded(tag_no_case("HEADER.FIELDS "), names), fields(false)),
        value(SectionText::Header, tag_no_case("HEADER")),
        value(SectionText::Text, tag_no_case("TEXT")),
    ))
    .parse(input)?;
    match &text {
        SectionText::HeaderFields { names, .. } if names.is_empty() => fail(Problem::Arguments),
        _ => Ok((rest, text)),
    }
}

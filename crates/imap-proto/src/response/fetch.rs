//! FETCH responses, item by item (RFC 3501 7.4.2).
//!
//! Begin with [`begin`], then one call per item with [`item_separator`] between them, then [`end`]. Body
//! data is announced with [`section`]; the caller appends exactly the octets that it announced.

use super::put;
use crate::command::{FetchItem, Section, SectionText};
use crate::date::DateTime;

/// `* n FETCH (`.
pub fn begin(out: &mut Vec<u8>, number: u32) {
    put(out, &format!("* {number} FETCH ("));
}

/// The blank between items.
pub fn item_separator(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        put(out, " ");
    }
}

/// `)`.
pub fn end(out: &mut Vec<u8>) {
    put(out, ")\r\n");
}

/// `UID n`.
pub fn uid(out: &mut Vec<u8>, uid: u32) {
    put(out, &format!("UID {uid}"));
}

/// `FLAGS (...)`.
pub fn flags(out: &mut Vec<u8>, names: &[String]) {
    put(out, "FLAGS ");
    super::put_list(out, names);
}

/// `INTERNALDATE "..."`.
pub fn internal_date(out: &mut Vec<u8>, date: DateTime) {
    put(out, &format!("INTERNALDATE \"{date}\""));
}

/// `RFC822.SIZE n`.
pub fn size(out: &mut Vec<u8>, size: u64) {
    put(out, &format!("RFC822.SIZE {size}"));
}

/// `ENVELOPE`, `BODY` or `BODYSTRUCTURE` with its value already written by [`super::structure`].
pub fn encoded(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, name);
    put(out, " ");
    out.extend_from_slice(value);
}

/// The name of a body item and the announcement of `len` octets, which the caller appends; or NIL, for a
/// section that is not there (`None`). Does nothing for items that are no bodies.
pub fn section(out: &mut Vec<u8>, item: &FetchItem, len: Option<u64>) {
    match item {
        FetchItem::Rfc822 => put(out, "RFC822"),
        FetchItem::Rfc822Header => put(out, "RFC822.HEADER"),
        FetchItem::Rfc822Text => put(out, "RFC822.TEXT"),
        FetchItem::Section { section, partial, .. } => {
            section_name(out, section);
            if let Some((start, _)) = partial {
                put(out, &format!("<{start}>"));
            }
        }
        _ => return,
    }
    match len {
        Some(len) => put(out, &format!(" {{{len}}}\r\n")),
        None => put(out, " NIL"),
    }
}

fn section_name(out: &mut Vec<u8>, section: &Section) {
    put(out, "BODY[");
    let path: Vec<String> = section.path.iter().map(u32::to_string).collect();
    put(out, &path.join("."));
    if !path.is_empty() && section.text != SectionText::All {
        put(out, ".");
    }
    match &section.text {
        SectionText::All => {}
        SectionText::Header => put(out, "HEADER"),
        SectionText::Text => put(out, "TEXT"),
        SectionText::Mime => put(out, "MIME"),
        SectionText::HeaderFields { not, names } => {
            put(
                out,
                if *not {
                    "HEADER.FIELDS.NOT ("
                } else {
                    "HEADER.FIELDS ("
                },
            );
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    put(out, " ");
                }
                field_name(out, name);
            }
            put(out, ")");
        }
    }
    put(out, "]");
}

/// Field names are echoed bare where they are atoms, as clients compare them with what they sent.
fn field_name(out: &mut Vec<u8>, name: &[u8]) {
    let bare = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'_' | b'.' | b'+' | b'!' | b'#' | b'$' | b'&' | b'\'')
    };
    if !name.is_empty() && name.len() <= 256 && name.iter().all(bare) {
        out.extend_from_slice(name);
    } else {
        super::put_string(out, name);
    }
}

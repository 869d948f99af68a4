//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2) from what [`message::mime`] read.

use message::mime::{Content, Disposition, Envelope, EnvelopeAddress, Kind, Parameters, Part, Structure};

use super::{put, put_nstring, put_string};

/// Writes the parenthesised list of an ENVELOPE.
pub fn envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    put(out, "(");
    put_nstring(out, envelope.date.as_deref());
    put(out, " ");
    put_nstring(out, envelope.subject.as_deref());
    let lists = [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        put(out, " ");
        addresses(out, list);
    }
    put(out, " ");
    put_nstring(out, envelope.in_reply_to.as_deref());
    put(out, " ");
    put_nstring(out, envelope.message_id.as_deref());
    put(out, ")");
}

fn addresses(out: &mut Vec<u8>, list: &[EnvelopeAddress]) {
    if list.is_empty() {
        return put(out, "NIL");
    }
    put(out, "(");
    for address in list {
        put(out, "(");
        put_nstring(out, address.name.as_deref());
        put(out, " ");
        put_nstring(out, address.route.as_deref());
        put(out, " ");
        put_nstring(out, address.mailbox.as_deref());
        put(out, " ");
        put_nstring(out, address.host.as_deref());
        put(out, ")");
    }
    put(out, ")");
}

/// Writes the structure of a message: BODYSTRUCTURE where `extended`, else BODY.
pub fn body(out: &mut Vec<u8>, structure: &Structure, extended: bool) {
    part(out, structure, structure.root(), extended);
}

/// Recursion is bounded: a structure is at most [`message::mime::MAX_DEPTH`] deep.
fn part(out: &mut Vec<u8>, structure: &Structure, this: &Part, extended: bool) {
    put(out, "(");
    if let Kind::Multipart(children) = &this.kind {
        for child in children {
            part(out, structure, structure.part(*child), extended);
        }
        if children.is_empty() {
            // The grammar wants at least one part: an empty text, as other servers show it.
            put(
                out,
                "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
            );
        }
        put(out, " ");
        put_string(out, &this.content.subtype);
        if extended {
            put(out, " ");
            parameters(out, &this.content.parameters);
            extension(out, &this.content);
        }
        return put(out, ")");
    }
    single(out, structure, this, extended);
    put(out, ")");
}

fn single(out: &mut Vec<u8>, structure: &Structure, this: &Part, extended: bool) {
    let content = &this.content;
    put_string(out, &content.main_type);
    put(out, " ");
    put_string(out, &content.subtype);
    put(out, " ");
    parameters(out, &content.parameters);
    put(out, " ");
    put_nstring(out, content.id.as_deref());
    put(out, " ");
    put_nstring(out, content.description.as_deref());
    put(out, " ");
    put_string(out, &content.encoding);
    put(out, &format!(" {}", this.body_size()));
    if let Kind::Message(inner, read) = &this.kind {
        put(out, " ");
        envelope(out, read);
        put(out, " ");
        part(out, structure, structure.part(*inner), extended);
        put(out, &format!(" {}", this.body_lines()));
    } else if content.is_text() {
        put(out, &format!(" {}", this.body_lines()));
    } else if content.is("message", "rfc822") {
        // Encoded in base64, so there is no structure; but the grammar of this type asks for one.
        put(out, " ");
        envelope(out, &Envelope::default());
        put(out, " (\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0) 0");
    }
    if extended {
        put(out, " ");
        put_nstring(out, content.md5.as_deref());
        extension(out, content);
    }
}

/// Disposition, language and location, each with a blank in front.
fn extension(out: &mut Vec<u8>, content: &Content) {
    put(out, " ");
    match &content.disposition {
        Some(Disposition {
            kind,
            parameters: list,
        }) => {
            put(out, "(");
            put_string(out, kind);
            put(out, " ");
            parameters(out, list);
            put(out, ")");
        }
        None => put(out, "NIL"),
    }
    put(out, " ");
    match content.language.as_slice() {
        [] => put(out, "NIL"),
        [one] => put_string(out, one),
        many => {
            put(out, "(");
            for (index, language) in many.iter().enumerate() {
                if index > 0 {
                    put(out, " ");
                }
                put_string(out, language);
            }
            put(out, ")");
        }
    }
    put(out, " ");
    put_nstring(out, content.location.as_deref());
}

fn parameters(out: &mut Vec<u8>, list: &Parameters) {
    if list.is_empty() {
        return put(out, "NIL");
    }
    put(out, "(");
    for (index, (name, value)) in list.iter().enumerate() {
        if index > 0 {
            put(out, " ");
        }
        put_string(out, name);
        put(out, " ");
        put_string(out, value);
    }
    put(out, ")");
}

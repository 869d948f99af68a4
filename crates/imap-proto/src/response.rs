//! What the server says (RFC 3501 section 7).
//!
//! [`Response`] is everything but FETCH, which is written item by item with [`fetch`] because bodies are
//! streamed. All writers append to a byte buffer and end lines with CRLF; no text from outside can end one.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::Flags;
use crate::name;
use crate::sequence::SequenceSet;

pub mod fetch;
pub mod structure;

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// OK, NO, BAD, BYE or PREAUTH, tagged or not.
    Status(StatusResponse<'a>),
    /// `+ text`.
    Continue(&'a str),
    /// `+` and a challenge in base64.
    Challenge(&'a [u8]),
    /// CAPABILITY.
    Capability(&'a [&'a str]),
    /// FLAGS: what may be set here.
    Flags(&'a [String]),
    /// EXISTS.
    Exists(u32),
    /// RECENT.
    Recent(u32),
    /// EXPUNGE.
    Expunge(u32),
    /// LIST or LSUB.
    List {
        /// LSUB.
        subscribed: bool,
        /// Attributes with their backslash.
        attributes: &'a [&'a str],
        /// Hierarchy separator; `None` where the name has no hierarchy.
        separator: Option<char>,
        /// The name in UTF-8.
        name: &'a str,
    },
    /// STATUS of a mailbox (name in UTF-8).
    MailboxStatus(&'a str, &'a [(&'a str, u32)]),
    /// SEARCH.
    Search(&'a [u32]),
    /// NAMESPACE: the personal one.
    Namespace {
        /// Its prefix.
        prefix: &'a str,
        /// Its separator.
        separator: char,
    },
    /// ID.
    Id(&'a [(&'a str, &'a str)]),
    /// ENABLED.
    Enabled(&'a [&'a str]),
}

/// A status response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusResponse<'a> {
    /// `None`: untagged.
    pub tag: Option<&'a str>,
    /// Which.
    pub status: Status,
    /// Response code.
    pub code: Option<Code<'a>>,
    /// Text for people; control characters and what is not ASCII become `?`.
    pub text: &'a str,
}

/// The five of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// OK.
    Ok,
    /// NO.
    No,
    /// BAD.
    Bad,
    /// BYE, never tagged.
    Bye,
    /// PREAUTH, never tagged.
    PreAuth,
}

/// Response codes (RFC 3501 7.1, RFC 4315, RFC 5530).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code<'a> {
    /// ALERT.
    Alert,
    /// ALREADYEXISTS.
    AlreadyExists,
    /// APPENDUID.
    AppendUid(u32, u32),
    /// AUTHENTICATIONFAILED.
    AuthenticationFailed,
    /// BADCHARSET with what is known.
    BadCharset,
    /// CANNOT.
    Cannot,
    /// CAPABILITY.
    Capability(Vec<&'a str>),
    /// CLIENTBUG.
    ClientBug,
    /// CLOSED.
    Closed,
    /// COPYUID: UIDVALIDITY of the target, source UIDs, target UIDs, in corresponding order.
    CopyUid(u32, SequenceSet, SequenceSet),
    /// EXPIRED.
    Expired,
    /// EXPUNGEISSUED.
    ExpungeIssued,
    /// INUSE.
    InUse,
    /// LIMIT.
    Limit,
    /// NONEXISTENT.
    NonExistent,
    /// OVERQUOTA.
    OverQuota,
    /// PERMANENTFLAGS.
    PermanentFlags(Vec<String>),
    /// PRIVACYREQUIRED.
    PrivacyRequired,
    /// READ-ONLY.
    ReadOnly,
    /// READ-WRITE.
    ReadWrite,
    /// SERVERBUG.
    ServerBug,
    /// TOOBIG (RFC 4469, robustness.md I01).
    TooBig,
    /// TRYCREATE.
    TryCreate,
    /// UIDNEXT.
    UidNext(u32),
    /// UIDNOTSTICKY is never sent: UIDs are kept. UIDVALIDITY.
    UidValidity(u32),
    /// UNAVAILABLE.
    Unavailable,
    /// UNSEEN: the first unseen message.
    Unseen(u32),
}

impl Response<'_> {
    /// Appends the response and its line end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => status.encode(out),
            Self::Continue(text) => {
                put(out, "+ ");
                put_text(out, text);
            }
            Self::Challenge(octets) => {
                put(out, "+ ");
                put(out, &STANDARD.encode(octets));
            }
            Self::Capability(names) => put_words(out, "* CAPABILITY", names),
            Self::Flags(flags) => {
                put(out, "* FLAGS ");
                put_list(out, flags);
            }
            Self::Exists(count) => put_number(out, *count, "EXISTS"),
            Self::Recent(count) => put_number(out, *count, "RECENT"),
            Self::Expunge(number) => put_number(out, *number, "EXPUNGE"),
            Self::List {
                subscribed,
                attributes,
                separator,
                name,
            } => {
                put(out, if *subscribed { "* LSUB (" } else { "* LIST (" });
                put(out, &attributes.join(" "));
                put(out, ") ");
                match separator {
                    Some(separator) => put_quoted(out, separator.to_string().as_bytes()),
                    None => put(out, "NIL"),
                }
                put(out, " ");
                put_mailbox(out, name);
            }
            Self::MailboxStatus(name, items) => {
                put(out, "* STATUS ");
                put_mailbox(out, name);
                let items: Vec<String> = items
                    .iter()
                    .map(|(item, value)| format!("{item} {value}"))
                    .collect();
                put(out, " ");
                put_list(out, &items);
            }
            Self::Search(numbers) => {
                let mut line = String::from("* SEARCH");
                for number in *numbers {
                    let _ = write!(line, " {number}");
                }
                put(out, &line);
            }
            Self::Namespace { prefix, separator } => {
                put(out, "* NAMESPACE ((");
                put_quoted(out, name::encode(prefix).as_bytes());
                put(out, " ");
                put_quoted(out, separator.to_string().as_bytes());
                put(out, ")) NIL NIL");
            }
            Self::Id(pairs) => put_id(out, pairs),
            Self::Enabled(names) => put_words(out, "* ENABLED", names),
        }
        put(out, "\r\n");
    }
}

impl StatusResponse<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.tag.unwrap_or("*"));
        put(
            out,
            match self.status {
                Status::Ok => " OK ",
                Status::No => " NO ",
                Status::Bad => " BAD ",
                Status::Bye => " BYE ",
                Status::PreAuth => " PREAUTH ",
            },
        );
        if let Some(code) = &self.code {
            put(out, "[");
            code.encode(out);
            put(out, "] ");
        }
        put_text(out, self.text);
    }
}

impl Code<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let word = match self {
            Self::AppendUid(validity, uid) => return put(out, &format!("APPENDUID {validity} {uid}")),
            Self::CopyUid(validity, from, to) => return put(out, &format!("COPYUID {validity} {from} {to}")),
            Self::Capability(names) => return put_words(out, "CAPABILITY", names),
            Self::PermanentFlags(flags) => {
                put(out, "PERMANENTFLAGS ");
                return put_list(out, flags);
            }
            Self::UidNext(uid) => return put(out, &format!("UIDNEXT {uid}")),
            Self::UidValidity(validity) => return put(out, &format!("UIDVALIDITY {validity}")),
            Self::Unseen(number) => return put(out, &format!("UNSEEN {number}")),
            Self::BadCharset => "BADCHARSET (US-ASCII UTF-8)",
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::Cannot => "CANNOT",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::NonExistent => "NONEXISTENT",
            Self::OverQuota => "OVERQUOTA",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::Unavailable => "UNAVAILABLE",
        };
        put(out, word);
    }
}

/// The names of flags as they are written, `\Recent` first where `recent`.
pub fn flag_names(flags: &Flags, recent: bool) -> Vec<String> {
    let system = [
        (recent, "\\Recent"),
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.seen, "\\Seen"),
        (flags.draft, "\\Draft"),
    ];
    let set = system
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| (*name).to_owned());
    set.chain(flags.keywords.iter().cloned()).collect()
}

/// `astring` of a mailbox name given in UTF-8: modified UTF-7, quoted (which is always allowed).
pub fn put_mailbox(out: &mut Vec<u8>, name: &str) {
    put_string(out, name::encode(name).as_bytes());
}

/// `string`: quoted where it may be, else a literal. NUL, which neither may hold, becomes 0x80.
pub fn put_string(out: &mut Vec<u8>, octets: &[u8]) {
    let plain = |b: &u8| matches!(b, 0x20..=0x7e);
    if octets.len() <= MAX_QUOTED && octets.iter().all(plain) {
        put_quoted(out, octets);
    } else {
        put(out, &format!("{{{}}}\r\n", octets.len()));
        out.extend(octets.iter().map(|b| if *b == 0 { 0x80 } else { *b }));
    }
}

/// `nstring`.
pub fn put_nstring(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => put_string(out, octets),
        None => put(out, "NIL"),
    }
}

/// Longer strings are sent as literals: some clients have small line buffers.
const MAX_QUOTED: usize = 1000;

pub(crate) fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_quoted(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(b'"');
    for byte in octets {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // `resp-text` has at least one character.
    if text.is_empty() {
        out.push(b'.');
    }
    out.extend(
        text.chars()
            .map(|c| if matches!(c, ' '..='~') { c as u8 } else { b'?' }),
    );
}

fn put_words(out: &mut Vec<u8>, first: &str, words: &[&str]) {
    put(out, first);
    for word in words {
        put(out, " ");
        put(out, word);
    }
}

fn put_list(out: &mut Vec<u8>, words: &[String]) {
    put(out, "(");
    put(out, &words.join(" "));
    put(out, ")");
}

fn put_number(out: &mut Vec<u8>, number: u32, word: &str) {
    put(out, &format!("* {number} {word}"));
}

fn put_id(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    put(out, "* ID ");
    if pairs.is_empty() {
        return put(out, "NIL");
    }
    for (index, (name, value)) in pairs.iter().enumerate() {
        put(out, if index == 0 { "(" } else { " " });
        put_string(out, name.as_bytes());
        put(out, " ");
        put_string(out, value.as_bytes());
    }
    put(out, ")");
}

#[cfg(test)]
mod tests;

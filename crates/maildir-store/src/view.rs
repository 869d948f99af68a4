//! What a folder holds, as an immutable snapshot that sessions share.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::flags::Flags;
use crate::name;

/// The messages of a folder at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// UIDs mean the same message for ever only under the same UIDVALIDITY.
    pub uid_validity: u32,
    /// No message has this UID or a higher one yet.
    pub uid_next: u32,
    /// The highest MODSEQ that was given (RFC 7162).
    pub highest_modseq: u64,
    /// Names of the keywords; the index is the bit in [`Message::keywords`].
    pub keywords: Vec<String>,
    /// In ascending order of UID.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// UID.
    pub uid: u32,
    /// The six flags.
    pub flags: Flags,
    /// Lies in `new/` still.
    pub(crate) is_new: bool,
    /// Keywords as a set of indexes into [`View::keywords`].
    pub keywords: u64,
    /// When something about it changed last, in steps of the folder.
    pub modseq: u64,
    /// When it came into this folder: seconds since 1970 (RFC 8514 SAVEDATE).
    pub saved: i64,
    /// The name up to the flags.
    pub(crate) base: Arc<OsStr>,
    /// The whole file name, where it is not what [`name::with_flags`] makes of base and flags.
    pub(crate) odd_name: Option<Box<OsStr>>,
}

impl View {
    /// The message with this UID.
    pub fn get(&self, uid: u32) -> Option<&Message> {
        self.index(uid).map(|index| &self.messages[index])
    }

    /// The position of a UID in [`View::messages`]: its sequence number minus 1.
    pub fn index(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    /// The names of a message's keywords.
    pub fn keyword_names<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a str> {
        let set = move |(bit, _): &(usize, &String)| message.keywords & (1 << *bit) != 0;
        self.keywords
            .iter()
            .take(64)
            .enumerate()
            .filter(set)
            .map(|(_, name)| name.as_str())
    }

    /// The bit of a keyword; keywords do not differ by case (RFC 3501 2.3.2).
    pub(crate) fn keyword_bit(&self, keyword: &str) -> Option<usize> {
        self.keywords.iter().position(|k| k.eq_ignore_ascii_case(keyword))
    }
}

impl Message {
    /// The POP3 UIDL that was taken over from another server; None where ours applies.
    pub fn uidl(&self) -> Option<&str> {
        None
    }

    /// What stays of the file name for the message's life.
    pub fn base_name(&self) -> &OsStr {
        &self.base
    }

    /// The file name as last seen.
    pub(crate) fn file_name(&self) -> OsString {
        match &self.odd_name {
            Some(name) => OsString::from(&**name),
            None => name::with_flags(&self.base, self.flags),
        }
    }

    /// Takes over where the file lies and what its name says.
    pub(crate) fn seen_as(&mut self, is_new: bool, file_name: &OsStr) {
        let parsed = name::parse(file_name);
        self.is_new = is_new;
        self.flags = parsed.flags;
        self.odd_name = (!parsed.canonical).then(|| file_name.into());
    }
}

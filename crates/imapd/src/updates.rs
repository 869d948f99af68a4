//! What others changed: the difference between what the client was told and what the folder holds.

use std::sync::Arc;

use imap_proto::response::{Code, Response, Status, StatusResponse, fetch};
use maildir_store::{Message, View};

use crate::mailbox::Numbers;

/// How a command lets changes be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Telling<'a> {
    /// EXPUNGE may be sent (RFC 3501 7.4.1: not during FETCH, STORE and SEARCH).
    pub(crate) expunge: bool,
    /// FETCH responses name the UID, as UID commands want it.
    pub(crate) uid: bool,
    /// Messages whose flags the client knows or hears anyway, ascending.
    pub(crate) known: &'a [u32],
    /// PERMANENTFLAGS holds nothing (EXAMINE).
    pub(crate) read_only: bool,
}

/// Takes `latest` as the new view and writes what the client has to hear. `first_recent` is the first UID
/// that is recent here, where new messages were taken.
pub(crate) fn tell(
    numbers: &mut Numbers,
    latest: Arc<View>,
    first_recent: Option<u32>,
    telling: Telling<'_>,
    out: &mut Vec<u8>,
) {
    let old_count = numbers.count();
    let old_recent = numbers.recent_count();
    let old = std::mem::replace(&mut numbers.view, latest);
    if !Arc::ptr_eq(&old, &numbers.view) {
        haunt(numbers, &old);
    }
    let mut gone = 0;
    if telling.expunge {
        gone = exorcise(numbers, out);
    }
    if let Some(first) = first_recent {
        numbers.add_recent(first);
    }
    if old.keywords.len() != numbers.view.keywords.len() {
        keywords(numbers, telling.read_only, out);
    }
    if numbers.count() != old_count - gone {
        Response::Exists(numbers.count()).encode(out);
    }
    // Fewer than before is what the EXPUNGE responses said already.
    if numbers.recent_count() > old_recent {
        Response::Recent(numbers.recent_count()).encode(out);
    }
    if !Arc::ptr_eq(&old, &numbers.view) {
        flags(numbers, &old, telling, out);
    }
}

/// Messages of the old view that are gone keep their numbers for now.
fn haunt(numbers: &mut Numbers, old: &View) {
    let latest = &numbers.view.messages;
    let mut at = 0;
    let mut found = Vec::new();
    for message in &old.messages {
        while latest.get(at).is_some_and(|m| m.uid < message.uid) {
            at += 1;
        }
        if latest.get(at).is_none_or(|m| m.uid != message.uid) {
            found.push(message.uid);
        }
    }
    if !found.is_empty() {
        numbers.ghosts.extend(found);
        numbers.ghosts.sort_unstable();
    }
}

/// Tells of all that are gone, the last one first so that the numbers of the others still hold.
fn exorcise(numbers: &mut Numbers, out: &mut Vec<u8>) -> u32 {
    let ghosts = std::mem::take(&mut numbers.ghosts);
    for (before, ghost) in ghosts.iter().enumerate().rev() {
        let living = numbers.view.messages.partition_point(|m| m.uid < *ghost);
        Response::Expunge(u32::try_from(living + before + 1).unwrap_or(u32::MAX)).encode(out);
    }
    u32::try_from(ghosts.len()).unwrap_or(u32::MAX)
}

/// FLAGS and PERMANENTFLAGS (RFC 3501 7.2.6, 7.1).
pub(crate) fn keywords(numbers: &Numbers, read_only: bool, out: &mut Vec<u8>) {
    let mut flags = numbers.applicable_flags();
    Response::Flags(&flags).encode(out);
    if read_only {
        flags.clear();
    } else {
        flags.push("\\*".to_owned());
    }
    let text = if read_only {
        "No permanent flags"
    } else {
        "Flags permitted"
    };
    let code = Some(Code::PermanentFlags(flags));
    Response::Status(StatusResponse {
        tag: None,
        status: Status::Ok,
        code,
        text,
    })
    .encode(out);
}

fn flags(numbers: &Numbers, old: &View, telling: Telling<'_>, out: &mut Vec<u8>) {
    let mut at = 0;
    for message in &numbers.view.messages {
        while old.messages.get(at).is_some_and(|m| m.uid < message.uid) {
            at += 1;
        }
        let Some(before) = old.messages.get(at) else {
            return;
        };
        let same = before.flags == message.flags && before.keywords == message.keywords;
        if before.uid == message.uid && !same && telling.known.binary_search(&message.uid).is_err() {
            flags_of(numbers, message, telling.uid, out);
        }
    }
}

/// A FETCH response with the flags of one message.
pub(crate) fn flags_of(numbers: &Numbers, message: &Message, uid: bool, out: &mut Vec<u8>) {
    let Some(number) = numbers.number(message.uid) else {
        return;
    };
    fetch::begin(out, number);
    if uid {
        fetch::uid(out, message.uid);
        out.push(b' ');
    }
    fetch::flags(out, &numbers.flag_names(message));
    fetch::end(out);
}

//! STORE and UID STORE (RFC 3501 6.4.6).

use std::sync::Arc;

use imap_proto::command::{Flags as WireFlags, StoreOperation};
use imap_proto::response::Code;
use imap_proto::sequence::SequenceSet;
use maildir_store::FlagOp;

use super::Tell;
use super::expunge::read_only;
use super::folders::selected;
use crate::error::{Stop, Tagged};
use crate::mailbox::store_flags;
use crate::session::Session;
use crate::store;
use crate::updates;

/// Changes flags and tells the result, unless `.SILENT`.
pub(super) async fn run(
    session: &mut Session,
    set: &SequenceSet,
    operation: StoreOperation,
    silent: bool,
    flags: &WireFlags,
    uid: bool,
) -> Result<Tagged, Stop> {
    let selected = selected(session)?;
    if selected.read_only {
        return Ok(read_only());
    }
    let picked = selected.numbers.pick(set, uid)?;
    let uids = Arc::new(picked.uids);
    let folder = Arc::clone(&selected.folder);
    let operation = match operation {
        StoreOperation::Add => FlagOp::Add,
        StoreOperation::Remove => FlagOp::Remove,
        StoreOperation::Replace => FlagOp::Replace,
    };
    let (flags, keywords) = store_flags(flags)?;
    let wanted = Arc::clone(&uids);
    if !uids.is_empty() {
        store::blocking(move || {
            let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
            folder.store(&wanted, operation, flags, &keywords)
        })
        .await?;
    }
    // What others changed comes first, so that a keyword that is new here is announced before its use.
    session
        .look(
            Tell {
                expunge: false,
                uid,
                always: false,
            },
            &uids,
        )
        .await?;
    let mut gone = picked.some_gone;
    let selected = self::selected(session)?;
    let mut out = Vec::new();
    for message_uid in uids.iter() {
        match selected.numbers.view.get(*message_uid) {
            Some(message) if !silent => updates::flags_of(&selected.numbers, message, uid, &mut out),
            Some(_) => {}
            None => gone = true,
        }
    }
    session.wire.out.extend(out);
    if gone && !uid {
        return Ok(Tagged::no_code(
            Code::ExpungeIssued,
            "Some of the messages no longer exist",
        ));
    }
    Ok(Tagged::ok("STORE completed"))
}

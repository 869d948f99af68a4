//! COPY and MOVE (RFC 3501 6.4.7, RFC 6851) with COPYUID (RFC 4315).

use std::sync::Arc;

use imap_proto::name::WireName;
use imap_proto::response::{Code, Status};
use imap_proto::sequence::SequenceSet;
use maildir_store::Transfer;

use super::expunge::read_only;
use super::folders::{selected, target};
use crate::error::{Stop, Tagged};
use crate::session::Session;
use crate::store;

/// COPY: all messages or none.
pub(super) async fn copy(
    session: &mut Session,
    set: &SequenceSet,
    mailbox: &WireName,
    uid: bool,
) -> Result<Tagged, Stop> {
    let Some(transfer) = transfer(session, set, mailbox, uid, false).await? else {
        return Ok(Tagged::ok("COPY completed, nothing to do"));
    };
    Ok(Tagged::ok_code(copy_uid(&transfer), "COPY completed"))
}

/// MOVE. COPYUID comes before the EXPUNGE responses (RFC 6851 4.3), which are told with the updates.
pub(super) async fn r#move(
    session: &mut Session,
    set: &SequenceSet,
    mailbox: &WireName,
    uid: bool,
) -> Result<Tagged, Stop> {
    if selected(session)?.read_only {
        return Ok(read_only());
    }
    let Some(transfer) = transfer(session, set, mailbox, uid, true).await? else {
        return Ok(Tagged::ok("MOVE completed, nothing to do"));
    };
    session.untagged(Status::Ok, Some(copy_uid(&transfer)), "Moved UIDs");
    Ok(Tagged::ok("MOVE completed"))
}

async fn transfer(
    session: &mut Session,
    set: &SequenceSet,
    mailbox: &WireName,
    uid: bool,
    remove: bool,
) -> Result<Option<Transfer>, Stop> {
    let destination = target(session, mailbox).await?;
    let selected = selected(session)?;
    let picked = selected.numbers.pick(set, uid)?;
    if picked.some_gone {
        return Err(Tagged::no_code(Code::ExpungeIssued, "Some of the messages no longer exist").into());
    }
    if picked.uids.is_empty() {
        return Ok(None);
    }
    let source = Arc::clone(&selected.folder);
    if remove && Arc::ptr_eq(&source, &destination) {
        return Err(Tagged::no_code(Code::Cannot, "The messages are in this mailbox already").into());
    }
    let transfer = store::blocking(move || {
        if remove {
            source.move_to(&picked.uids, &destination)
        } else {
            source.copy_to(&picked.uids, &destination)
        }
    })
    .await?;
    Ok(Some(transfer))
}

fn copy_uid(transfer: &Transfer) -> Code<'static> {
    let from = SequenceSet::from_sorted(transfer.pairs.iter().map(|(from, _)| *from));
    let to = SequenceSet::from_sorted(transfer.pairs.iter().map(|(_, to)| *to));
    Code::CopyUid(transfer.uid_validity, from, to)
}

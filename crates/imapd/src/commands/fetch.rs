//! FETCH and UID FETCH (RFC 3501 6.4.5): batches are made off the async threads and sent in between, so that
//! neither a long answer nor a slow client takes more than one batch of memory.

mod body;
mod job;
mod metadata;
mod reading;
pub(super) mod source;

use std::sync::Arc;

use imap_proto::command::FetchItem;
use imap_proto::response::Code;
use imap_proto::sequence::SequenceSet;
use maildir_store::{FlagOp, Flags};

use super::Tell;
use super::folders::selected;
use crate::error::{End, Stop, StoreFailure, Tagged};
use crate::session::Session;
use crate::store;
use body::Piece;
use job::{Batch, Job};

/// Sends what is asked for of each message.
pub(super) async fn run(
    session: &mut Session,
    set: &SequenceSet,
    mut items: Vec<FetchItem>,
    uid: bool,
) -> Result<Tagged, Stop> {
    let picked = selected(session)?.numbers.pick(set, uid)?;
    let mut gone = picked.some_gone;
    let seen = mark_seen(session, &picked.uids, &items, uid).await?;
    if !seen.is_empty() && !items.contains(&FetchItem::Flags) {
        // RFC 3501 6.4.5: a change of \Seen is told with the same responses. Told for all of them, as the
        // item is one of the command.
        items.push(FetchItem::Flags);
    }
    let selected = selected(session)?;
    let numbers = selected.numbers.clone();
    gone |= picked.uids.iter().any(|uid| numbers.view.get(*uid).is_none()) && !uid;
    let mut job = Job::new(Arc::clone(&selected.folder), numbers, picked.uids, items);
    let mut unreadable = false;
    let shared = Arc::clone(&session.shared);
    let mut large = false;
    while !job.is_done() {
        // Held while the message is in memory, and not while a client reads.
        let permit = if large { shared.large_message().await } else { None };
        job.may_be_large = permit.is_some();
        let (back, batch) = store::blocking(move || {
            let batch = job.next();
            Ok((job, batch))
        })
        .await?;
        drop(permit);
        job = back;
        gone |= batch.gone;
        unreadable |= batch.unreadable;
        large = batch.large;
        send(session, batch).await?;
    }
    if unreadable {
        return Ok(Tagged::no_code(Code::Unavailable, "Some messages cannot be read"));
    }
    if gone {
        return Ok(Tagged::no_code(
            Code::ExpungeIssued,
            "Some of the messages no longer exist",
        ));
    }
    Ok(Tagged::ok("FETCH completed"))
}

/// Sets `\Seen` where the items imply it; the UIDs that changed.
async fn mark_seen(
    session: &mut Session,
    uids: &[u32],
    items: &[FetchItem],
    uid: bool,
) -> Result<Vec<u32>, Stop> {
    let selected = selected(session)?;
    if selected.read_only || !items.iter().any(FetchItem::sets_seen) {
        return Ok(Vec::new());
    }
    let view = &selected.numbers.view;
    let unseen = |uid: &&u32| view.get(**uid).is_some_and(|m| !m.flags.contains(Flags::SEEN));
    let changed: Vec<u32> = uids.iter().filter(unseen).copied().collect();
    if changed.is_empty() {
        return Ok(changed);
    }
    let folder = Arc::clone(&selected.folder);
    let wanted = changed.clone();
    let stored = store::blocking(move || folder.store(&wanted, FlagOp::Add, Flags::SEEN, &[])).await;
    if let Err(error) = stored {
        // A disk that is full or read-only is no reason not to show mail (robustness.md 4.8).
        tracing::warn!(error = %daemon::describe(&error), "\\Seen cannot be stored");
        return Ok(Vec::new());
    }
    session
        .look(
            Tell {
                expunge: false,
                uid,
                always: false,
            },
            &changed,
        )
        .await?;
    Ok(changed)
}

async fn send(session: &mut Session, batch: Batch) -> Result<(), Stop> {
    for piece in batch.pieces {
        match piece {
            Piece::Bytes(bytes) => {
                session.wire.out.extend(bytes);
                session.wire.flush_full().await?;
            }
            Piece::Body(mut body) => {
                while !body.is_done() {
                    let (back, text) = daemon::blocking(move || {
                        let text = body.next();
                        (body, text)
                    })
                    .await
                    .map_err(StoreFailure::from)?;
                    body = back;
                    // What was announced cannot be sent: only the end of the connection says so.
                    session.wire.out.extend(text.map_err(End::Message)?);
                    session.wire.flush_full().await?;
                }
            }
        }
    }
    Ok(())
}

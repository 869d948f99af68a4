//! EXPUNGE and UID EXPUNGE (RFC 3501 6.4.3, RFC 4315 2.1).

use std::sync::Arc;

use events::access;
use imap_proto::response::Code;
use imap_proto::sequence::SequenceSet;
use maildir_store::Flags;

use super::folders::{selected, user};
use crate::error::{Stop, Tagged};
use crate::session::Session;
use crate::store;

/// Removes what is marked `\Deleted` (of `set` only, where given); the EXPUNGE responses come with the
/// updates behind it.
pub(super) async fn run(session: &mut Session, set: Option<&SequenceSet>) -> Result<Tagged, Stop> {
    if selected(session)?.read_only {
        return Ok(read_only());
    }
    let all = remove(session, set).await?;
    if all {
        Ok(Tagged::ok("EXPUNGE completed"))
    } else {
        Ok(Tagged::no_code(
            Code::Unavailable,
            "Some messages could not be removed",
        ))
    }
}

/// The answer to a change of a mailbox opened by EXAMINE.
pub(super) fn read_only() -> Tagged {
    Tagged::no(String::from("Mailbox is open read-only"))
}

/// Removes and says whether everything that was to go is gone.
pub(super) async fn remove(session: &mut Session, set: Option<&SequenceSet>) -> Result<bool, Stop> {
    let selected = selected(session)?;
    let folder = Arc::clone(&selected.folder);
    let picked = match set {
        Some(set) => Some(selected.numbers.pick(set, true)?.uids),
        None => None,
    };
    let name = folder.name().to_string();
    let (removed, failed) = store::blocking(move || {
        // Marked by whomever: what counts is what the folder holds now.
        let view = folder.refresh()?;
        let marked = view.messages.iter().filter(|m| m.flags.contains(Flags::DELETED));
        let uids: Vec<u32> = marked
            .map(|m| m.uid)
            .filter(|uid| {
                picked
                    .as_ref()
                    .is_none_or(|picked| picked.binary_search(uid).is_ok())
            })
            .collect();
        if uids.is_empty() {
            return Ok((0, 0));
        }
        let failed = folder.expunge(&uids)?.failed.len();
        Ok((uids.len() - failed, failed))
    })
    .await?;
    if removed > 0 {
        let login = user(session)?.login.clone();
        session.emit(access::Kind::Expunged {
            login,
            folder: name,
            messages: removed as u64,
        });
    }
    Ok(failed == 0)
}

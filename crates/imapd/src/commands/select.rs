//! SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2).

use std::sync::Arc;

use events::access;
use imap_proto::name::WireName;
use imap_proto::response::{Code, Response, Status};
use maildir_store::{Flags, StoreError};
use tokio::time::Instant;

use super::folders::user;
use crate::error::{Stop, StoreFailure, Tagged};
use crate::mailbox::{Numbers, Selected};
use crate::session::Session;
use crate::store;
use crate::updates;

/// Opens a mailbox; one that was open is left without expunging, also when this fails.
pub(super) async fn run(session: &mut Session, mailbox: &WireName, read_only: bool) -> Result<Tagged, Stop> {
    user(session)?.selected = None;
    let name = store::folder_name(mailbox)?;
    let account = user(session)?.account.clone();
    let wanted = name.clone();
    let opened = store::blocking(move || {
        let folder = account.folder(&wanted)?;
        let view = folder.refresh()?;
        let first_recent = store::first_recent(&folder, read_only);
        Ok((folder, view, first_recent))
    })
    .await;
    let (folder, view, first_recent) = match opened {
        // Deleted between the two steps: not there, and no reason to end the session.
        Err(StoreFailure::Store(StoreError::Gone)) => return Err(StoreError::NotFound.into()),
        opened => opened?,
    };
    let mut numbers = Numbers::new(view);
    numbers.add_recent(first_recent);
    announce(session, &numbers, read_only);
    let messages = numbers.view.messages.len() as u64;
    let login = user(session)?.login.clone();
    session.emit(access::Kind::Opened {
        login,
        folder: name.to_string(),
        messages,
    });
    let looked = Instant::now();
    let warm = Arc::clone(&session.shared.warm);
    user(session)?.selected = Some(Selected {
        folder,
        read_only,
        looked,
        numbers,
        warm,
    });
    let code = if read_only {
        Code::ReadOnly
    } else {
        Code::ReadWrite
    };
    Ok(Tagged::ok_code(
        code,
        if read_only {
            "EXAMINE completed"
        } else {
            "SELECT completed"
        },
    ))
}

fn announce(session: &mut Session, numbers: &Numbers, read_only: bool) {
    let view = Arc::clone(&numbers.view);
    let out = &mut session.wire.out;
    updates::keywords(numbers, read_only, out);
    Response::Exists(numbers.count()).encode(out);
    Response::Recent(numbers.recent_count()).encode(out);
    let unseen = view.messages.iter().position(|m| !m.flags.contains(Flags::SEEN));
    if let Some(index) = unseen {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        session.untagged(Status::Ok, Some(Code::Unseen(number)), "First unseen message");
    }
    session.untagged(
        Status::Ok,
        Some(Code::UidValidity(view.uid_validity)),
        "UIDs valid",
    );
    session.untagged(
        Status::Ok,
        Some(Code::UidNext(view.uid_next)),
        "Predicted next UID",
    );
}

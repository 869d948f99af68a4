//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7).

use std::sync::Arc;

use events::access;
use imap_proto::name::WireName;
use imap_proto::response::Code;
use maildir_store::FolderName;

use crate::error::{Stop, Tagged};
use crate::mailbox::Selected;
use crate::session::{Session, User};
use crate::store;

/// The user of a session; the table of commands has seen to it that there is one.
pub(super) fn user(session: &mut Session) -> Result<&mut User, Stop> {
    session
        .user
        .as_mut()
        .ok_or_else(|| Tagged::bad("Log in first").into())
}

/// The selected mailbox; the same.
pub(super) fn selected(session: &mut Session) -> Result<&mut Selected, Stop> {
    user(session)?
        .selected
        .as_mut()
        .ok_or_else(|| Tagged::bad("No mailbox selected").into())
}

/// CREATE. A separator at the end says that children will follow, which needs nothing.
pub(super) async fn create(session: &mut Session, mailbox: &WireName) -> Result<Tagged, Stop> {
    let bare = mailbox.0.strip_suffix(b".").unwrap_or(&mailbox.0);
    let name = store::folder_name(&WireName(bare.to_vec()))?;
    let account = user(session)?.account.clone();
    let wanted = name.clone();
    store::blocking(move || account.create(&wanted)).await?;
    changed(session, "create", &name)?;
    Ok(Tagged::ok("CREATE completed"))
}

/// DELETE. Children stay, and the name stays with them as one that cannot be selected.
pub(super) async fn delete(session: &mut Session, mailbox: &WireName) -> Result<Tagged, Stop> {
    let name = store::folder_name(mailbox)?;
    if name.is_inbox() {
        return Ok(Tagged::no_code(Code::Cannot, "INBOX cannot be deleted"));
    }
    let account = user(session)?.account.clone();
    let wanted = name.clone();
    store::blocking(move || account.delete(&wanted)).await?;
    changed(session, "delete", &name)?;
    // The client knows that it is gone: no reason to end the session as for others.
    let user = user(session)?;
    if user
        .selected
        .as_ref()
        .is_some_and(|selected| selected.folder.name() == name)
    {
        user.selected = None;
    }
    Ok(Tagged::ok("DELETE completed"))
}

/// RENAME, with children; of INBOX it moves the messages (RFC 3501 6.3.5).
pub(super) async fn rename(session: &mut Session, from: &WireName, to: &WireName) -> Result<Tagged, Stop> {
    let (from, to) = (store::folder_name(from)?, store::folder_name(to)?);
    if to.is_inbox() {
        return Ok(Tagged::no_code(Code::AlreadyExists, "INBOX exists already"));
    }
    if !from.is_inbox() && to.is_below(&from) {
        return Ok(Tagged::no_code(
            Code::Cannot,
            "A mailbox cannot be moved below itself",
        ));
    }
    let account = user(session)?.account.clone();
    let (old, new) = (from.clone(), to.clone());
    store::blocking(move || account.rename(&old, &new)).await?;
    changed(session, "rename", &from)?;
    Ok(Tagged::ok("RENAME completed"))
}

/// SUBSCRIBE and UNSUBSCRIBE. A subscription may name what does not exist (RFC 3501 6.3.6).
pub(super) async fn subscribe(
    session: &mut Session,
    mailbox: &WireName,
    subscribe: bool,
) -> Result<Tagged, Stop> {
    let name = store::folder_name(mailbox)?;
    let account = user(session)?.account.clone();
    store::blocking(move || account.subscribe(&name, subscribe)).await?;
    Ok(Tagged::ok(if subscribe {
        "SUBSCRIBE completed"
    } else {
        "UNSUBSCRIBE completed"
    }))
}

fn changed(session: &mut Session, action: &str, folder: &FolderName) -> Result<(), Stop> {
    let login = user(session)?.login.clone();
    let (action, folder) = (action.to_owned(), folder.to_string());
    session.emit(access::Kind::FolderChanged {
        login,
        action,
        folder,
    });
    Ok(())
}

/// A folder to put messages into: where it is missing the client may make it (RFC 3501 6.3.11, 6.4.7).
pub(super) async fn target(
    session: &mut Session,
    mailbox: &WireName,
) -> Result<Arc<maildir_store::Folder>, Stop> {
    let name = store::folder_name(mailbox)?;
    let account = user(session)?.account.clone();
    match store::blocking(move || account.folder(&name)).await {
        Ok(folder) => Ok(folder),
        Err(crate::error::StoreFailure::Store(maildir_store::StoreError::NotFound)) => {
            Err(Tagged::no_code(Code::TryCreate, "Mailbox does not exist").into())
        }
        Err(error) => Err(error.into()),
    }
}

//! STATUS (RFC 3501 6.3.10).

use imap_proto::command::StatusItem;
use imap_proto::name::WireName;
use imap_proto::response::Response;
use maildir_store::Flags;

use super::folders::user;
use crate::error::{Stop, Tagged};
use crate::session::Session;
use crate::store;

/// Counts without selecting.
pub(super) async fn run(
    session: &mut Session,
    mailbox: &WireName,
    items: &[StatusItem],
) -> Result<Tagged, Stop> {
    let name = store::folder_name(mailbox)?;
    // Clients find the answer by the name that they asked with, so `INBOX.x` stays that.
    let shown = mailbox.decode().unwrap_or_else(|_| name.to_string());
    let account = user(session)?.account.clone();
    let (view, first_recent) = store::blocking(move || {
        let folder = account.folder(&name)?;
        Ok((folder.refresh()?, folder.peek_recent()))
    })
    .await?;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let messages = &view.messages;
    let values: Vec<(&str, u32)> = items
        .iter()
        .map(|item| match item {
            StatusItem::Messages => ("MESSAGES", count(messages.len())),
            StatusItem::Recent => (
                "RECENT",
                count(messages.len() - messages.partition_point(|m| m.uid < first_recent)),
            ),
            StatusItem::UidNext => ("UIDNEXT", view.uid_next),
            StatusItem::UidValidity => ("UIDVALIDITY", view.uid_validity),
            StatusItem::Unseen => (
                "UNSEEN",
                count(messages.iter().filter(|m| !m.flags.contains(Flags::SEEN)).count()),
            ),
        })
        .collect();
    Response::MailboxStatus(&shown, &values).encode(&mut session.wire.out);
    Ok(Tagged::ok("STATUS completed"))
}

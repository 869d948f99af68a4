//! The number that changes when what a session rests on changes: in the upper half the place of the mailbox,
//! in the lower one what let it in. So the two can be told apart later.

use sha2::{Digest as _, Sha256};

use crate::directory::backend::{LoginRow, MailboxRow};

/// What let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The password of the mailbox, or keys that belong to it.
    Mailbox,
    /// The password of a program, by the number of its row.
    App(i64),
    /// A token or a certificate: no password of the mailbox.
    Foreign,
}

/// The revision of a login.
pub fn revision(row: &LoginRow, means: Means) -> Option<u64> {
    let credential = match means {
        Means::Mailbox => credential(row),
        Means::App(id) => app(row, id)?,
        Means::Foreign => foreign(),
    };
    Some(u64::from(place(&row.mailbox)) << 32 | u64::from(credential))
}

/// Where the mailbox is and whose its files are.
pub fn place(row: &MailboxRow) -> u32 {
    let owner = [row.uid, row.gid].map(|id| id.map_or(-1, i64::from).to_be_bytes());
    digest(&[
        b"place",
        row.username.as_bytes(),
        row.maildir.as_bytes(),
        &owner[0],
        &owner[1],
    ])
}

/// The stored password.
pub fn credential(row: &LoginRow) -> u32 {
    let clear = row.cleartext.as_ref().map_or(&[][..], mail_types::Secret::expose);
    column(row.password.expose(), clear)
}

/// The same of columns.
pub fn column(password: &[u8], clear: &[u8]) -> u32 {
    digest(&[b"password", password, clear])
}

/// The password of a program.
pub fn app(row: &LoginRow, id: i64) -> Option<u32> {
    let app = row.app_passwords.iter().find(|app| app.id == id)?;
    Some(digest(&[b"app", &id.to_be_bytes(), app.password.expose()]))
}

/// Of sessions that no password of ours let in.
pub fn foreign() -> u32 {
    digest(&[b"foreign"])
}

fn digest(parts: &[&[u8]]) -> u32 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let bytes: [u8; 32] = digest.finalize().into();
    bytes[..4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

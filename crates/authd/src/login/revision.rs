//! The number that changes when what a session rests on changes: in the upper half the place of the mailbox,
//! in the lower one what let it in. So the two can be told apart later.
//!
//! It stands in the decision log, so it is keyed: with a digest that anybody can compute, who reads the log
//! could try guesses of a column in clear, at his leisure.

use aws_lc_rs::hmac;

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

/// Makes the numbers, under a secret of this installation.
#[derive(Debug)]
pub struct Revisions(hmac::Key);

impl Revisions {
    /// Under a secret, which has to be the same after a restart: else all open sessions end.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The revision of a login.
    pub fn revision(&self, row: &LoginRow, means: Means) -> Option<u64> {
        let credential = match means {
            Means::Mailbox => self.credential(row),
            Means::App(id) => self.app(row, id)?,
            Means::Foreign => self.digest(&[b"foreign"]),
        };
        Some(u64::from(self.place(&row.mailbox)) << 32 | u64::from(credential))
    }

    /// Where the mailbox is and whose its files are.
    pub fn place(&self, row: &MailboxRow) -> u32 {
        let owner = [row.uid, row.gid].map(|id| id.map_or(-1, i64::from).to_be_bytes());
        self.digest(&[
            b"place",
            row.username.as_bytes(),
            row.maildir.as_bytes(),
            &owner[0],
            &owner[1],
        ])
    }

    /// The stored password.
    pub fn credential(&self, row: &LoginRow) -> u32 {
        let clear = row.cleartext.as_ref().map_or(&[][..], mail_types::Secret::expose);
        self.column(row.password.expose(), clear)
    }

    /// The same of columns.
    pub fn column(&self, password: &[u8], clear: &[u8]) -> u32 {
        self.digest(&[b"password", password, clear])
    }

    /// The password of a program.
    fn app(&self, row: &LoginRow, id: i64) -> Option<u32> {
        let app = row.app_passwords.iter().find(|app| app.id == id)?;
        Some(self.digest(&[b"app", &id.to_be_bytes(), app.password.expose()]))
    }

    fn digest(&self, parts: &[&[u8]]) -> u32 {
        let mut digest = hmac::Context::with_key(&self.0);
        for part in parts {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let tag = digest.sign();
        let bytes = tag.as_ref().iter().take(4);
        bytes.fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed() {
        let of = |secret: &[u8], password: &[u8]| Revisions::new(secret).column(password, b"");
        assert_eq!(of(b"here", b"pw"), of(b"here", b"pw"));
        assert_ne!(of(b"here", b"pw"), of(b"there", b"pw"));
        assert_ne!(of(b"here", b"pw"), of(b"here", b"pv"));
        // With the lengths nothing moves from one part to the next.
        let revisions = Revisions::new(b"here");
        assert_ne!(revisions.column(b"a", b"b"), revisions.column(b"ab", b""));
    }
}

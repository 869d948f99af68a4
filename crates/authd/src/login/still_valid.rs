//! Whether open sessions may go on: their rows are read afresh. Trouble, and the replica, end none.

use std::collections::HashMap;

use auth_api::sasl::Validity;
use auth_api::{Role, Unavailable};
use events::About;
use mail_types::Address;

use super::Shared;
use super::check::Refusal;
use super::revision::{Means, Revisions};
use crate::directory::backend::{Found, LoginRow, Source};
use crate::site::Site;
use crate::state::{self, Rehashed};

/// Rows asked for at a time.
const BATCH: usize = 128;

impl Shared {
    /// One answer for each session, in their order.
    pub(super) async fn still_valid(
        &self,
        role: Role,
        sessions: &[(Address, u64)],
    ) -> Result<Vec<Validity>, Unavailable> {
        let site = self.sites.current();
        // Several sessions of one user share a row.
        let mut keys: Vec<String> = sessions.iter().map(|(address, _)| address.lookup_key()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut rows = HashMap::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let found = site
                .backend
                .logins(batch)
                .await
                .map_err(|error| Unavailable::new(error.to_string()))?;
            for (key, found) in batch.iter().zip(found) {
                match found {
                    Ok(found) => drop(rows.insert(key.clone(), found)),
                    // Nobody can tell what it says: the sessions of this user go on.
                    Err(error) => tracing::warn!(login = key, %error, "a login could not be checked"),
                }
            }
        }
        let mut validities = Vec::with_capacity(sessions.len());
        for (address, revision) in sessions {
            let key = address.lookup_key();
            let validity = match rows.get(&key) {
                Some(found) => self.judge(&site, role, found, &key, *revision).await,
                None => Validity::Valid,
            };
            if let Validity::Ended { reason } = &validity {
                let kind = events::authd::Kind::SessionEnded {
                    role: role.as_str().to_owned(),
                    login: key,
                    reason: reason.clone(),
                };
                self.events.emit(About::process(), kind);
            }
            validities.push(validity);
        }
        Ok(validities)
    }

    async fn judge(
        &self,
        site: &Site,
        role: Role,
        found: &Found<LoginRow>,
        key: &str,
        revision: u64,
    ) -> Validity {
        if found.source == Source::Replica {
            return Validity::Valid;
        }
        let ended = |reason: &str| Validity::Ended {
            reason: reason.to_owned(),
        };
        let Some(row) = &found.row else {
            return ended("the mailbox is gone");
        };
        let Some(means) = means(&self.revisions, row, revision) else {
            if !is_here(&self.revisions, row, revision) {
                return ended("the mailbox was moved");
            }
            return match self.rehashed(key).await {
                Ok(Some(change)) if is_the_same(&self.revisions, row, revision, change) => Validity::Valid,
                // Nobody can tell whether it was changed: it may go on until somebody can.
                Err(_) => Validity::Valid,
                Ok(_) => ended("the password was changed"),
            };
        };
        let service = match role {
            Role::Smtpd => "smtp",
            _ => "imap",
        };
        match self.admitted(row, site, service, means) {
            Ok(_) => Validity::Valid,
            Err(Refusal::Denied(reason)) => ended(reason),
            Err(Refusal::Trouble(_)) => Validity::Valid,
        }
    }

    async fn rehashed(&self, key: &str) -> Result<Option<Rehashed>, state::ReadError> {
        let key = key.to_owned();
        self.state.read(move |db| state::rehashed(db, &key)).await
    }
}

/// What let the session in, where the row still has it.
fn means(revisions: &Revisions, row: &LoginRow, revision: u64) -> Option<Means> {
    let apps = row.app_passwords.iter().map(|app| Means::App(app.id));
    [Means::Mailbox, Means::Foreign]
        .into_iter()
        .chain(apps)
        .find(|means| revisions.revision(row, *means) == Some(revision))
}

fn is_here(revisions: &Revisions, row: &LoginRow, revision: u64) -> bool {
    revision >> 32 == u64::from(revisions.place(&row.mailbox))
}

/// Whether the session's password is the row's, which was only hashed anew since.
fn is_the_same(revisions: &Revisions, row: &LoginRow, revision: u64, change: Rehashed) -> bool {
    revision & u64::from(u32::MAX) == u64::from(change.before) && revisions.credential(row) == change.after
}

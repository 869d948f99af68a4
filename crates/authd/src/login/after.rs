//! What a successful login by PLAIN or LOGIN brings along, where the site wants it: the stored password is
//! hashed anew in a better form, and keys for SCRAM are kept. The client does not wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use events::About;
use events::authd::Kind;
use mail_types::{Address, Secret};
use sasl::mechanism::{ScramKeys, ScramKind};
use sasl::password::{NewScheme, Stored, Unmarked};
use sha2::{Digest as _, Sha256};

use super::credentials::{ROUNDS, hash_name, kept};
use super::hashing::Rank;
use super::row;
use super::{Logins, Shared};
use crate::database::{Arg, DbError, Statement};
use crate::directory::backend::LoginRow;
use crate::site::Site;
use crate::state::{Rehashed, Write};

/// A login whose password was right.
pub struct FollowUp {
    /// The site that was asked.
    pub site: Arc<Site>,
    /// The row, as the database just gave it.
    pub row: LoginRow,
    /// How an unmarked column is read.
    pub unmarked: Unmarked,
    /// The password, which fits the row.
    pub password: Secret,
}

impl Shared {
    /// Does it in the background, unless much of it is going on already: then the next login will.
    pub(super) fn follow_up(self: Arc<Self>, follow_up: FollowUp) {
        let rules = &follow_up.site.settings.logins;
        if rules.rehash.is_none() && !rules.store_scram_keys {
            return;
        }
        tokio::spawn(async move {
            let Ok(_permit) = self.follow_ups.try_acquire() else {
                return;
            };
            let mut follow_up = follow_up;
            if let Some(scheme) = follow_up.site.settings.logins.rehash {
                self.rehash(&mut follow_up, scheme).await;
            }
            if follow_up.site.settings.logins.store_scram_keys {
                self.keep_scram_keys(&follow_up).await;
            }
        });
    }

    /// Stores the password in a better form, if it is stored in a worse one. A change that somebody makes
    /// meanwhile wins.
    async fn rehash(&self, follow_up: &mut FollowUp, scheme: NewScheme) {
        let row = &follow_up.row;
        let Some(stored) = row
            .password
            .expose_str()
            .and_then(|column| Stored::parse(column, follow_up.unmarked).ok())
        else {
            return;
        };
        // Where the tables have the password in clear beside it, a better hash hides nothing.
        if !stored.needs_rehash(scheme) || row.password.is_empty() || row.cleartext.is_some() {
            return;
        }
        let before = stored.scheme();
        let Some(column) = self.hash_anew(follow_up, scheme).await else {
            return;
        };
        let clear = row.cleartext.as_ref().map_or(&[][..], Secret::expose);
        let change = Rehashed {
            before: self.revisions.credential(row),
            after: self.revisions.column(column.expose(), clear),
        };
        // Known before it can be seen, so that no open session ends for it.
        let write = Write::Rehashed {
            account: row.mailbox.username.clone(),
            change,
            at: self.now(),
        };
        self.state.write(write);
        let result = replace(follow_up, &column).await;
        match result {
            Ok(()) => {
                let after = column
                    .expose_str()
                    .and_then(|text| Stored::parse(text, follow_up.unmarked).ok());
                let kind = Kind::PasswordRehashed {
                    login: row.mailbox.username.clone(),
                    before: before.to_owned(),
                    after: after.map_or_else(String::new, |stored| stored.scheme().to_owned()),
                };
                self.events.emit(About::process(), kind);
                let proof = self
                    .verified
                    .proof(&row.mailbox.username, &column, &follow_up.password);
                self.verified.remember(proof, self.clock.instant());
                follow_up.row.password = column;
            }
            // Changed meanwhile: that stands.
            Err(DbError::Conflict) => {}
            Err(error) => self.cannot_rehash(&error),
        }
    }

    /// The new column; none where the scheme cannot hold this password, or all processors are wanted.
    async fn hash_anew(&self, follow_up: &FollowUp, scheme: NewScheme) -> Option<Secret> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).ok()?;
        let password = follow_up.password.clone();
        let work = move || sasl::password::store(scheme, &password, salt).ok();
        let column = self.hashing.run_as(Rank::Stranger, work).await.ok()??;
        Some(Secret::new(column))
    }

    /// Says it once: it will be the same for every login.
    fn cannot_rehash(&self, error: &DbError) {
        if !self.told_read_only.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                "[authd] rehash is set, but stored passwords cannot be changed; logins go on with the old ones"
            );
        }
    }

    /// Makes keys for SCRAM of the password and keeps them, where the column has neither them nor the password
    /// in clear, and none are kept that belong to it.
    async fn keep_scram_keys(&self, follow_up: &FollowUp) {
        let row = &follow_up.row;
        if row::cleartext(row, follow_up.unmarked).is_some() {
            return;
        }
        let account = row.mailbox.username.clone();
        let mut stored = false;
        for kind in [ScramKind::Sha256, ScramKind::Sha1] {
            if !matches!(self.kept_keys(&account, row, kind).await, Ok(None)) {
                continue;
            }
            let (password, column) = (&follow_up.password, &row.password);
            if !self
                .make_keys(&account, kind, password, column, Rank::Stranger)
                .await
            {
                return;
            }
            stored = true;
        }
        if stored {
            let kind = Kind::ScramKeysStored { login: account };
            self.events.emit(About::process(), kind);
        }
    }

    /// Makes keys of a password that is stored as this column, and keeps them; false where there is no
    /// processor for it.
    async fn make_keys(
        &self,
        account: &str,
        kind: ScramKind,
        password: &Secret,
        column: &Secret,
        rank: Rank,
    ) -> bool {
        let mut salt = vec![0; 16];
        if getrandom::fill(&mut salt).is_err() {
            return false;
        }
        let password = password.clone();
        let work = move || ScramKeys::derive(kind, &password, ROUNDS, salt);
        let Ok(keys) = self.hashing.run_as(rank, work).await else {
            return false;
        };
        self.state.write(Write::ScramKeys {
            account: account.to_owned(),
            hash: hash_name(kind),
            row: kept(keys, column),
            at: self.now(),
        });
        true
    }
}

impl Logins {
    /// To be called when a password was changed and is stored as `column` now: where the site keeps keys for
    /// SCRAM, who logs in by SCRAM alone would be shut out by the change.
    pub async fn password_changed(&self, address: &Address, password: &Secret, column: &Secret) {
        let shared = &self.shared;
        let settings = &shared.sites.current().settings;
        // Keys are made of a column in clear at each login.
        if !settings.logins.store_scram_keys || settings.admin.scheme == NewScheme::Cleartext {
            return;
        }
        let account = address.lookup_key();
        for kind in [ScramKind::Sha256, ScramKind::Sha1] {
            if !shared
                .make_keys(&account, kind, password, column, Rank::Known)
                .await
            {
                tracing::warn!(
                    account,
                    "no keys for SCRAM of the new password: its next login keeps them"
                );
                return;
            }
        }
        shared
            .events
            .emit(About::process(), Kind::ScramKeysStored { login: account });
    }
}

/// Puts the new column in the place of the old one, if that is still there. The tables may have other names
/// (PostfixAdmin's `database_prefix`).
async fn replace(follow_up: &FollowUp, column: &Secret) -> Result<(), DbError> {
    let tables = follow_up.site.panel()?;
    let mailbox = tables.schema().await?.table("mailbox");
    let update = Statement::new(
        format!("UPDATE {mailbox} SET password = ? WHERE username = ? AND password = ?"),
        vec![
            Arg::Secret(column.clone()),
            follow_up.row.mailbox.username.as_str().into(),
            Arg::Secret(follow_up.row.password.clone()),
        ],
    )
    .one();
    tables.database().transaction(vec![update]).await?;
    Ok(())
}

/// What binds keys to a stored password.
pub fn binding(column: &Secret) -> Vec<u8> {
    Sha256::digest(column.expose()).to_vec()
}

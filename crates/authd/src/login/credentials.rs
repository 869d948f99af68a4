//! What is stored of a user, in the form that a challenge-response mechanism wants; and the keys for SCRAM.

use std::sync::{Mutex, PoisonError};

use mail_types::Secret;
use sasl::mechanism::{ScramKeys, ScramKind, ScramShape, Supply, Wants};
use sasl::password::Stored;
use zeroize::Zeroizing;

use super::Shared;
use super::after::binding;
use super::audit::Attempt;
use super::check::{Refusal, Subject};
use super::row;
use crate::directory::backend::LoginRow;
use crate::state::{self, ScramRow};

/// Rounds of PBKDF2 in keys of our own making (RFC 7677 4: at least 4096).
pub const ROUNDS: u32 = 10_000;

/// How the SCRAM keys of this site look, so that users without look the same.
#[derive(Debug)]
pub struct Scram {
    shape: Mutex<ScramShape>,
    /// The same for ever, so that the salts of users without keys are.
    pub decoy_key: [u8; 32],
}

impl Scram {
    /// Before the first user was seen.
    pub fn new(decoy_key: [u8; 32]) -> Self {
        Self {
            shape: Mutex::new(ScramShape {
                iterations: ROUNDS,
                derived: false,
            }),
            decoy_key,
        }
    }

    /// How the last real one looked.
    pub fn shape(&self) -> ScramShape {
        *self.shape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, iterations: u32, derived: bool) {
        *self.shape.lock().unwrap_or_else(PoisonError::into_inner) = ScramShape { iterations, derived };
    }
}

/// The name under which keys are kept.
pub fn hash_name(kind: ScramKind) -> &'static str {
    match kind {
        ScramKind::Sha1 => "SHA-1",
        ScramKind::Sha256 => "SHA-256",
    }
}

impl Attempt {
    /// What is stored, for a mechanism; and the scheme of it, for the audit.
    pub(super) async fn stored(
        &self,
        subject: &Subject,
        wants: Wants,
    ) -> Result<(Supply, &'static str), Refusal> {
        let Some(row) = &subject.found.row else {
            if let Wants::Scram(kind) = wants {
                // Asked all the same, so that the time does not tell.
                let kept = self.shared.keys_in_state(&subject.key(), kind).await;
                kept.map_err(|error| Refusal::Trouble(daemon::describe(&error)))?;
            }
            return Ok((Supply::Missing, "nothing"));
        };
        let column = match row::candidates(row, subject.unmarked, false) {
            Ok(mut candidates) => candidates.pop(),
            Err(reason) => return Err(Refusal::Trouble(reason)),
        };
        let clear = row::cleartext(row, subject.unmarked);
        let stored = column.map(|candidate| candidate.stored);
        Ok(match wants {
            Wants::Cleartext => match clear {
                Some(password) => (Supply::Cleartext(password), "PLAIN"),
                None => (Supply::Missing, "nothing"),
            },
            Wants::CramMd5 => match (clear, stored.as_ref().and_then(Stored::cram_md5)) {
                (Some(password), _) => (Supply::Cleartext(password), "PLAIN"),
                (None, Some(contexts)) => (Supply::CramMd5(contexts), "CRAM-MD5"),
                (None, None) => (Supply::Missing, "nothing"),
            },
            Wants::Scram(kind) => self.scram(subject, row, kind, clear, stored.as_ref()).await?,
        })
    }

    async fn scram(
        &self,
        subject: &Subject,
        row: &LoginRow,
        kind: ScramKind,
        clear: Option<Secret>,
        stored: Option<&Stored>,
    ) -> Result<(Supply, &'static str), Refusal> {
        let scram = &self.shared.scram;
        if let Some(password) = clear {
            scram.learn(scram.shape().iterations, true);
            return Ok((Supply::Cleartext(password), "PLAIN"));
        }
        if let Some(keys) = stored.and_then(Stored::scram).filter(|keys| keys.kind == kind) {
            scram.learn(keys.iterations, false);
            return Ok((Supply::Scram(keys.clone()), "SCRAM"));
        }
        match self.shared.kept_keys(&subject.key(), row, kind).await {
            Ok(Some(keys)) => {
                scram.learn(keys.iterations, false);
                Ok((Supply::Scram(keys), "SCRAM keys"))
            }
            Ok(None) => Ok((Supply::Missing, "nothing")),
            // Not a wrong password: nobody knows.
            Err(error) => Err(Refusal::Trouble(daemon::describe(&error))),
        }
    }
}

impl Shared {
    /// The keys that were kept at an earlier login, if they belong to the password of today.
    pub(super) async fn kept_keys(
        &self,
        account: &str,
        row: &LoginRow,
        kind: ScramKind,
    ) -> Result<Option<ScramKeys>, state::ReadError> {
        let kept = self.keys_in_state(account, kind).await?;
        let bound = binding(&row.password);
        Ok(kept.filter(|kept| kept.bound == bound).map(|kept| ScramKeys {
            kind,
            iterations: kept.iterations,
            salt: kept.salt,
            stored_key: Zeroizing::new(kept.stored_key),
            server_key: Zeroizing::new(kept.server_key),
        }))
    }

    /// The keys that were kept, whatever they belong to.
    async fn keys_in_state(
        &self,
        account: &str,
        kind: ScramKind,
    ) -> Result<Option<ScramRow>, state::ReadError> {
        let account = account.to_owned();
        self.state
            .read(move |db| state::scram_keys(db, &account, hash_name(kind)))
            .await
    }
}

/// Keys as they are kept.
pub fn kept(keys: ScramKeys, column: &Secret) -> ScramRow {
    ScramRow {
        bound: binding(column),
        iterations: keys.iterations,
        salt: keys.salt,
        stored_key: keys.stored_key.to_vec(),
        server_key: keys.server_key.to_vec(),
    }
}

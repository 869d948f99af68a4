//! May this login proceed: the exchange of a mechanism, the check of a login and password, and what is known
//! about logins.
//!
//! [`offered`] which mechanisms, [`exchange`] one login in progress, [`check`] the judgement, [`row`] and
//! [`credentials`] what a row holds, [`throttle`] who waits, [`after`] what a success brings along, [`still_valid`] and [`explain`]
//! what others ask.

mod after;
mod audit;
mod challenge;
mod check;
mod credentials;
mod exchange;
mod explain;
mod hashing;
mod offered;
mod reports;
mod revision;
mod row;
mod still_valid;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod verified;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use auth_api::Unavailable;
use auth_api::sasl::{
    FailureRecord, LoginContext, LoginExplanation, LoginQuery, LoginStep, MechanismUsage, Validity,
};
use auth_api::{Role, server};
use daemon::Clock;
use events::Log;
use mail_types::{Address, Secret};
use sasl::mechanism::Credentials;
use sasl::password::NewScheme;
use tokio::sync::Semaphore;

use self::audit::Attempt;
pub use self::challenge::Challenge;
pub use self::check::address;
use self::credentials::Scram;
pub use self::exchange::Exchange;
pub use self::hashing::{Busy, Hashing, Rank};
use self::revision::Revisions;
use self::row::Decoys;
use self::throttle::Throttle;
pub use self::token::{Claims, TokenError, TokenKeysError, TokenVerifier};
use self::verified::Verified;
use crate::site::Sites;
use crate::state::{self, State};

/// Most failures read back at the start.
const FAILURES: usize = 100_000;
/// Follow-ups of logins (hashing anew, keys for SCRAM) at a time; more are left for the next login.
const FOLLOW_UPS: usize = 16;

/// Everything about logins that outlives one.
#[derive(Clone)]
pub struct Logins {
    shared: Arc<Shared>,
}

struct Shared {
    sites: Arc<Sites>,
    hashing: Arc<Hashing>,
    throttle: Throttle,
    verified: Verified,
    decoys: Mutex<Decoys>,
    scram: Scram,
    revisions: Revisions,
    state: Arc<State>,
    events: Log,
    clock: Clock,
    follow_ups: Semaphore,
    /// Whether it was said that our database account may not rehash.
    told_read_only: AtomicBool,
    /// Of which mailboxes it was said that they have too many app passwords.
    told_too_many: Mutex<HashSet<String>>,
}

/// The process cannot begin to check passwords.
#[derive(Debug, thiserror::Error)]
pub enum LoginsError {
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The hash for unknown users could not be made.
    #[error("the hash for unknown users cannot be made")]
    Decoy,
    /// What is known from before cannot be read.
    #[error("the failures of before")]
    State(#[from] state::ReadError),
}

impl Logins {
    /// Logins against the site in force. Hashes one password: blocks for about 50 ms.
    pub fn new(
        sites: Arc<Sites>,
        hashing: Arc<Hashing>,
        state: Arc<State>,
        events: Log,
        clock: Clock,
    ) -> Result<Self, LoginsError> {
        let mut random = [0; 64];
        getrandom::fill(&mut random).map_err(LoginsError::Random)?;
        let (key, rest) = random.split_at(32);
        let (salt, password) = rest.split_at(16);
        let mut secret = [0; 32];
        secret.copy_from_slice(key);
        let mut fixed_salt = [0; 16];
        fixed_salt.copy_from_slice(salt);
        let password: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        let column = sasl::password::store(NewScheme::Argon2id, &Secret::new(password), fixed_salt)
            .map_err(|_| LoginsError::Decoy)?;
        let decoy_key = kept_secret(&state, "decoy")?;
        let decoys = Decoys::new(&decoy_key, Secret::new(column)).map_err(|_| LoginsError::Decoy)?;
        let revisions = Revisions::new(&kept_secret(&state, "revision")?);
        let now = clock.unix_millis() / 1_000;
        let failures = state.read_blocking(move |db| state::failures(db, now, FAILURES))?;
        Ok(Self {
            shared: Arc::new(Shared {
                sites,
                hashing,
                throttle: Throttle::new(state.clone(), &failures),
                verified: Verified::new(secret),
                decoys: Mutex::new(decoys),
                scram: Scram::new(decoy_key),
                revisions,
                state,
                events,
                clock,
                follow_ups: Semaphore::new(FOLLOW_UPS),
                told_read_only: AtomicBool::new(false),
                told_too_many: Mutex::default(),
            }),
        })
    }

    /// Judges a login and password that came by another way than a mechanism of ours: the same check as
    /// PLAIN, with the same throttling and audit. `mechanism` is its name in the audit.
    pub async fn check_plain(
        &self,
        context: LoginContext,
        mechanism: &str,
        login: &str,
        password: Secret,
    ) -> LoginStep {
        let attempt = Attempt::new(self.shared.clone(), context, mechanism.to_owned());
        match Credentials::new(login.as_bytes(), password) {
            Ok(credentials) => attempt.check(&credentials).await,
            Err(reason) => attempt.denied(None, reason, false).await,
        }
    }
}

/// A secret of this installation, made at the first start. Blocks.
fn kept_secret(state: &State, name: &'static str) -> Result<[u8; 32], LoginsError> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(LoginsError::Random)?;
    let kept = state.read_blocking(move |db| state::secret(db, name, &fresh))?;
    Ok(<[u8; 32]>::try_from(kept).unwrap_or(fresh))
}

impl Shared {
    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.clock.unix_millis() / 1_000
    }
}

impl server::Logins for Logins {
    type Exchange = Exchange;

    async fn mechanisms(&self, context: LoginContext) -> Result<Vec<String>, Unavailable> {
        Ok(self.shared.offered(&context).await)
    }

    fn begin(&self, context: LoginContext, mechanism: &str) -> Exchange {
        Exchange::new(self.shared.clone(), context, mechanism)
    }

    async fn still_valid(
        &self,
        role: Role,
        sessions: Vec<(Address, u64)>,
    ) -> Result<Vec<Validity>, Unavailable> {
        self.shared.still_valid(role, &sessions).await
    }

    async fn explain(&self, query: LoginQuery) -> Result<LoginExplanation, Unavailable> {
        explain::explain(&self.shared, query).await
    }

    async fn failures(&self, limit: usize) -> Result<Vec<FailureRecord>, Unavailable> {
        Ok(self.shared.failures(limit))
    }

    async fn unban(&self, target: String) -> Result<u32, Unavailable> {
        Ok(self.shared.unban(target))
    }

    async fn mechanism_usage(&self) -> Result<Vec<MechanismUsage>, Unavailable> {
        self.shared.usage().await
    }
}

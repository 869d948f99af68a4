//! May this login proceed: the exchange of a mechanism, and the check of a login and password.

mod hashing;
mod penalty;
#[cfg(test)]
mod tests;
mod verified;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_api::Unavailable;
use auth_api::directory::MailboxAnswer;
use auth_api::sasl::{Account, LoginContext, LoginStep};
use auth_api::server;
use daemon::Clock;
use events::{About, Log};
use mail_types::{Address, Secret};
use sasl::mechanism::{self, Credentials, Mechanism, Step};
use sasl::password::{FormatError, NewScheme, Stored, Unmarked};
use sha2::{Digest as _, Sha256};

pub use self::hashing::{Busy, Hashing};
use self::penalty::Penalties;
use self::verified::Verified;
use crate::directory::backend::{LoginRow, MailboxRow};
use crate::site::Sites;

/// Everything about logins that outlives one.
pub struct Logins {
    shared: Arc<Shared>,
}

struct Shared {
    sites: Arc<Sites>,
    hashing: Arc<Hashing>,
    penalties: Penalties,
    verified: Verified,
    /// The last real column: unknown users are checked against it (and never fit), so that the time does not
    /// tell whether a mailbox exists.
    decoy: Mutex<(Secret, Unmarked)>,
    events: Log,
    clock: Clock,
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
}

impl Logins {
    /// Logins against the site in force. Hashes one password: blocks for about 50 ms.
    pub fn new(
        sites: Arc<Sites>,
        hashing: Arc<Hashing>,
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
        Ok(Self {
            shared: Arc::new(Shared {
                sites,
                hashing,
                penalties: Penalties::new(),
                verified: Verified::new(secret),
                decoy: Mutex::new((Secret::new(column), Unmarked::REFUSED)),
                events,
                clock,
            }),
        })
    }
}

/// What a mechanism is told.
fn parameters(context: &LoginContext) -> mechanism::Parameters {
    let (exporter, end_point) = context.tls.as_ref().map_or_else(Default::default, |tls| {
        (tls.tls_exporter.clone(), tls.tls_server_end_point.clone())
    });
    mechanism::Parameters {
        random: [0; 32],
        hostname: String::new(),
        service: "smtp",
        unix_time: 0,
        tls_exporter: exporter,
        tls_server_end_point: end_point,
        plus_offered: false,
        certificate_names: Vec::new(),
        scram: mechanism::ScramShape {
            iterations: 4_096,
            derived: false,
        },
        decoy_key: [0; 32],
    }
}

/// Whether a mechanism may be used on this connection: none that shows the password without TLS, and none
/// that rests on other things than passwords.
fn offered(entry: &mechanism::Entry, context: &LoginContext) -> bool {
    entry.proof == mechanism::Proof::Password
        && (!entry.plaintext || context.tls.is_some() || context.trusted)
}

impl server::Logins for Logins {
    type Exchange = Exchange;

    async fn mechanisms(&self, context: LoginContext) -> Result<Vec<String>, Unavailable> {
        let names = mechanism::MECHANISMS
            .iter()
            .filter(|entry| offered(entry, &context));
        Ok(names.map(|entry| entry.name.to_owned()).collect())
    }

    fn begin(&self, context: LoginContext, mechanism: &str) -> Exchange {
        let entry = mechanism::find(mechanism).filter(|entry| offered(entry, &context));
        Exchange {
            shared: self.shared.clone(),
            name: entry.map_or_else(|| "unknown".to_owned(), |entry| entry.name.to_owned()),
            mechanism: entry.map(|entry| entry.start(parameters(&context))),
            context,
        }
    }
}

/// One login in progress. It holds nothing that others could wait for.
pub struct Exchange {
    shared: Arc<Shared>,
    context: LoginContext,
    name: String,
    mechanism: Option<Box<dyn Mechanism>>,
}

impl server::Exchange for Exchange {
    async fn step(&mut self, response: Option<Secret>) -> LoginStep {
        let Some(mechanism) = &mut self.mechanism else {
            return self.denied(None, "no such mechanism here", true);
        };
        match mechanism.step(response) {
            Step::Challenge(bytes) => LoginStep::Challenge(bytes),
            Step::Failed(reason) => self.denied(None, reason, false),
            Step::CheckPassword(credentials) => self.check(credentials).await,
            // The mechanisms in the table rest on passwords.
            Step::Lookup { .. }
            | Step::CheckToken { .. }
            | Step::Authenticated { .. }
            | Step::Denied { .. } => self.denied(None, "no such mechanism here", true),
        }
    }
}

/// Why a login is not granted.
enum Refusal {
    Denied(&'static str),
    Trouble(String),
}

impl Exchange {
    async fn check(&self, credentials: Credentials) -> LoginStep {
        let login = credentials.login.clone();
        // What is no address reaches no database.
        let Ok(address) = Address::parse(&login) else {
            return self.denied(Some(&login), "the login is not an address", false);
        };
        let key = address.lookup_key();
        match self.verify(&address, &credentials.password).await {
            Ok((account, scheme)) => {
                self.shared.penalties.succeeded(&key);
                self.emit(events::authd::Kind::LoginGranted {
                    service: self.context.service.clone(),
                    client: self.context.peer.ip().to_string(),
                    mechanism: self.name.clone(),
                    login: account.address.to_string(),
                    scheme: Some(scheme.to_owned()),
                });
                LoginStep::Success(account)
            }
            Err(Refusal::Denied(reason)) => self.denied(Some(&key), reason, false),
            Err(Refusal::Trouble(reason)) => self.unavailable(reason),
        }
    }

    /// The whole check: the row, the hash, the account record.
    async fn verify(&self, address: &Address, password: &Secret) -> Result<(Account, &'static str), Refusal> {
        let site = self.shared.sites.current();
        let row = site
            .directory
            .login_row(address)
            .await
            .map_err(|e| Refusal::Trouble(e.to_string()))?
            .row;
        let unmarked = site.unmarked_passwords().await;
        let (row, active, unmarked, real) = match row {
            Some(row) => {
                let active = row.mailbox.active && row.domain_active;
                (row, active, unmarked, true)
            }
            None => {
                let (row, unmarked) = self.decoy_row(address);
                (row, true, unmarked, false)
            }
        };
        // From here on the same is done for both, whatever comes of it.
        let stored = self.stored(&row, unmarked, real)?;
        let scheme = stored.scheme();
        let proof = self
            .shared
            .verified
            .proof(&row.mailbox.username, &row.password, password);
        if !self.shared.verified.knows(proof, self.shared.clock.instant()) {
            if !self.hash(stored, password.clone()).await? {
                return Err(Refusal::Denied(if real {
                    "wrong password"
                } else {
                    "no such mailbox"
                }));
            }
            self.shared.verified.remember(proof, self.shared.clock.instant());
        }
        if !active {
            return Err(Refusal::Denied("the mailbox or its domain is not active"));
        }
        match site.directory.usable(&row.mailbox) {
            MailboxAnswer::Found(mailbox) => Ok((
                Account {
                    address: mailbox.address,
                    maildir: mailbox.maildir,
                    uid: mailbox.uid,
                    gid: mailbox.gid,
                    quota: mailbox.quota,
                    revision: revision(&row),
                },
                scheme,
            )),
            MailboxAnswer::Unknown(refusal) => Err(Refusal::Trouble(refusal.text)),
            MailboxAnswer::Misconfigured(reason) => Err(Refusal::Trouble(reason)),
        }
    }

    /// The row of a mailbox that does not exist, and how its column is read.
    fn decoy_row(&self, address: &Address) -> (LoginRow, Unmarked) {
        let decoy = self.shared.decoy.lock().unwrap_or_else(PoisonError::into_inner);
        let (password, unmarked) = decoy.clone();
        let row = LoginRow {
            mailbox: MailboxRow {
                username: address.lookup_key(),
                maildir: String::new(),
                quota: 0,
                uid: None,
                gid: None,
                active: false,
            },
            domain_active: false,
            password,
            cleartext: None,
            smtp_active: false,
            password_expiry: None,
            app_passwords: Vec::new(),
        };
        (row, unmarked)
    }

    /// Reads the column. A hash that is broken or over the cap is the site's trouble, not a wrong password.
    fn stored(&self, row: &LoginRow, unmarked: Unmarked, real: bool) -> Result<Stored, Refusal> {
        let column = row.password.expose_str().unwrap_or_default();
        match Stored::parse(column, unmarked) {
            Ok(stored) if !real => Ok(stored.decoy()),
            Ok(stored) => {
                // A locked account costs nothing to check, and would tell the others apart.
                if !row.password.is_empty() {
                    let mut decoy = self.shared.decoy.lock().unwrap_or_else(PoisonError::into_inner);
                    *decoy = (row.password.clone(), unmarked);
                }
                Ok(stored)
            }
            Err(error) => {
                let hint = match error {
                    FormatError::Unsupported if !column.starts_with(['{', '$']) => {
                        "; if it is cleartext, set [authd] unmarked_passwords = \"cleartext\""
                    }
                    _ => "",
                };
                let reason = format!("{}: {error}{hint}", row.mailbox.username);
                tracing::error!(reason, "this mailbox cannot log in");
                Err(Refusal::Trouble(reason))
            }
        }
    }

    async fn hash(&self, stored: Stored, password: Secret) -> Result<bool, Refusal> {
        let work = move || stored.verify(&password);
        match self.shared.hashing.run(work).await {
            Ok(Ok(fits)) => Ok(fits),
            Ok(Err(error)) => Err(Refusal::Trouble(error.to_string())),
            Err(busy) => Err(Refusal::Trouble(busy.to_string())),
        }
    }

    fn denied(&self, login: Option<&str>, reason: &str, no_mechanism: bool) -> LoginStep {
        let site = self.shared.sites.current();
        // Nothing was tried with a mechanism that does not exist.
        let delay = if self.context.trusted || no_mechanism {
            Duration::ZERO
        } else {
            let now = self.shared.clock.instant();
            let (first, most) = site.settings.auth_failure_delay;
            self.shared
                .penalties
                .failed(self.context.peer.ip(), login, now, first, most)
        };
        self.emit(events::authd::Kind::LoginDenied {
            service: self.context.service.clone(),
            client: self.context.peer.ip().to_string(),
            mechanism: self.name.clone(),
            login: login.map(str::to_owned),
            reason: reason.to_owned(),
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        });
        LoginStep::Denied {
            delay,
            reason: reason.to_owned(),
            no_mechanism,
        }
    }

    fn unavailable(&self, reason: String) -> LoginStep {
        self.emit(events::authd::Kind::LoginUnavailable {
            service: self.context.service.clone(),
            client: self.context.peer.ip().to_string(),
            reason: reason.clone(),
        });
        LoginStep::TemporaryFailure { reason }
    }

    fn emit(&self, kind: events::authd::Kind) {
        self.shared
            .events
            .emit(About::session(self.context.session), kind);
    }
}

/// Changes when the row changes in what a session rests on.
fn revision(row: &LoginRow) -> u64 {
    let mut digest = Sha256::new();
    for part in [
        row.mailbox.username.as_bytes(),
        row.password.expose(),
        row.mailbox.maildir.as_bytes(),
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let bytes: [u8; 32] = digest.finalize().into();
    bytes[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

//! The judgement: the row, the secret, and what the row says beyond it.

use std::sync::{Arc, PoisonError};

use auth_api::CALL_DEADLINE;
use auth_api::directory::MailboxAnswer;
use auth_api::sasl::{Account, LoginStep};
use mail_types::{Address, Secret};
use sasl::mechanism::Credentials;
use sasl::password::Unmarked;

use super::Shared;
use super::after::FollowUp;
use super::audit::Attempt;
use super::hashing::Rank;
use super::revision::Means;
use super::row::{self, Candidate};
use crate::directory::DirectoryError;
use crate::directory::backend::{Found, LoginRow, Source};
use crate::site::Site;

/// Mailboxes with too many app passwords that are remembered as told.
const TOLD: usize = 10_000;

/// A login that was found good.
pub struct Granted {
    /// Whose.
    pub account: Account,
    /// Scheme of what was compared.
    pub scheme: &'static str,
    /// What let it in.
    pub means: Means,
    /// Where the row comes from.
    pub source: Source,
}

/// Why a login is not granted.
pub enum Refusal {
    /// It is wrong.
    Denied(&'static str),
    /// Nobody can tell.
    Trouble(String),
}

/// What is known of a login before its secret is.
pub struct Subject {
    /// The login as an address.
    pub address: Address,
    /// The site that was asked.
    pub site: Arc<Site>,
    /// Its row.
    pub found: Found<LoginRow>,
    /// How an unmarked column is read.
    pub unmarked: Unmarked,
    /// Whether the account logged in from here lately.
    pub known: bool,
}

impl Subject {
    /// The account's key.
    pub fn key(&self) -> String {
        self.address.lookup_key()
    }

    /// A refusal, seen from where the row comes: the replica denies nothing (robustness.md A14).
    pub fn mild(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Denied(reason) if self.found.source == Source::Replica => {
                Refusal::Trouble(format!("the database is away, and for the replica: {reason}"))
            }
            other => other,
        }
    }
}

/// The credentials fit.
struct Fit {
    means: Means,
    scheme: &'static str,
    /// It was just hashed, not remembered.
    hashed: bool,
}

impl Attempt {
    /// Judges a login and its password.
    pub(super) async fn check(&self, credentials: &Credentials) -> LoginStep {
        let subject = match self.subject(&credentials.login).await {
            Ok(subject) => subject,
            Err(step) => return step,
        };
        match self.verify(&subject, &credentials.password).await {
            Ok(fit) => {
                let step = self.admit(&subject, fit.means, fit.scheme).await;
                if fit.hashed
                    && fit.means == Means::Mailbox
                    && subject.found.source == Source::Database
                    && matches!(step, LoginStep::Success(_))
                    && let Some(row) = &subject.found.row
                {
                    let follow_up = FollowUp {
                        site: subject.site.clone(),
                        row: row.clone(),
                        unmarked: subject.unmarked,
                        password: credentials.password.clone(),
                    };
                    self.shared.clone().follow_up(follow_up);
                }
                step
            }
            Err(refusal) => self.refused(&subject, refusal).await,
        }
    }

    /// Finds who wants to log in by something that could be guessed, and whether that is judged now. An error
    /// is the answer to the client.
    pub(super) async fn subject(&self, login: &str) -> Result<Subject, LoginStep> {
        self.find(login, true).await
    }

    /// The same of somebody whom a certificate or a token vouches for: there is nothing to guess.
    pub(super) async fn vouched(&self, login: &str) -> Result<Subject, LoginStep> {
        self.find(login, false).await
    }

    async fn find(&self, login: &str, guessable: bool) -> Result<Subject, LoginStep> {
        let site = self.shared.sites.current();
        // What is no address reaches no database.
        let Some(address) = address(login, &site) else {
            // Nor the log: who types into the wrong field types his password.
            return Err(self.denied(None, "the login is not an address", false).await);
        };
        let key = address.lookup_key();
        let known = self.context.trusted || self.is_known(&key).await;
        let delays = site.settings.auth_failure_delay;
        let guess = guessable && !known;
        if guess
            && self
                .shared
                .throttle
                .admit(&key, self.shared.now(), delays)
                .is_err()
        {
            let reason = "the account is being guessed at from many networks; this one is not known to it";
            return Err(self.unavailable(Some(&key), reason.to_owned(), None));
        }
        let asked = async {
            let found = site.directory.login_row(&address).await?;
            Ok::<_, DirectoryError>((found, site.unmarked_passwords().await?))
        };
        match asked.await {
            // Nobody is made to wait after a temporary failure: so the wait is kept here, unhashed.
            Ok((found, _)) if found.source == Source::Replica && guess && self.is_penalized(&key) => {
                let reason = "the database is away, and the last failure here is not long enough ago";
                Err(self.unavailable(Some(&key), reason.to_owned(), Some(found.source)))
            }
            Ok((found, unmarked)) => Ok(Subject {
                address,
                site,
                found,
                unmarked,
                known,
            }),
            Err(error) => Err(self.unavailable(Some(&key), error.to_string(), None)),
        }
    }

    /// Compares the password with all that the row has, or with a decoy.
    async fn verify(&self, subject: &Subject, password: &Secret) -> Result<Fit, Refusal> {
        let known = &self.shared.decoys;
        let decoys = || {
            let decoys = known.lock().unwrap_or_else(PoisonError::into_inner);
            decoys.pick(&subject.key())
        };
        let candidates = match &subject.found.row {
            None => decoys(),
            Some(row) => {
                let apps = is_mail(&self.context.service);
                let real = row::candidates(row, subject.unmarked, apps).map_err(Refusal::Trouble)?;
                if apps && row::has_too_many(row) {
                    self.shared.tell_too_many(&row.mailbox.username);
                }
                if real.iter().all(|candidate| candidate.stored.is_locked()) {
                    // Checking it would cost nothing, and the time would tell.
                    decoys()
                } else {
                    let mut decoys = known.lock().unwrap_or_else(PoisonError::into_inner);
                    decoys.learn(&real);
                    real
                }
            }
        };
        match self.fits(subject, candidates, password).await? {
            Some(fit) => Ok(fit),
            None if subject.found.row.is_some() => Err(Refusal::Denied("wrong password")),
            None => Err(Refusal::Denied("no such mailbox")),
        }
    }

    /// Which of them the password fits: without hashing where that was found out lately.
    async fn fits(
        &self,
        subject: &Subject,
        candidates: Vec<Candidate>,
        password: &Secret,
    ) -> Result<Option<Fit>, Refusal> {
        let key = subject.key();
        let proofs: Vec<_> = candidates
            .iter()
            .map(|candidate| self.shared.verified.proof(&key, &candidate.column, password))
            .collect();
        let now = self.shared.clock.instant();
        for (candidate, proof) in candidates.iter().zip(&proofs) {
            // A decoy may be a column that this very account had until it was locked.
            if !candidate.stored.is_decoy() && self.shared.verified.knows(*proof, now) {
                return Ok(Some(Fit {
                    means: candidate.means,
                    scheme: candidate.stored.scheme(),
                    hashed: false,
                }));
            }
        }
        let rank = if subject.known {
            Rank::Known
        } else {
            Rank::Stranger
        };
        let password = password.clone();
        let (clock, until) = (self.shared.clock.clone(), now + CALL_DEADLINE);
        let work = move || {
            let index = row::first_fit(&candidates, &password, || clock.instant() >= until)?;
            let fit = index.and_then(|index| candidates.get(index).map(|fit| (index, fit)));
            Ok::<_, String>(fit.map(|(index, fit)| (index, fit.means, fit.stored.scheme())))
        };
        let fit = match self.shared.hashing.run_as(rank, work).await {
            Ok(checked) => checked.map_err(Refusal::Trouble)?,
            Err(busy) => return Err(Refusal::Trouble(busy.to_string())),
        };
        Ok(fit.map(|(index, means, scheme)| {
            if let Some(proof) = proofs.get(index) {
                self.shared.verified.remember(*proof, self.shared.clock.instant());
            }
            Fit {
                means,
                scheme,
                hashed: true,
            }
        }))
    }

    /// What remains to be asked when the secret was right, and the answer to the client.
    pub(super) async fn admit(&self, subject: &Subject, means: Means, scheme: &'static str) -> LoginStep {
        let verdict = match &subject.found.row {
            Some(row) => self
                .shared
                .admitted(row, &subject.site, &self.context.service, means),
            None => Err(Refusal::Denied("no such mailbox")),
        };
        match verdict {
            Ok(account) => {
                let granted = Granted {
                    account,
                    scheme,
                    means,
                    source: subject.found.source,
                };
                self.granted(&granted).await
            }
            Err(refusal) => self.refused(subject, refusal).await,
        }
    }

    /// The answer to the client, where it is not let in.
    pub(super) async fn refused(&self, subject: &Subject, refusal: Refusal) -> LoginStep {
        let (key, source) = (subject.key(), Some(subject.found.source));
        if matches!(refusal, Refusal::Denied(_)) && subject.found.source == Source::Replica {
            // It is told as trouble, but the next one is as likely a guess as after a denial.
            self.count(Some(&key)).await;
        }
        match subject.mild(refusal) {
            Refusal::Denied(reason) => self.denied_from(Some(&key), reason, false, source).await,
            Refusal::Trouble(reason) => self.unavailable(Some(&key), reason, source),
        }
    }
}

/// The login as an address: with the realm where it has no domain.
pub fn address(login: &str, site: &Site) -> Option<Address> {
    if let Ok(address) = Address::parse(login) {
        return Some(address);
    }
    let realm = site.settings.logins.default_realm.as_ref()?;
    if login.contains('@') {
        return None;
    }
    Address::parse(&format!("{login}@{realm}")).ok()
}

/// Whether passwords of programs are good for a service: for mail only.
pub fn is_mail(service: &str) -> bool {
    matches!(service, "smtp" | "submission" | "imap" | "pop3" | "sieve")
}

impl Shared {
    /// Says it once for each mailbox.
    fn tell_too_many(&self, mailbox: &str) {
        let mut told = self.told_too_many.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert(mailbox.to_owned()) {
            tracing::warn!(
                mailbox,
                "has more app passwords than a login tries: only the latest count"
            );
        }
    }

    /// What the row says to somebody whose secret is right.
    pub(super) fn admitted(
        &self,
        row: &LoginRow,
        site: &Site,
        service: &str,
        means: Means,
    ) -> Result<Account, Refusal> {
        let now = self.now();
        let expired = row
            .password_expiry
            .is_some_and(|at| u64::try_from(at).unwrap_or(0) <= now);
        if !row.mailbox.active || !row.domain_active {
            return Err(Refusal::Denied("the mailbox or its domain is not active"));
        }
        if matches!(service, "smtp" | "submission") && !row.smtp_active {
            return Err(Refusal::Denied("the mailbox may not send (mailbox.smtp_active)"));
        }
        if expired && means == Means::Mailbox && site.settings.logins.enforce_expiry {
            return Err(Refusal::Denied(
                "the password has expired (mailbox.password_expiry)",
            ));
        }
        match site.directory.usable(&row.mailbox) {
            MailboxAnswer::Found(mailbox) => Ok(Account {
                address: mailbox.address,
                maildir: mailbox.maildir,
                uid: mailbox.uid,
                gid: mailbox.gid,
                quota: mailbox.quota,
                revision: self
                    .revisions
                    .revision(row, means)
                    .ok_or_else(|| Refusal::Trouble("the app password is gone".to_owned()))?,
            }),
            MailboxAnswer::Unknown(refusal) => Err(Refusal::Trouble(refusal.text)),
            MailboxAnswer::Misconfigured(reason) => Err(Refusal::Trouble(reason)),
        }
    }
}

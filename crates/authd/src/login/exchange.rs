//! One login in progress: carries the steps of a mechanism, and supplies what is stored.

use std::sync::Arc;

use auth_api::sasl::{LoginContext, LoginStep};
use auth_api::server;
use mail_types::Secret;
use sasl::mechanism::{self, Entry, Mechanism, Parameters, Proof, Step, Supply, Wants};

use super::Shared;
use super::audit::Attempt;
use super::check::{Refusal, Subject, address};
use super::hashing::Rank;
use super::offered::{self, Knowledge, NotOffered};
use super::revision::Means;

/// One login in progress. It holds nothing that others could wait for.
pub struct Exchange {
    attempt: Attempt,
    entry: Option<&'static Entry>,
    /// Whether the mechanism derives SCRAM keys where it has none: as it was told.
    derives: bool,
    /// The end of this exchange, where it is known before the mechanism is over.
    verdict: Option<LoginStep>,
    stage: Stage,
}

enum Stage {
    /// Nothing was done yet.
    New,
    /// The mechanism goes on.
    Running {
        mechanism: Box<dyn Mechanism>,
        /// Who wants to log in, where that was looked up, and what is compared.
        subject: Option<Box<(Subject, &'static str)>>,
    },
    /// No such mechanism here, or over.
    Over,
}

/// Why a mechanism does not begin.
enum NotBegun {
    /// There is no such mechanism here.
    Refused,
    /// Nobody can tell now whether there is.
    Trouble(String),
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, context: LoginContext, mechanism: &str) -> Self {
        let entry = mechanism::find(mechanism);
        let name = entry.map_or_else(|| "unknown".to_owned(), |entry| entry.name.to_owned());
        Self {
            attempt: Attempt::new(shared, context, name),
            entry,
            derives: false,
            verdict: None,
            stage: Stage::New,
        }
    }

    /// Begins the mechanism, where it is offered here.
    async fn begin(&mut self) -> Result<Box<dyn Mechanism>, NotBegun> {
        let entry = self.entry.ok_or(NotBegun::Refused)?;
        let (shared, context) = (&self.attempt.shared, &self.attempt.context);
        let site = shared.sites.current();
        // A password may come whatever is stored, so nothing has to be asked for it.
        let knowledge = match entry.proof {
            Proof::Password => Knowledge::default(),
            _ => shared.knowledge(&site).await,
        };
        offered::offer(entry, context, &site, knowledge).map_err(|verdict| match verdict {
            NotOffered::Refused(_) => NotBegun::Refused,
            NotOffered::Tables | NotOffered::State => NotBegun::Trouble(verdict.reason().to_owned()),
        })?;
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| NotBegun::Trouble(format!("the system gives no random numbers: {error}")))?;
        let tls = context.tls.as_ref();
        let scram = shared.scram.shape();
        let parameters = Parameters {
            random,
            hostname: site.settings.hostname.clone(),
            service: match context.service.as_str() {
                "imap" => "imap",
                "pop3" => "pop",
                _ => "smtp",
            },
            unix_time: shared.now(),
            tls_exporter: tls.map(|tls| tls.tls_exporter.clone()).unwrap_or_default(),
            tls_server_end_point: tls
                .map(|tls| tls.tls_server_end_point.clone())
                .unwrap_or_default(),
            plus_offered: offered::plus(entry, context, &site, knowledge),
            certificate_names: tls.map(|tls| tls.client_names.clone()).unwrap_or_default(),
            scram,
            decoy_key: shared.scram.decoy_key,
        };
        self.derives = scram.derived;
        Ok(entry.start(parameters))
    }

    /// Goes on until there is something for the client.
    async fn go_on(
        &mut self,
        mut mechanism: Box<dyn Mechanism>,
        mut subject: Option<Box<(Subject, &'static str)>>,
        mut step: Step,
    ) -> LoginStep {
        loop {
            // What was counted and told when it was found.
            if matches!(step, Step::Denied { .. } | Step::Failed(_))
                && let Some(verdict) = self.verdict.take()
            {
                return verdict;
            }
            match step {
                Step::Challenge(bytes) => {
                    self.stage = Stage::Running { mechanism, subject };
                    return LoginStep::Challenge(bytes);
                }
                Step::Failed(reason) => return self.failed(subject, reason).await,
                Step::ServerFirst => return self.attempt.server_first(),
                Step::CheckPassword(credentials) => return self.attempt.check(&credentials).await,
                Step::Denied { login, reason } => {
                    return match subject {
                        Some(found) => self.attempt.refused(&found.0, Refusal::Denied(reason)).await,
                        None => self.denied(login.as_deref(), reason).await,
                    };
                }
                Step::Authenticated { login } => return self.authenticated(subject, &login).await,
                Step::Lookup { login, wants } => {
                    let found = match self.attempt.subject(&login).await {
                        Ok(found) => found,
                        Err(step) => return step,
                    };
                    let (supply, scheme) = match self.attempt.stored(&found, wants).await {
                        Ok(supply) => supply,
                        Err(refusal) => return self.attempt.refused(&found, refusal).await,
                    };
                    let rank = if found.known { Rank::Known } else { Rank::Stranger };
                    subject = Some(Box::new((found, scheme)));
                    (mechanism, step) = match self.supply(mechanism, supply, wants, rank).await {
                        Ok(next) => next,
                        Err(reason) => return self.attempt.unavailable(Some(&login), reason, None),
                    };
                }
                Step::CheckToken { login, token } => match self.token(login.as_deref(), &token) {
                    Ok(named) => return self.vouched(&named, "token").await,
                    Err((refused, reason)) => {
                        // Now, not when the client has sent its dummy (RFC 7628 3.2.3): it may never do.
                        self.verdict = Some(self.denied(login.as_deref(), reason).await);
                        step = mechanism.supply(refused);
                    }
                },
            }
        }
    }

    /// Hands the mechanism what it asked for; on the pool where that costs a hash.
    async fn supply(
        &self,
        mut mechanism: Box<dyn Mechanism>,
        supply: Supply,
        wants: Wants,
        rank: Rank,
    ) -> Result<(Box<dyn Mechanism>, Step), String> {
        let hashes = match supply {
            Supply::Cleartext(_) => true,
            // No queue where nothing is derived: the wait would tell who has keys.
            Supply::Missing => self.derives,
            _ => false,
        };
        if !matches!(wants, Wants::Scram(_)) || !hashes {
            let step = mechanism.supply(supply);
            return Ok((mechanism, step));
        }
        let work = move || {
            let step = mechanism.supply(supply);
            (mechanism, step)
        };
        let hashing = &self.attempt.shared.hashing;
        hashing.run_as(rank, work).await.map_err(|busy| busy.to_string())
    }

    /// The login that a token names; `login` is the one that the client named.
    fn token(&self, login: Option<&str>, token: &Secret) -> Result<String, (Supply, &'static str)> {
        let shared = &self.attempt.shared;
        let site = shared.sites.current();
        let tokens = site.settings.tokens.as_ref();
        let refused = |reason| {
            let openid_configuration = tokens
                .and_then(|tokens| tokens.openid_configuration())
                .map(str::to_owned);
            let supply = Supply::TokenRefused {
                reason,
                openid_configuration,
            };
            (supply, reason)
        };
        let verifier = tokens.ok_or_else(|| refused("no keys to check tokens with are configured"))?;
        let claims = verifier
            .verify(token, shared.now())
            .map_err(|error| refused(error.reason()))?;
        let key = |login: &str| address(login, &site).map(|address| address.lookup_key());
        if login.is_some_and(|login| key(login) != key(&claims.login)) {
            return Err(refused("the token is for another mailbox"));
        }
        Ok(claims.login)
    }

    /// A denial of somebody who was not looked up. What is no address reaches neither the log nor the
    /// counters.
    async fn denied(&self, login: Option<&str>, reason: &str) -> LoginStep {
        let site = self.attempt.shared.sites.current();
        let address = login.and_then(|login| address(login, &site));
        let key = address.map(|address| address.lookup_key());
        self.attempt.denied(key.as_deref(), reason, false).await
    }

    async fn failed(&self, subject: Option<Box<(Subject, &'static str)>>, reason: &str) -> LoginStep {
        let login = subject.map(|found| found.0.key());
        self.attempt.denied(login.as_deref(), reason, false).await
    }

    /// The peer has proved itself: what remains is what the row says.
    async fn authenticated(&self, subject: Option<Box<(Subject, &'static str)>>, login: &str) -> LoginStep {
        match subject {
            Some(found) => self.attempt.admit(&found.0, Means::Mailbox, found.1).await,
            // By a certificate: nothing was looked up before.
            None => self.vouched(login, "certificate").await,
        }
    }

    /// Somebody else vouched for the peer: what remains is what the row says.
    async fn vouched(&self, login: &str, by: &'static str) -> LoginStep {
        match self.attempt.vouched(login).await {
            Ok(subject) => self.attempt.admit(&subject, Means::Foreign, by).await,
            Err(step) => step,
        }
    }
}

impl server::Exchange for Exchange {
    async fn step(&mut self, response: Option<Secret>) -> LoginStep {
        let (mut mechanism, subject) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Running { mechanism, subject } => (mechanism, subject),
            Stage::New => match self.begin().await {
                Ok(mechanism) => (mechanism, None),
                Err(NotBegun::Refused) => {
                    return self.attempt.denied(None, "no such mechanism here", true).await;
                }
                Err(NotBegun::Trouble(reason)) => return self.attempt.unavailable(None, reason, None),
            },
            Stage::Over => return self.attempt.denied(None, "the exchange is over", false).await,
        };
        let step = mechanism.step(response);
        self.go_on(mechanism, subject, step).await
    }
}

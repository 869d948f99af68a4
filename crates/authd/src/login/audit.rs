//! One attempt to log in, as the decision log tells it: who, from where, how, under which TLS, and what came
//! of it. Never a secret.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth_api::sasl::{LoginContext, LoginStep};
use events::About;
use events::authd::Kind;

use super::Shared;
use super::check::Granted;
use super::revision::Means;
use super::throttle::Network;
use crate::directory::backend::Source;
use crate::state::Write;

/// One attempt.
pub struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) context: LoginContext,
    /// The mechanism, as it is told.
    pub(super) mechanism: String,
    /// The account that was asked about, and whether it logged in from there lately: asked once for each attempt.
    known: Mutex<Option<(String, bool)>>,
}

impl Attempt {
    pub(super) fn new(shared: Arc<Shared>, context: LoginContext, mechanism: String) -> Self {
        Self {
            shared,
            context,
            mechanism,
            known: Mutex::default(),
        }
    }

    /// Where the client is.
    pub(super) fn network(&self) -> Network {
        Network::of(self.context.peer.ip())
    }

    /// The client's address, for the log: absent where it says nothing, as behind a Unix socket.
    fn client(&self) -> Option<String> {
        let ip = self.context.peer.ip();
        (!ip.is_unspecified()).then(|| ip.to_string())
    }

    /// Whether the account logged in from there lately. Trouble is a no.
    pub(super) async fn is_known(&self, account: &str) -> bool {
        if let Some((of, known)) = &*self.memory()
            && of == account
        {
            return *known;
        }
        let (network, now) = (self.network().to_string(), self.shared.now());
        let known = self.shared.state.is_known(account, &network, now).await;
        *self.memory() = Some((account.to_owned(), known));
        known
    }

    fn memory(&self) -> MutexGuard<'_, Option<(String, bool)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a success, and remembers it.
    pub(super) async fn granted(&self, granted: &Granted) -> LoginStep {
        let account = granted.account.address.lookup_key();
        let known = self.is_known(&account).await;
        self.shared.throttle.succeeded(self.network(), &account, known);
        self.shared.state.write(Write::Success {
            account,
            // Who is trusted may be a program for many: it says nothing of where the owner is.
            network: (!self.context.trusted).then(|| self.network().to_string()),
            mechanism: self.mechanism.clone(),
            service: self.context.service.clone(),
            at: self.shared.now(),
        });
        self.emit(Kind::LoginGranted {
            service: self.context.service.clone(),
            client: self.client(),
            mechanism: self.mechanism.clone(),
            login: granted.account.address.to_string(),
            scheme: Some(granted.scheme.to_owned()),
            row: Some(means(granted.means)),
            revision: Some(format!("{:016x}", granted.account.revision)),
            source: Some(granted.source.as_str().to_owned()),
            tls: self.tls(),
        });
        LoginStep::Success(granted.account.clone())
    }

    /// Counts and tells a denial.
    pub(super) async fn denied(&self, login: Option<&str>, reason: &str, no_mechanism: bool) -> LoginStep {
        self.denied_from(login, reason, no_mechanism, None).await
    }

    /// The same, about a row.
    pub(super) async fn denied_from(
        &self,
        login: Option<&str>,
        reason: &str,
        no_mechanism: bool,
        source: Option<Source>,
    ) -> LoginStep {
        // Nothing was tried with a mechanism that does not exist.
        let delay = if no_mechanism {
            Duration::ZERO
        } else {
            self.count(login).await
        };
        self.tell_denial(login, reason, delay, source);
        LoginStep::Denied {
            delay,
            reason: reason.to_owned(),
            no_mechanism,
            malformed: false,
        }
    }

    /// Tells that an initial response came to a mechanism in which the server speaks first. It is a mistake of the
    /// program and no guess, so it neither counts nor waits.
    pub(super) fn server_first(&self) -> LoginStep {
        let reason = "an initial response, and in this mechanism the server speaks first".to_owned();
        self.tell_denial(None, &reason, Duration::ZERO, None);
        LoginStep::Denied {
            delay: Duration::ZERO,
            reason,
            no_mechanism: false,
            malformed: true,
        }
    }

    fn tell_denial(&self, login: Option<&str>, reason: &str, delay: Duration, source: Option<Source>) {
        self.emit(Kind::LoginDenied {
            service: self.context.service.clone(),
            client: self.client(),
            mechanism: self.mechanism.clone(),
            login: login.map(str::to_owned),
            reason: reason.to_owned(),
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            source: source.map(|source| source.as_str().to_owned()),
            tls: self.tls(),
        });
    }

    /// Counts a failure; the result is how long to wait after it.
    pub(super) async fn count(&self, login: Option<&str>) -> Duration {
        if self.context.trusted {
            return Duration::ZERO;
        }
        let known = match login {
            Some(account) => self.is_known(account).await,
            None => false,
        };
        let delays = self.shared.sites.current().settings.auth_failure_delay;
        self.shared
            .throttle
            .failed(self.network(), login, known, self.shared.now(), delays)
    }

    /// Whether the wait after the last failure of this account from here is not over yet.
    pub(super) fn is_penalized(&self, account: &str) -> bool {
        let delays = self.shared.sites.current().settings.auth_failure_delay;
        let (throttle, now) = (&self.shared.throttle, self.shared.now());
        throttle.is_penalized(self.network(), account, now, delays)
    }

    /// Tells that nobody can judge now.
    pub(super) fn unavailable(
        &self,
        login: Option<&str>,
        reason: String,
        source: Option<Source>,
    ) -> LoginStep {
        self.emit(Kind::LoginUnavailable {
            service: self.context.service.clone(),
            client: self.client(),
            mechanism: Some(self.mechanism.clone()),
            login: login.map(str::to_owned),
            reason: reason.clone(),
            source: source.map(|source| source.as_str().to_owned()),
            tls: self.tls(),
        });
        LoginStep::TemporaryFailure { reason }
    }

    fn tls(&self) -> Option<String> {
        let tls = self.context.tls.as_ref()?;
        Some(format!("{} {}", tls.version, tls.cipher).trim_end().to_owned())
    }

    fn emit(&self, kind: Kind) {
        self.shared
            .events
            .emit(About::session(self.context.session), kind);
    }
}

/// What let somebody in, in words.
pub fn means(means: Means) -> String {
    match means {
        Means::Mailbox => "mailbox".to_owned(),
        Means::App(id) => format!("app password {id}"),
        Means::Foreign => "token or certificate".to_owned(),
    }
}

//! Logins over a SQLite file: what decides, what is remembered, what is trouble.

mod mechanisms;
mod rows;
mod throttling;

use std::sync::Arc;
use std::time::Duration;

use auth_api::Role;
use auth_api::sasl::{LoginContext, LoginQuery, LoginStep, TlsState, Validity};
use auth_api::server::{Exchange as _, Logins as _};
use config::Config;
use daemon::ManualClock;
use events::Log;
use futures_util::future::BoxFuture;
use mail_types::{Secret, SessionId};

use super::{Hashing, Logins, State};
use crate::config::Settings;
use crate::database::Statement;
use crate::directory::Directory;
use crate::directory::backend::{
    AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, MailboxRow, Questions, Source,
};
use crate::site::{Site, Sites};

struct Bench {
    logins: Logins,
    sites: Arc<Sites>,
    clock: ManualClock,
    events: events::Memory,
    state: Arc<State>,
    dir: tempfile::TempDir,
}

impl Bench {
    /// d.test with a mailbox u whose column is this.
    async fn with(column: &str) -> Self {
        Self::configured(column, "").await
    }

    /// The same with more configuration.
    async fn configured(column: &str, extra: &str) -> Self {
        let bench = Self::open(tempfile::tempdir().unwrap(), extra);
        let statements = vec![
            Statement::new(
                "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', 'virtual')",
                vec![],
            ),
            Statement::new(
                "INSERT INTO mailbox(username, password, name, maildir, local_part, domain) \
                 VALUES ('u@d.test', ?, 'U', 'd.test/u/', 'u', 'd.test')",
                vec![column.into()],
            ),
        ];
        let site = bench.sites.current();
        let database = site.panel().unwrap().database();
        database.transaction(statements).await.unwrap();
        bench
    }

    fn open(dir: tempfile::TempDir, extra: &str) -> Self {
        let config = Config::from_toml(&format!(
            "[general]\nmyhostname = \"mail.d.test\"\nstate_dir = \"{}\"\n{extra}",
            dir.path().display()
        ))
        .unwrap();
        let (log, events) = Log::memory("authd");
        let site = Site::open(Settings::new(&config).unwrap(), &log, &daemon::Clock::system()).unwrap();
        let sites = Arc::new(Sites::new(site));
        let clock = ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
        let state = Arc::new(State::open(&dir.path().join("authd.sqlite"), 0).unwrap());
        let hashing = Arc::new(Hashing::new(64));
        let logins = Logins::new(sites.clone(), hashing, state.clone(), log, clock.clock()).unwrap();
        Self {
            logins,
            sites,
            clock,
            events,
            state,
            dir,
        }
    }

    /// The next process on the same files.
    async fn restart(self) -> Self {
        self.state.close();
        Self::open(self.dir, "")
    }

    /// From now on the rows come from the replica: the database is away.
    fn on_the_replica(&self) {
        let (log, _) = Log::memory("authd");
        let settings = self.sites.current().settings.clone();
        let mut site = Site::open(settings, &log, &self.clock.clock()).unwrap();
        let copy = Arc::new(Copy(site.backend.clone()));
        site.directory = Directory::new(copy, site.settings.rules.clone());
        self.sites.replace(site);
    }

    /// The decision log as text.
    fn log(&self) -> String {
        format!("{:?}", self.events.all())
    }

    async fn sql(&self, sql: &str) {
        let statement = Statement::new(sql, vec![]);
        self.sites
            .current()
            .panel()
            .unwrap()
            .database()
            .transaction(vec![statement])
            .await
            .unwrap();
    }

    async fn login(&self, login: &str, password: &str) -> LoginStep {
        self.plain(context(), login, password).await
    }

    async fn plain(&self, context: LoginContext, login: &str, password: &str) -> LoginStep {
        let mut exchange = self.logins.begin(context, "PLAIN");
        exchange
            .step(Some(Secret::new(format!("\0{login}\0{password}"))))
            .await
    }
}

/// Rows that are called the replica's.
struct Copy(Arc<dyn Backend>);

impl Backend for Copy {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        self.0.questions()
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        self.0.domain(name)
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        self.0.alias(address)
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        self.0.mailbox(address)
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
            let found = self.0.login(username).await?;
            Ok(Found {
                source: Source::Replica,
                ..found
            })
        })
    }
}

/// A connection with TLS that nothing can be bound to.
fn context() -> LoginContext {
    LoginContext {
        service: "smtp".into(),
        peer: "192.0.2.1:1".parse().unwrap(),
        local: "192.0.2.2:587".parse().unwrap(),
        session: SessionId::new(1, 1),
        tls: Some(TlsState {
            version: "TLSv1.3".into(),
            cipher: String::new(),
            tls_exporter: vec![],
            tls_server_end_point: vec![],
            client_names: vec![],
        }),
        trusted: false,
    }
}

fn is_granted(step: &LoginStep) -> bool {
    matches!(step, LoginStep::Success(_))
}

fn is_denied(step: &LoginStep) -> bool {
    matches!(step, LoginStep::Denied { .. })
}

fn is_trouble(step: &LoginStep) -> bool {
    matches!(step, LoginStep::TemporaryFailure { .. })
}

#[tokio::test]
async fn right_and_wrong() {
    let bench = Bench::with("{PLAIN}secret").await;
    let LoginStep::Success(account) = bench.login("U@D.test", "secret").await else {
        panic!()
    };
    assert_eq!(
        (account.address.to_string().as_str(), account.maildir.as_str()),
        ("u@d.test", "d.test/u/")
    );
    for (login, password) in [
        ("u@d.test", "Secret"),
        ("x@d.test", "secret"),
        ("u+x@d.test", "secret"),
        ("u", "secret"),
    ] {
        assert!(is_denied(&bench.login(login, password).await), "{login}");
    }
}

#[tokio::test]
async fn switched_off_is_denied_even_with_the_right_password() {
    for sql in ["UPDATE mailbox SET active = 0", "UPDATE domain SET active = 0"] {
        let bench = Bench::with("{PLAIN}secret").await;
        bench.sql(sql).await;
        assert!(is_denied(&bench.login("u@d.test", "secret").await), "{sql}");
    }
}

/// robustness.md A10, A16: the site's trouble is never a wrong password.
#[tokio::test]
async fn what_the_row_cannot_say_is_temporary() {
    let long = "a".repeat(86);
    for column in [
        "{FOO}x",
        "secret",
        &format!("$6$rounds=999999999$salt${long}"),
        "$2y$31$short",
    ] {
        let bench = Bench::with(column).await;
        assert!(is_trouble(&bench.login("u@d.test", "secret").await), "{column}");
    }
    for path in ["/", "../../etc/", ""] {
        let bench = Bench::with("{PLAIN}secret").await;
        bench.sql(&format!("UPDATE mailbox SET maildir = '{path}'")).await;
        assert!(is_trouble(&bench.login("u@d.test", "secret").await), "{path}");
    }
    let bench = Bench::with("{PLAIN}secret").await;
    bench.sql("ALTER TABLE mailbox RENAME TO gone").await;
    assert!(is_trouble(&bench.login("u@d.test", "secret").await));
    assert!(is_trouble(&bench.login("nobody@d.test", "secret").await));
}

#[tokio::test]
async fn a_changed_row_is_seen_at_once() {
    let bench = Bench::with("$1$ab$.ThsTrbyIbEahEdE8LNwj1").await;
    let LoginStep::Success(before) = bench.login("u@d.test", "correct horse").await else {
        panic!()
    };
    let LoginStep::Success(same) = bench.login("u@d.test", "correct horse").await else {
        panic!()
    };
    assert_eq!(before.revision, same.revision);
    bench.sql("UPDATE mailbox SET password = '{PLAIN}new'").await;
    assert!(is_denied(&bench.login("u@d.test", "correct horse").await));
    let LoginStep::Success(after) = bench.login("u@d.test", "new").await else {
        panic!()
    };
    assert_ne!(before.revision, after.revision);
}

#[tokio::test]
async fn delays_are_told_not_waited() {
    let bench = Bench::with("{PLAIN}secret").await;
    let mut delays = Vec::new();
    for _ in 0..5 {
        let LoginStep::Denied { delay, .. } = bench.login("u@d.test", "x").await else {
            panic!()
        };
        delays.push(delay.as_secs());
    }
    assert_eq!(delays, [2, 4, 8, 16, 16]);
    bench.clock.advance(Duration::from_secs(3600));
    let LoginStep::Denied { delay, .. } = bench.login("u@d.test", "x").await else {
        panic!()
    };
    assert_eq!(delay.as_secs(), 2);
}

#[tokio::test]
async fn no_password_in_the_decision_log() {
    let bench = Bench::with("{PLAIN}canary-right").await;
    for (login, password) in [
        ("u@d.test", "canary-right"),
        ("u@d.test", "canary-wrong"),
        ("canary-login", "canary-x"),
    ] {
        bench.login(login, password).await;
    }
    let log = format!("{:?}", bench.events.all());
    assert!(log.contains("u@d.test") && log.contains("LoginGranted") && log.contains("LoginDenied"));
    for secret in ["canary-right", "canary-wrong", "canary-x"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Who reads the decision log can try no guesses with it; and no session ends for a restart.
#[tokio::test]
async fn the_revision_is_of_this_installation() {
    let revision = async |bench: &Bench| match bench.login("u@d.test", "secret").await {
        LoginStep::Success(account) => account.revision,
        other => panic!("{other:?}"),
    };
    let bench = Bench::with("{PLAIN}secret").await;
    let here = revision(&bench).await;
    let bench = bench.restart().await;
    assert_eq!(revision(&bench).await, here);
    let elsewhere = Bench::with("{PLAIN}secret").await;
    let low = |revision: u64| revision & u64::from(u32::MAX);
    assert_ne!(low(revision(&elsewhere).await), low(here));
}

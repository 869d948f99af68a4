//! An authd over tables of some form, asked over its sockets; answers are put into few words.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use auth_api::access::{Client as AccessClient, Question};
use auth_api::directory::{LmtpHop, MailboxAnswer, Route, SenderLogin, Target, Usage, Verdict};
use auth_api::sasl::LoginStep;
use auth_api::{Role, Trace};
use mail_types::ReversePath;
use tests::backend::{Database, Engine};
use tests::mariadb::{PASSWORD, USER};
use tokio::runtime::Runtime;

use crate::common::{Authd, address, context, plain};

/// An authd and its database.
pub struct Bench {
    runtime: Runtime,
    pub database: Database,
    authd: Authd,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// With these tables and rows, and this `[authd]` section (without the backend).
    pub fn new(engine: Engine, sql: &[&str], authd: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let database = Database::create(engine, dir.path(), false)?;
        for statements in sql {
            database.execute(statements)?;
        }
        let backend = match &database {
            Database::Sqlite { path } => format!("sqlite_file = \"{}\"\n", path.display()),
            Database::MariaDb { server, name } => {
                let password = dir.path().join("password");
                fs::write(&password, format!("{PASSWORD}\n"))?;
                fs::set_permissions(&password, fs::Permissions::from_mode(0o400))?;
                format!(
                    "backend = \"mysql\"\nmysql.hosts = [\"unix:{}\"]\nmysql.user = \"{USER}\"\n\
                     mysql.password_file = \"{}\"\nmysql.database = \"{name}\"\n",
                    server.socket().display(),
                    password.display()
                )
            }
        };
        let rest = authd
            .trim_start()
            .strip_prefix("[authd]\n")
            .context("the section")?;
        let config = format!(
            "[authd]\nreplica.enabled = false\naddress_cache_time = \"0s\"\nauth_failure_delay = \"0s\"\n{backend}{rest}"
        );
        let runtime = Runtime::new()?;
        let authd = runtime.block_on(Authd::configured(&config));
        Ok(Self {
            runtime,
            database,
            authd,
            _dir: dir,
        })
    }

    /// Where a recipient delivers: final addresses, `@` before those elsewhere, `!` before dead ones.
    pub fn recipient(&self, recipient: &str) -> Result<String> {
        let smtpd = self.authd.client(Role::Smtpd);
        let recipient = address(recipient);
        let resolution = smtpd.resolve(&recipient, Trace::default());
        let resolution = match self.runtime.block_on(resolution) {
            Ok(resolution) => resolution,
            Err(_) => return Ok("temporary".into()),
        };
        Ok(match resolution.verdict {
            Verdict::Deliver(list) => {
                let mark = |target: &Target| match target {
                    Target::Mailbox => "",
                    Target::Remote => "@",
                    Target::Dead { .. } => "!",
                };
                let texts = list
                    .iter()
                    .map(|d| format!("{}{}", mark(&d.target), d.final_address));
                format!("{:?}: {}", resolution.class, texts.collect::<Vec<_>>().join(" "))
            }
            Verdict::Refuse(refusal) => format!("{} {} {}", refusal.code, refusal.status, refusal.text),
            Verdict::ExpansionError(_) => "expansion error".into(),
        })
    }

    /// How an address leaves.
    pub fn route(&self, to: &str) -> Result<String> {
        let qmgr = self.authd.client(Role::Qmgr);
        let route = self
            .runtime
            .block_on(qmgr.route(&address(to), Trace::default()))?;
        Ok(match route {
            Route::Local => "local".into(),
            Route::Smtp(hop) => {
                let port = hop.port.map_or(String::new(), |port| format!(":{port}"));
                match hop.use_mx {
                    true => format!("mx {}{port}", hop.host),
                    false => format!("host {}{port}", hop.host),
                }
            }
            Route::Lmtp(LmtpHop::Unix(path)) => format!("lmtp {path}"),
            Route::Lmtp(LmtpHop::Tcp { host, port }) => format!("lmtp {host}:{port}"),
            Route::Error(text) => format!("error {text}"),
            Route::Retry(text) => format!("retry {text}"),
            Route::Discard => "discard".into(),
            Route::Unknown(refusal) => format!("unknown {}", refusal.status),
            Route::Misconfigured(_) => "misconfigured".into(),
        })
    }

    /// Path, owner and quota of a mailbox.
    pub fn mailbox(&self, of: &str) -> Result<String> {
        let deliver = self.authd.client(Role::Deliver);
        let of = address(of);
        let answer = deliver.lookup_mailbox(&of, Trace::default());
        Ok(match self.runtime.block_on(answer)? {
            MailboxAnswer::Found(m) => format!("{} {}:{} {}", m.maildir, m.uid, m.gid, m.quota),
            MailboxAnswer::Unknown(_) => "unknown".into(),
            MailboxAnswer::Misconfigured(_) => "misconfigured".into(),
        })
    }

    /// Whether a login may send as an address.
    pub fn owns(&self, login: &str, sender: &str) -> Result<bool> {
        let smtpd = self.authd.client(Role::Smtpd);
        let (login, sender) = (address(login), address(sender));
        let answer = smtpd.check_sender_login(&login, &sender, Trace::default());
        Ok(self.runtime.block_on(answer)? == SenderLogin::Owned)
    }

    /// Which rows of the access tables apply to a client, sender and recipient.
    pub fn access(&self, client: &str, sender: &str, recipient: &str) -> Result<String> {
        let smtpd = self.authd.client(Role::Smtpd);
        let question = Question {
            client: Some(AccessClient {
                name: "mx.client.test".into(),
                address: Some(client.parse()?),
            }),
            helo: None,
            sender: Some(ReversePath::Address(address(sender))),
            recipient: Some(address(recipient)),
        };
        let answer = self
            .runtime
            .block_on(smtpd.check_access(question, Trace::default()))?;
        let hits = answer
            .hits
            .iter()
            .map(|hit| format!("{} {}: {}", hit.table.as_str(), hit.key, hit.action));
        Ok(hits.collect::<Vec<_>>().join("; "))
    }

    /// Subject and times of an absence notice.
    pub fn vacation(&self, of: &str) -> Result<String> {
        let deliver = self.authd.client(Role::Deliver);
        let of = address(of);
        let answer = deliver.vacation(&of, Trace::default());
        Ok(match self.runtime.block_on(answer)? {
            None => "none".into(),
            Some(v) => format!(
                "{} {}: {:?} to {:?} every {}",
                v.address, v.subject, v.active_from, v.active_until, v.interval_seconds
            ),
        })
    }

    /// How full a mailbox is.
    pub fn usage(&self, of: &str) -> Result<String> {
        let admin = self.authd.client(Role::Admin);
        let of = address(of);
        let answer = admin.usage(&of, Trace::default());
        Ok(match self.runtime.block_on(answer)? {
            Usage::Found { bytes, messages } => format!("{bytes} {messages}"),
            Usage::Unknown(_) => "unknown".into(),
            Usage::NotCounted => "not counted".into(),
        })
    }

    /// Whether a login succeeds: `yes`, `no`, or `later`.
    pub fn login(&self, service: &str, login: &str, password: &str) -> &'static str {
        let (role, context) = match service {
            "smtp" => (Role::Smtpd, context()),
            _ => (Role::Imapd, context()),
        };
        let client = self.authd.client(role);
        let mut context = context;
        context.service = service.into();
        let login = client.login(&context, "PLAIN", Some(plain(login, password)));
        match self.runtime.block_on(login).0 {
            LoginStep::Success(_) => "yes",
            LoginStep::Denied { .. } => "no",
            _ => "later",
        }
    }

    /// The Admin service's answer to a change of these tables.
    pub fn change(&self) -> String {
        let admin = self.authd.client(Role::Admin);
        let record = auth_api::admin::DomainRecord::new(crate::common::domain("new.test"));
        match self.runtime.block_on(admin.create_domain(record)) {
            Ok(()) => "done".into(),
            Err(error) => error.to_string(),
        }
    }

    /// Asks for recipients.
    pub fn recipients(&self, expected: &[(&str, &str)]) -> Result<()> {
        for (recipient, answer) in expected {
            let told = self.recipient(recipient)?;
            ensure!(told == *answer, "{recipient}: {told}, not {answer}");
        }
        Ok(())
    }

    /// Asks for logins over IMAP.
    pub fn logins(&self, expected: &[(&str, &str, &str)]) -> Result<()> {
        for (login, password, answer) in expected {
            let told = self.login("imap", login, password);
            ensure!(
                told == *answer,
                "login {login} with {password}: {told}, not {answer}"
            );
        }
        Ok(())
    }

    pub fn end(self) {
        self.runtime.block_on(self.authd.stop());
    }
}

/// Compares an answer.
pub fn same(what: &str, told: Result<String>, expected: &str) -> Result<()> {
    let told = told.with_context(|| what.to_owned())?;
    ensure!(told == expected, "{what}: {told}, not {expected}");
    Ok(())
}

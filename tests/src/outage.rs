//! All the ways in which a database goes away, played on a site with a server of its own, and back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::Site;
use crate::relay::Relay;
use crate::site::{Endpoints, PASSWORD};

/// How the database goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It accepts connections and says nothing.
    Stopped,
    /// It is not there.
    Killed,
    /// It closes connections at once.
    Refusing,
    /// Each of its answers takes ten seconds.
    Slow,
    /// It answers that there is no such table.
    Errors,
    /// Its columns hold what nobody expects.
    WrongColumns,
}

impl Outage {
    /// Begins it. The site's authd goes through `relay`.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn begin(self, site: &mut Site, relay: &Relay) -> Result<()> {
        match self {
            Self::Stopped => site.database()?.server()?.process()?.signal(Signal::SIGSTOP),
            Self::Killed => {
                site.database()?.server()?.process()?.kill()?;
                relay.refuse(true);
                Ok(())
            }
            Self::Refusing => {
                relay.refuse(true);
                Ok(())
            }
            Self::Slow => {
                relay.delay(Duration::from_secs(10));
                Ok(())
            }
            Self::Errors => site.sql("RENAME TABLE mailbox TO m, alias TO a, domain TO d"),
            Self::WrongColumns => site.sql(
                "ALTER TABLE mailbox MODIFY active varchar(9); UPDATE mailbox SET active = 'maybe'; \
                 ALTER TABLE alias MODIFY active varchar(9); UPDATE alias SET active = 'maybe'; \
                 ALTER TABLE domain MODIFY active varchar(9); UPDATE domain SET active = 'maybe'",
            ),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn end(self, site: &mut Site, relay: &Relay) -> Result<()> {
        match self {
            Self::Stopped => site.database()?.server()?.process()?.signal(Signal::SIGCONT),
            Self::Killed => {
                relay.refuse(false);
                site.database()?.server()?.start()
            }
            Self::Refusing => {
                relay.refuse(false);
                Ok(())
            }
            Self::Slow => {
                relay.delay(Duration::ZERO);
                Ok(())
            }
            Self::Errors => site.sql("RENAME TABLE m TO mailbox, a TO alias, d TO domain"),
            Self::WrongColumns => site.sql(
                "UPDATE mailbox SET active = '1'; ALTER TABLE mailbox MODIFY active tinyint(1) NOT NULL DEFAULT 1; \
                 UPDATE alias SET active = '1'; ALTER TABLE alias MODIFY active tinyint(1) NOT NULL DEFAULT 1; \
                 UPDATE domain SET active = '1'; ALTER TABLE domain MODIFY active tinyint(1) NOT NULL DEFAULT 1",
            ),
        }
    }
}

/// Puts a relay between authd and the site's own server.
///
/// # Errors
/// When authd does not start with it.
pub fn with_relay(site: &mut Site) -> Result<Relay> {
    let socket = site.database()?.server()?.socket().to_owned();
    let relay = Relay::start(&site.directory().join("run/relay"), &socket)?;
    site.set("authd.mysql.hosts", vec![relay.host()])?;
    site.restart("authd")?;
    Ok(relay)
}

/// What the services answer, and how long the answer took that needed the database.
pub type Timed = Result<(String, Duration)>;

/// How long the last command took, which is the one that needs the part that is away.
fn timed(ask: impl FnOnce() -> Result<String>) -> Timed {
    let begin = Instant::now();
    let answer = ask()?;
    Ok((answer, begin.elapsed()))
}

/// RCPT from elsewhere.
///
/// # Errors
/// When there is no answer.
pub fn rcpt(endpoints: &Endpoints, address: &str) -> Timed {
    let mut smtp = endpoints.smtp("mx")?;
    smtp.expect("MAIL FROM:<out@a.test>", 250)?;
    timed(|| Ok(smtp.command(&format!("RCPT TO:<{address}>"))?.text()))
}

/// AUTH PLAIN.
///
/// # Errors
/// When there is no answer.
pub fn auth(endpoints: &Endpoints, user: &str, password: &str) -> Timed {
    let mut smtp = endpoints.smtp("submission")?;
    smtp.start_tls(&endpoints.tls)?;
    timed(|| Ok(smtp.auth_plain(user, password)?.text()))
}

/// IMAP LOGIN.
///
/// # Errors
/// When there is no answer.
pub fn imap_login(endpoints: &Endpoints, user: &str, password: &str) -> Timed {
    let mut imap = endpoints.imaps()?;
    timed(|| Ok(imap.command(&format!("LOGIN {user} {password}"))?.tagged))
}

/// POP3 USER and PASS.
///
/// # Errors
/// When there is no answer.
pub fn pop3_login(endpoints: &Endpoints, user: &str, password: &str) -> Timed {
    let mut pop3 = endpoints.pop3s()?;
    pop3.ok(&format!("USER {user}"))?;
    timed(|| pop3.command(&format!("PASS {password}")))
}

/// Everything is in order: known and unknown recipients, logins.
///
/// # Errors
/// What is not.
pub fn everything_works(endpoints: &Endpoints) -> Result<()> {
    let answers = [
        rcpt(endpoints, "bob@example.com")?.0,
        auth(endpoints, "alice@example.com", PASSWORD)?.0,
    ];
    ensure!(
        answers[0].starts_with("250") && answers[1].starts_with("235"),
        "{answers:?}"
    );
    let unknown = rcpt(endpoints, "nobody@example.com")?.0;
    ensure!(unknown.starts_with("550"), "{unknown}");
    endpoints.imap_as("alice@example.com", PASSWORD)?.logout()?;
    endpoints.pop3_as("alice@example.com", PASSWORD)?.quit()
}

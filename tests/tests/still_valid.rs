//! A change in the panel ends the sessions that rest on what was changed: IMAP with BYE, POP3 without UPDATE, SMTP at the
//! next MAIL. Trouble with the database or authd ends none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::Site;
use tests::client::{Imap, Pop3, Smtp};
use tests::site::{PASSWORD, SiteBuilder};
use tests::wait;

/// What ends an IMAP session.
const BYE: &str = "* BYE [EXPIRED]";

/// Asks every second, where a real site asks every 25 s.
fn site() -> SiteBuilder {
    Site::builder().set("general.session_check_interval", "1s")
}

/// One session of each kind, of alice; the POP3 session has marked its message.
struct Sessions {
    waiting: Imap,
    idling: Imap,
    pop3: Pop3,
    smtp: Smtp,
}

impl Sessions {
    fn begin(site: &Site) -> Result<Self> {
        let waiting = site.imap_as("alice@example.com", PASSWORD)?;
        let mut idling = site.imap_as("alice@example.com", PASSWORD)?;
        idling.select("INBOX")?;
        idling.begin("IDLE")?;
        let idle = idling.response()?;
        ensure!(idle.starts_with(b"+"), "{}", String::from_utf8_lossy(&idle));
        let mut pop3 = site.pop3_as("alice@example.com", PASSWORD)?;
        pop3.ok("DELE 1")?;
        let mut smtp = site.submit_as("alice@example.com")?;
        smtp.expect("MAIL FROM:<alice@example.com>", 250)?;
        smtp.expect("RSET", 250)?;
        Ok(Self {
            waiting,
            idling,
            pop3,
            smtp,
        })
    }

    fn go_on(&mut self) -> Result<()> {
        self.waiting.ok("NOOP")?;
        self.pop3.ok("NOOP")?;
        self.smtp.expect("MAIL FROM:<alice@example.com>", 250)?;
        self.smtp.expect("RSET", 250).map(drop)
    }

    fn all_end(mut self, site: &Site) -> Result<()> {
        for (name, imap) in [("waiting", &mut self.waiting), ("in IDLE", &mut self.idling)] {
            let bye = String::from_utf8(imap.response()?)?;
            ensure!(bye.starts_with(BYE), "{name}: {bye}");
            ensure!(imap.line.line()?.is_none(), "{name}: goes on after BYE");
        }
        ensure!(self.pop3.line.line()?.is_none(), "POP3 goes on");
        let left = site.mailbox("alice@example.com").count()?;
        ensure!(left == 1, "POP3 removed what was marked: {left} are left");
        let reply = self.smtp.command("MAIL FROM:<alice@example.com>")?;
        ensure!(reply.text().starts_with("421 4.7.0"), "{}", reply.text());
        ensure!(self.smtp.line.line()?.is_none(), "SMTP goes on after 421");
        Ok(())
    }
}

fn a_change_ends_the_sessions(change: &str) -> Result<()> {
    site().run(|site| {
        site.smtp("mx")?
            .send("out@a.test", &["alice@example.com"], "Subject: 1\r\n\r\n1\r\n")?;
        site.mailbox("alice@example.com").wait(1)?;
        let alice = Sessions::begin(site)?;
        let mut bob = site.imap_as("bob@example.com", PASSWORD)?;
        site.sql(change)?;
        alice.all_end(site).context(change.to_owned())?;
        bob.ok("NOOP").context("somebody else's session")?;
        // Two IMAP sessions and one of POP3.
        wait::for_true("the reasons in the decision log", wait::LONG, || {
            let events = site.events().all()?;
            let reasons = events.iter().filter(|event| {
                let text = event.to_string();
                text.contains("disconnected") && text.contains("login no longer valid")
            });
            Ok(reasons.count() == 3)
        })
    })
}

#[test]
fn a_mailbox_is_switched_off() -> Result<()> {
    a_change_ends_the_sessions("UPDATE mailbox SET active = 0 WHERE username = 'alice@example.com'")
}

#[test]
fn a_password_is_changed() -> Result<()> {
    a_change_ends_the_sessions(
        "UPDATE mailbox SET password = '{PLAIN}other' WHERE username = 'alice@example.com'",
    )
}

#[test]
fn a_mailbox_is_moved() -> Result<()> {
    a_change_ends_the_sessions(
        "UPDATE mailbox SET maildir = 'example.com/else/' WHERE username = 'alice@example.com'",
    )
}

#[test]
fn a_mailbox_is_deleted() -> Result<()> {
    a_change_ends_the_sessions("DELETE FROM mailbox WHERE username = 'alice@example.com'")
}

/// As long as some rounds of checks, which sessions have to survive in silence.
const SOME_ROUNDS: Duration = Duration::from_millis(2500);

#[test]
fn trouble_ends_no_session() -> Result<()> {
    for replica in [true, false] {
        site()
            .own_server()
            .set("authd.replica.enabled", replica)
            .run(|site| {
                site.smtp("mx")?
                    .send("out@a.test", &["alice@example.com"], "Subject: 1\r\n\r\n1\r\n")?;
                site.mailbox("alice@example.com").wait(1)?;
                let mut alice = Sessions::begin(site)?;
                site.database()?.server()?.process()?.kill()?;
                alice.survive("the database is away")?;
                site.database()?.server()?.start()?;
                site.kill("authd")?;
                alice.survive("authd is away")?;
                site.start("authd")?;
                site.daemon("authd")?.signal(Signal::SIGSTOP)?;
                alice.survive("authd hangs")?;
                site.daemon("authd")?.signal(Signal::SIGCONT)?;
                // And when it is all over, a change still counts.
                site.sql("UPDATE mailbox SET active = 0 WHERE username = 'alice@example.com'")?;
                alice.all_end(site)
            })
            .with_context(|| format!("replica: {replica}"))?;
    }
    Ok(())
}

impl Sessions {
    /// Goes through some rounds of checks: for as long, no session says anything by itself.
    fn survive(&mut self, what: &str) -> Result<()> {
        let said = self.idling.line.peek(SOME_ROUNDS)?.to_vec();
        ensure!(
            said.is_empty() && !self.idling.line.is_ended(),
            "{what}: {}",
            String::from_utf8_lossy(&said)
        );
        self.go_on().with_context(|| what.to_owned())
    }
}

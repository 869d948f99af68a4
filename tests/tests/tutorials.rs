//! What a user can do at the end of each tutorial (compat.md section 7), on every database and schema form.
//!
//! One site for each backend; each row has accounts of its own, so the rows do not depend on each other.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use tests::backend::Engine;
use tests::client::Envelope;
use tests::dns::{self, Dns};
use tests::schema::{self, MailboxRow};
use tests::sink::{Action, Offers, Sink, Stage};
use tests::site::{PASSWORD, SiteBuilder};
use tests::{Backend, Form, Site};

const SINK_PORT: u16 = 2527;
const LETTER: &str = "From: <out@a.test>\r\nSubject: a letter\r\n\r\nhello\r\n";
const OWN_LETTER: &str = "From: <alice@example.com>\r\nSubject: a letter\r\n\r\nhello\r\n";

/// A foreign server, with the name server that leads to it.
struct World {
    dns: Dns,
    sink: Sink,
    _claim: TcpListener,
}

impl World {
    fn start() -> Result<Self> {
        let (address, claim) = dns::claim_address()?;
        let sink = Sink::start(address, SINK_PORT, Offers::default())?;
        let dns = Dns::start()?;
        for domain in ["a.test", "primary.test", "second.test"] {
            dns.mail_domain(domain, address);
        }
        Ok(Self {
            dns,
            sink,
            _claim: claim,
        })
    }
}

fn site(backend: Backend, world: &World) -> SiteBuilder {
    let odd = MailboxRow {
        address: "odd@example.com",
        password: &schema::password_column(backend.form, PASSWORD),
        maildir: "I/other/odd@example.com/",
    };
    Site::builder()
        .backend(backend)
        .world(&world.dns, SINK_PORT)
        .set("general.message_size_limit", "20480000")
        .set("qmgr.minimal_backoff_time", "1s")
        .sql(&schema::insert_mailbox(backend.form, &odd))
        .account("root@example.com")
        .alias("forward@example.com", "alice@example.com")
        .alias("both@example.com", "alice@example.com, bob@example.com")
        .alias("@example.com", "bob@example.com")
        .domain("strict.example")
        .account("carol@strict.example")
        .sql(&schema::insert_domain(backend.form, "second.test", "smtp:", true))
}

/// Every row on one backend.
fn rows(backend: Backend) -> Result<()> {
    let world = World::start()?;
    site(backend, &world).run(|site| {
        t1_1_mail_from_outside_lands_in_the_column_s_maildir(site).context("T1.1")?;
        t1_3_no_system_user_is_consulted(site).context("T1.3")?;
        t1_4_an_outsider_may_not_relay(site).context("T1.4")?;
        t1_8_aliases_forward_and_the_catch_all_steals_nothing(site).context("T1.8")?;
        t2_2_an_alias_with_two_targets_reaches_both(site).context("T2.2")?;
        t2_4_an_unknown_user_is_refused(site).context("T2.4")?;
        t3_5_a_backup_domain_is_relayed_and_queued(site, &world).context("T3.5")?;
        t3_8_submission_wants_tls_and_a_password(site, &world).context("T3.8")?;
        t3_10_the_size_limit_is_announced_and_kept(site).context("T3.10")?;
        t3_12_an_extension_is_delivered_to_the_user(site).context("T3.12")?;
        reading_what_arrived(site).context("reading")
    })
}

fn t1_1_mail_from_outside_lands_in_the_column_s_maildir(site: &mut Site) -> Result<()> {
    site.smtp("mx")?
        .send("out@a.test", &["odd@example.com"], LETTER)?;
    let messages = site.mailbox_at("I/other/odd@example.com").wait(1)?;
    let message = &messages[0];
    ensure!(
        message
            .path
            .parent()
            .is_some_and(|folder| folder.ends_with("new")),
        "{}",
        message.path.display()
    );
    ensure!(
        (message.uid, message.gid) == site.ids(),
        "the owner is {}:{}",
        message.uid,
        message.gid
    );
    ensure!(
        message.text().starts_with("Return-Path: <out@a.test>\n"),
        "{}",
        message.text()
    );
    ensure!(
        message.header("X-Original-To").as_deref() == Some("odd@example.com"),
        "{}",
        message.text()
    );
    ensure!(
        message.header("Delivered-To").as_deref() == Some("odd@example.com"),
        "{}",
        message.text()
    );
    ensure!(
        message.headers("Received").len() == 1 && message.body() == b"hello\n",
        "{}",
        message.text()
    );
    Ok(())
}

fn t1_3_no_system_user_is_consulted(site: &mut Site) -> Result<()> {
    let mut smtp = site.smtp("mx")?;
    smtp.expect("MAIL FROM:<out@a.test>", 250)?;
    let reply = smtp.command("RCPT TO:<root@mail.example.com>")?;
    ensure!(
        reply
            .text()
            .starts_with("554 5.7.1 <root@mail.example.com>: Relay access denied"),
        "{}",
        reply.text()
    );
    Ok(())
}

fn t1_4_an_outsider_may_not_relay(site: &mut Site) -> Result<()> {
    let mut smtp = site.smtp("mx")?;
    smtp.expect("MAIL FROM:<alice@example.com>", 250)?;
    let reply = smtp.command("RCPT TO:<somebody@a.test>")?;
    ensure!(
        reply.text() == "554 5.7.1 <somebody@a.test>: Relay access denied",
        "{}",
        reply.text()
    );
    Ok(())
}

fn t1_8_aliases_forward_and_the_catch_all_steals_nothing(site: &mut Site) -> Result<()> {
    let [alice, bob] = ["alice@example.com", "bob@example.com"].map(|address| site.mailbox(address));
    let before = (alice.count()?, bob.count()?);
    let mut smtp = site.smtp("mx")?;
    smtp.send("out@a.test", &["forward@example.com"], LETTER)?;
    ensure!(
        (alice.count()?, bob.count()?) == (before.0 + 1, before.1),
        "the alias leads to alice alone"
    );
    let newest = alice.messages()?.pop().context("alice has no message")?;
    ensure!(
        newest.header("X-Original-To").as_deref() == Some("forward@example.com"),
        "{}",
        newest.text()
    );
    ensure!(
        newest.header("Delivered-To").as_deref() == Some("alice@example.com"),
        "{}",
        newest.text()
    );
    smtp.send("out@a.test", &["whoever@example.com"], LETTER)?;
    ensure!(
        (alice.count()?, bob.count()?) == (before.0 + 1, before.1 + 1),
        "the catch-all leads to bob"
    );
    smtp.send("out@a.test", &["alice@example.com"], LETTER)?;
    ensure!(
        (alice.count()?, bob.count()?) == (before.0 + 2, before.1 + 1),
        "the catch-all took alice's mail"
    );
    Ok(())
}

fn t2_2_an_alias_with_two_targets_reaches_both(site: &mut Site) -> Result<()> {
    let [alice, bob] = ["alice@example.com", "bob@example.com"].map(|address| site.mailbox(address));
    let before = (alice.count()?, bob.count()?);
    site.smtp("mx")?
        .send("out@a.test", &["both@example.com"], LETTER)?;
    ensure!(
        (alice.count()?, bob.count()?) == (before.0 + 1, before.1 + 1),
        "one copy each"
    );
    Ok(())
}

fn t2_4_an_unknown_user_is_refused(site: &mut Site) -> Result<()> {
    let mut smtp = site.smtp("mx")?;
    smtp.expect("MAIL FROM:<out@a.test>", 250)?;
    let reply = smtp.command("RCPT TO:<nobody@strict.example>")?;
    let wanted = "550 5.1.1 <nobody@strict.example>: Recipient address rejected: User unknown in virtual mailbox table";
    ensure!(reply.text() == wanted, "{}", reply.text());
    Ok(())
}

fn t3_5_a_backup_domain_is_relayed_and_queued(site: &mut Site, world: &World) -> Result<()> {
    world.sink.forget();
    world.sink.on(Stage::Connect, Action::Close);
    site.smtp("mx")?
        .send("out@a.test", &["any-user-at-all@second.test"], LETTER)?;
    site.wait_queue(1)
        .context("while the primary is down, the message waits")?;
    world.sink.behave();
    site.flush()?;
    let taken = world.sink.wait(1)?;
    ensure!(
        taken[0].recipients[0].starts_with("<any-user-at-all@second.test>"),
        "{:?}",
        taken[0]
    );
    site.wait_queue_empty()
}

fn t3_8_submission_wants_tls_and_a_password(site: &mut Site, world: &World) -> Result<()> {
    world.sink.forget();
    let mut smtp = site.smtp("submission")?;
    let offers = smtp.ehlo()?;
    ensure!(
        !offers.iter().any(|line| line.starts_with("AUTH")),
        "AUTH before TLS: {offers:?}"
    );
    smtp.expect("MAIL FROM:<alice@example.com>", 530)?;
    let offers = smtp.start_tls(&site.tls)?;
    ensure!(
        offers.iter().any(|line| line.starts_with("AUTH ")),
        "no AUTH under TLS: {offers:?}"
    );
    ensure!(
        !offers.contains(&"STARTTLS".to_owned()),
        "STARTTLS under TLS: {offers:?}"
    );
    let mail = smtp.command("MAIL FROM:<alice@example.com>")?;
    ensure!(mail.code == 250, "{}", mail.text());
    let refused = smtp.command("RCPT TO:<friend@a.test>")?;
    ensure!(refused.text().starts_with("554 5.7.1 "), "{}", refused.text());
    smtp.expect("RSET", 250)?;
    let wrong = smtp.auth_plain("alice@example.com", "not the password")?;
    ensure!(wrong.text().starts_with("535 5.7.8 "), "{}", wrong.text());
    smtp.login("alice@example.com", PASSWORD)?;
    smtp.send("alice@example.com", &["friend@a.test"], OWN_LETTER)?;
    let taken = world.sink.wait(1)?;
    ensure!(
        taken[0].mail.starts_with("<alice@example.com>"),
        "{:?}",
        taken[0].mail
    );
    site.wait_queue_empty()
}

fn t3_10_the_size_limit_is_announced_and_kept(site: &mut Site) -> Result<()> {
    let mut smtp = site.smtp("mx")?;
    let offers = smtp.ehlo()?;
    ensure!(offers.contains(&"SIZE 20480000".to_owned()), "{offers:?}");
    let declared = smtp.command("MAIL FROM:<out@a.test> SIZE=20480001")?;
    ensure!(declared.text().starts_with("552 5.3.4 "), "{}", declared.text());
    let before = site.mailbox("alice@example.com").count()?;
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    let message = format!("Subject: big\r\n\r\n{}", line.repeat(20_480_000 / line.len() + 1));
    let envelope = Envelope {
        from: "out@a.test",
        mail_parameters: "",
        recipients: vec![("alice@example.com", "")],
    };
    let reply = smtp.try_send(&envelope, message.as_bytes())?;
    ensure!(reply.text().starts_with("552 5.3.4 "), "{}", reply.text());
    ensure!(
        site.mailbox("alice@example.com").count()? == before,
        "the message was delivered all the same"
    );
    smtp.send("out@a.test", &["alice@example.com"], LETTER)
        .context("the session goes on")?;
    Ok(())
}

fn t3_12_an_extension_is_delivered_to_the_user(site: &mut Site) -> Result<()> {
    site.smtp("mx")?
        .send("out@a.test", &["root+tag@example.com"], LETTER)?;
    let messages = site.mailbox("root@example.com").wait(1)?;
    ensure!(
        messages[0].header("Delivered-To").as_deref() == Some("root+tag@example.com"),
        "{}",
        messages[0].text()
    );
    Ok(())
}

/// The same mailboxes over IMAP and POP3.
fn reading_what_arrived(site: &mut Site) -> Result<()> {
    let mut imap = site.imap_as("root@example.com", PASSWORD)?;
    ensure!(imap.select("INBOX")? == 1);
    let text = imap.fetch_body(1)?;
    ensure!(
        text.ends_with(b"Subject: a letter\r\n\r\nhello\r\n"),
        "{}",
        text.escape_ascii()
    );
    imap.logout()?;
    let mut pop3 = site.pop3_as("root@example.com", PASSWORD)?;
    ensure!(pop3.stat()?.0 == 1);
    ensure!(
        pop3.lines("RETR 1")? == text,
        "POP3 shows another message than IMAP"
    );
    pop3.quit()?;
    let wrong = site.pop3s()?.command("USER root@example.com").and_then(|_| {
        let mut pop3 = site.pop3s()?;
        pop3.ok("USER root@example.com")?;
        pop3.command("PASS wrong")
    })?;
    ensure!(wrong.starts_with("-ERR"), "{wrong}");
    Ok(())
}

#[test]
fn rows_on_sqlite_2_1() -> Result<()> {
    rows(Backend {
        engine: Engine::Sqlite,
        form: Form::V2_1,
    })
}

#[test]
fn rows_on_sqlite_3_3() -> Result<()> {
    rows(Backend {
        engine: Engine::Sqlite,
        form: Form::V3_3,
    })
}

#[test]
fn rows_on_sqlite_4_0() -> Result<()> {
    rows(Backend {
        engine: Engine::Sqlite,
        form: Form::V4_0,
    })
}

#[test]
fn rows_on_mariadb_2_1() -> Result<()> {
    rows(Backend {
        engine: Engine::MariaDb,
        form: Form::V2_1,
    })
}

#[test]
fn rows_on_mariadb_3_3() -> Result<()> {
    rows(Backend {
        engine: Engine::MariaDb,
        form: Form::V3_3,
    })
}

#[test]
fn rows_on_mariadb_4_0() -> Result<()> {
    rows(Backend {
        engine: Engine::MariaDb,
        form: Form::V4_0,
    })
}

#[test]
fn t1_4_own_networks_may_relay() -> Result<()> {
    let world = World::start()?;
    Site::builder()
        .world(&world.dns, SINK_PORT)
        .set("general.mynetworks", vec!["127.0.0.0/8".to_owned()])
        .run(|site| {
            site.smtp("mx")?
                .send("alice@example.com", &["friend@a.test"], LETTER)?;
            let taken = world.sink.wait(1)?;
            ensure!(
                taken[0].recipients[0].starts_with("<friend@a.test>"),
                "{:?}",
                taken[0]
            );
            site.wait_queue_empty()
        })
}

#[test]
fn t2_10_nothing_bounces_while_the_database_is_away() -> Result<()> {
    let world = World::start()?;
    Site::builder()
        .own_server()
        .world(&world.dns, SINK_PORT)
        .set("smtpd.direct_delivery_recipient_limit", 0)
        .set("authd.replica.enabled", false)
        .run(|site| {
            // deliver is away, so the message waits in the queue; then the database goes away too.
            site.kill("deliver")?;
            site.smtp("mx")?
                .send("out@a.test", &["alice@example.com"], LETTER)?;
            site.database()?.server()?.process()?.kill()?;
            site.start("deliver")?;
            let mut smtp = site.smtp("mx")?;
            smtp.expect("MAIL FROM:<out@a.test>", 250)?;
            let reply = smtp.command("RCPT TO:<bob@example.com>")?;
            ensure!(
                reply
                    .text()
                    .starts_with("451 4.3.0 <bob@example.com>: Temporary lookup failure"),
                "{}",
                reply.text()
            );
            let foreign = smtp.command("RCPT TO:<somebody@a.test>")?;
            ensure!(
                foreign.code == 451,
                "for foreign recipients too: {}",
                foreign.text()
            );
            let waiting = site.wait_queue(1)?;
            ensure!(waiting[0]["sender"] == "out@a.test", "a bounce? {waiting:?}");
            site.database()?.server()?.start()?;
            site.mailbox("alice@example.com").wait(1)?;
            site.wait_queue_empty()?;
            ensure!(world.sink.taken().is_empty(), "something was bounced");
            Ok(())
        })
}

#[test]
fn an_alias_that_names_itself_delivers_one_copy_each_through_the_spool() -> Result<()> {
    tests::backend::each(|backend| {
        Site::builder()
            .backend(backend)
            .set("smtpd.direct_delivery_recipient_limit", 0)
            .sql("UPDATE alias SET goto = 'alice@example.com, bob@example.com' WHERE address = 'alice@example.com';")
            .run(|site| {
                site.smtp("mx")?.send("out@a.test", &["alice@example.com"], LETTER)?;
                site.wait_queue_empty()?;
                site.mailbox("alice@example.com").wait(1)?;
                site.mailbox("bob@example.com").wait(1)?;
                Ok(())
            })
    })
}

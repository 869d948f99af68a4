//! The rules of the directory on real daemons: tables that only some schemas have, what they refuse and in which
//! words, and `mailctl explain rcpt`, which tells why.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::Site;
use tests::dns::{self, Dns};
use tests::mariadb::OUTAGE_LIMIT;
use tests::schema;
use tests::sink::{Offers, Sink};
use tests::site::SiteBuilder;
use tests::wait;

const SINK_PORT: u16 = 2541;
const LETTER: &str = "From: <out@a.test>\r\nSubject: a letter\r\n\r\nhello\r\n";

/// The tables of tutorial 5 with rows of each kind. Mailboxes without an owner of their own get the site's.
const POSTFIX_TABLES: &str = "
CREATE TABLE postfix_users (email varchar(128), clear varchar(128), uid int, gid int, homedir varchar(255),
    maildir varchar(255), quota varchar(255), postfix char(1));
CREATE TABLE postfix_virtual (email varchar(128), destination varchar(255));
CREATE TABLE postfix_transport (domain varchar(128), destination varchar(255));
CREATE TABLE postfix_alias (alias varchar(128), destination varchar(255));
CREATE TABLE postfix_relocated (email varchar(128), destination varchar(255));
CREATE TABLE postfix_access (source varchar(128), access varchar(128), type varchar(16));
INSERT INTO postfix_users (email, clear, maildir, postfix) VALUES
    ('alice@d.test', 'secret', 'd.test/alice/', 'y'), ('bob@d.test', 'secret', 'd.test/bob/', 'y'),
    ('moved@d.test', 'secret', 'd.test/moved/', 'y'), ('off@d.test', 'secret', 'd.test/off/', 'n');
INSERT INTO postfix_users (email, clear, uid, gid, maildir, postfix) VALUES
    ('root@d.test', 'secret', 0, 0, 'd.test/root/', 'y'),
    ('other@d.test', 'secret', 64001, 64001, 'd.test/other/', 'y');
INSERT INTO postfix_virtual VALUES
    ('team@d.test', 'list@d.test, out@away.test'), ('list@d.test', 'alice@d.test, bob@d.test'),
    ('loop@d.test', 'pool@d.test'), ('pool@d.test', 'loop@d.test');
INSERT INTO postfix_transport VALUES
    ('d.test', 'virtual:'), ('away.test', 'smtp:[127.0.0.1]:SINK'), ('relay.test', 'smtp:[127.0.0.1]:SINK');
INSERT INTO postfix_alias VALUES ('postmaster', 'alice@d.test'), ('ops', 'bob@d.test');
INSERT INTO postfix_relocated VALUES ('moved@d.test', 'moved@new.test'), ('gone@d.test', 'nowhere');
INSERT INTO postfix_access VALUES
    ('evil.test', 'REJECT', 'sender'), ('friend@evil.test', 'OK', 'sender'), ('<>', 'DUNNO', 'sender'),
    ('bob@d.test', '550 5.2.1 bob reads no mail', 'recipient'),
    ('later@sender.test', 'DEFER come back later', 'sender'),
    ('held@sender.test', 'HOLD', 'sender'),
    ('dropped@sender.test', 'DISCARD', 'sender'),
    ('client.spam.test', 'REJECT no spam', 'helo'),
    ('unknown', 'REJECT', 'client');
";

fn postfix_tables() -> SiteBuilder {
    Site::builder()
        .bare()
        .sql(&POSTFIX_TABLES.replace("SINK", &SINK_PORT.to_string()))
        .set("authd.schema", "postfix-tables")
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .set("general.mydomain", "own.test")
}

/// What a stranger hears at RCPT.
fn rcpt(site: &Site, sender: &str, recipient: &str) -> Result<String> {
    let mut smtp = site.smtp("mx")?;
    smtp.expect(&format!("MAIL FROM:<{sender}>"), 250)?;
    let reply = smtp.command(&format!("RCPT TO:<{recipient}>"))?;
    Ok(reply.text())
}

fn hears(site: &Site, sender: &str, recipient: &str, wanted: &str) -> Result<()> {
    let said = rcpt(site, sender, recipient)?;
    ensure!(
        said == wanted,
        "<{sender}> to <{recipient}>: {said}, not {wanted}"
    );
    Ok(())
}

/// Runs `mailctl explain rcpt`, which has to end with `code`; what it printed.
fn explain(site: &Site, code: i32, arguments: &[&str]) -> Result<String> {
    let output = site.mailctl_output(&[&["explain", "rcpt"], arguments].concat())?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "explain rcpt {}: {} {text}",
        arguments.join(" "),
        output.status
    );
    Ok(text)
}

#[test]
fn tables_of_tutorial_5() -> Result<()> {
    let (address, _claim) = dns::claim_address()?;
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    let name_server = Dns::start()?;
    name_server.mail_domain("away.test", address);
    let hop = format!(
        "UPDATE postfix_transport SET destination = 'smtp:[{address}]:{SINK_PORT}' WHERE domain <> 'd.test';"
    );
    postfix_tables()
        .world(&name_server, SINK_PORT)
        .sql(&hop)
        .run(|site| {
            recipients(site).context("recipients")?;
            access(site).context("access")?;
            owners(site).context("owners")?;
            transports(site, &sink).context("transports")?;
            explained(site).context("explain")
        })
}

fn recipients(site: &mut Site) -> Result<()> {
    let unknown = |who: &str| {
        format!("550 5.1.1 <{who}>: Recipient address rejected: User unknown in virtual mailbox table")
    };
    let moved = |who: &str, to: &str| {
        format!("550 5.1.6 <{who}>: Recipient address rejected: User has moved to {to}")
    };
    for (recipient, reply) in [
        ("alice@d.test", "250 2.1.5 Ok".to_owned()),
        ("alice+tag@d.test", "250 2.1.5 Ok".to_owned()),
        ("team@d.test", "250 2.1.5 Ok".to_owned()),
        ("ops@own.test", "250 2.1.5 Ok".to_owned()),
        ("postmaster@own.test", "250 2.1.5 Ok".to_owned()),
        ("nobody@d.test", unknown("nobody@d.test")),
        ("off@d.test", unknown("off@d.test")),
        (
            "nobody@own.test",
            "550 5.1.1 <nobody@own.test>: Recipient address rejected: User unknown in local recipient table"
                .to_owned(),
        ),
        // A mailbox that is there, and an address that never was.
        ("moved@d.test", moved("moved@d.test", "moved@new.test")),
        ("gone@d.test", moved("gone@d.test", "nowhere")),
        ("loop@d.test", "451 4.6.0 Alias expansion error".to_owned()),
        // A transport authorises nobody to relay.
        (
            "x@elsewhere.test",
            "554 5.7.1 <x@elsewhere.test>: Relay access denied".to_owned(),
        ),
    ] {
        hears(site, "out@a.test", recipient, &reply)?;
    }
    Ok(())
}

/// T5.5: rows of postfix_access by type.
fn access(site: &mut Site) -> Result<()> {
    for (sender, recipient, reply) in [
        (
            "x@evil.test",
            "alice@d.test",
            "554 5.7.1 <x@evil.test>: Sender address rejected: Access denied",
        ),
        (
            "x@sub.evil.test",
            "alice@d.test",
            "554 5.7.1 <x@sub.evil.test>: Sender address rejected: Access denied",
        ),
        ("friend@evil.test", "alice@d.test", "250 2.1.5 Ok"),
        ("", "alice@d.test", "250 2.1.5 Ok"),
        (
            "out@a.test",
            "bob@d.test",
            "550 5.2.1 <bob@d.test>: Recipient address rejected: bob reads no mail",
        ),
        (
            "later@sender.test",
            "alice@d.test",
            "450 4.7.1 <later@sender.test>: Sender address rejected: come back later",
        ),
        // What cannot be done is not ignored.
        (
            "held@sender.test",
            "alice@d.test",
            "451 4.3.5 Server configuration error",
        ),
        // OK lets pass, and authorises no relaying.
        (
            "friend@evil.test",
            "x@elsewhere.test",
            "554 5.7.1 <x@elsewhere.test>: Relay access denied",
        ),
    ] {
        hears(site, sender, recipient, reply)?;
    }
    let mut smtp = site.smtp("mx")?;
    smtp.expect("HELO client.spam.test", 250)?;
    smtp.expect("MAIL FROM:<out@a.test>", 250)?;
    let reply = smtp.command("RCPT TO:<alice@d.test>")?;
    ensure!(
        reply.text() == "554 5.7.1 <client.spam.test>: Helo command rejected: no spam",
        "{}",
        reply.text()
    );
    // All clients of this network, as long as the row stands there.
    site.sql("INSERT INTO postfix_access VALUES ('127', '450 slowly', 'client');")?;
    let said = rcpt(site, "out@a.test", "alice@d.test")?;
    site.sql("DELETE FROM postfix_access WHERE source = '127';")?;
    ensure!(
        said.starts_with("450 4.7.1 <unknown[127.") && said.ends_with("]>: Client host rejected: slowly"),
        "{said}"
    );
    let before = site.mailbox_at("d.test/alice").count()?;
    site.smtp("mx")?
        .send("dropped@sender.test", &["alice@d.test"], LETTER)?;
    ensure!(
        site.mailbox_at("d.test/alice").count()? == before,
        "a message to be discarded was delivered"
    );
    site.events().wait("the discarded message", |event| {
        event["event"] == "message_discarded"
    })?;
    site.events()
        .wait("the row", |event| {
            event["event"] == "access_row" && event["key"] == "evil.test" && event["source"] == "database"
        })
        .map(drop)
}

/// robustness.md A16: owners that rows may not name, and one that this deliver cannot act for.
fn owners(site: &mut Site) -> Result<()> {
    for (who, why) in [("root@d.test", "root owns no mail"), ("other@d.test", "")] {
        let mut smtp = site.smtp("mx")?;
        smtp.expect("MAIL FROM:<out@a.test>", 250)?;
        smtp.expect(&format!("RCPT TO:<{who}>"), 250)?;
        smtp.expect("DATA", 354)?;
        let reply = smtp.command(&format!("{LETTER}."))?;
        ensure!(reply.text().starts_with("451 4.3.5 "), "{who}: {}", reply.text());
        let answer = explain(site, 0, &[who])?;
        ensure!(answer.contains(why), "{answer}");
    }
    Ok(())
}

fn transports(site: &mut Site, sink: &Sink) -> Result<()> {
    sink.forget();
    site.smtp("mx")?
        .send("friend@evil.test", &["any@relay.test"], LETTER)?;
    let taken = sink.wait(1)?;
    ensure!(
        taken[0].recipients[0].starts_with("<any@relay.test>"),
        "{:?}",
        taken[0]
    );
    site.wait_queue_empty()
}

fn explained(site: &mut Site) -> Result<()> {
    let tree = explain(site, 0, &["team@d.test"])?;
    for line in [
        "team@d.test",
        "   alias team@d.test: alias.goto = list@d.test, out@away.test",
        "   -> list@d.test",
        "      alias list@d.test: alias.goto = alice@d.test, bob@d.test",
        "      -> alice@d.test",
        "         mailbox alice@d.test: mailbox.maildir = d.test/alice/",
        "         ends alice@d.test: the mailbox",
        "   -> out@away.test",
        "      ends out@away.test: another host",
        "accepted, 3 deliveries",
        "  alice@d.test  mailbox, d.test/alice/ (uid ",
        "  out@away.test  remote, smtp:[127.",
    ] {
        let has = tree.lines().any(|told| told.starts_with(line));
        ensure!(has, "{line:?} is not in\n{tree}");
    }
    ensure!(tree.contains("(database)"), "{tree}");
    let again = explain(site, 0, &["team@d.test"])?;
    ensure!(again.contains("(cache)"), "{again}");

    let refused = explain(site, 67, &["moved@d.test"])?;
    ensure!(refused.contains("User has moved to moved@new.test"), "{refused}");
    let looped = explain(site, 75, &["loop@d.test"])?;
    ensure!(looped.contains("leads back to itself"), "{looped}");
    explain(site, 0, &["x@elsewhere.test"])?;
    explain(site, 64, &[])?;
    explain(site, 65, &["no address"])?;
    let by_row = explain(
        site,
        67,
        &["alice@d.test", "--sender", "x@evil.test", "--client", "192.0.2.1"],
    )?;
    ensure!(
        by_row.contains("access sender evil.test: REJECT -> refused")
            && by_row.contains("refused by an access table"),
        "{by_row}"
    );
    explain(site, 75, &["alice@d.test", "--sender", "held@sender.test"])?;
    let ours = ["alice@d.test", "--sender", "list@d.test", "--login", "bob@d.test"];
    explain(site, 0, &ours)?;
    let not_ours = [
        "alice@d.test",
        "--sender",
        "list@d.test",
        "--login",
        "moved@d.test",
    ];
    let told = explain(site, 67, &not_ours)?;
    ensure!(told.contains("not owned"), "{told}");

    let json = site.mailctl_json(&["explain", "rcpt", "team@d.test"])?;
    ensure!(
        json["outcome"] == "accepted" && json["deliveries"].as_array().map(Vec::len) == Some(3),
        "{json}"
    );
    let depths = json["steps"].as_array().into_iter().flatten();
    let deepest = depths.filter_map(|step| step["depth"].as_u64()).max();
    ensure!(deepest == Some(2), "{json}");
    Ok(())
}

/// Tables of PostfixAdmin: absence targets, sender logins, backup MX, nested aliases, and an outage.
#[test]
fn the_panel_s_tables() -> Result<()> {
    let form = tests::Backend::MARIADB.form;
    Site::builder()
        .own_server()
        .sql(&schema::insert_domain(form, "second.test", "virtual", true))
        .sql(
            "UPDATE alias SET goto = 'alice@example.com,alice#example.com@autoreply.example.com'
             WHERE address = 'alice@example.com';",
        )
        .sql(
            "INSERT INTO vacation (email, subject, body, cache, domain, active)
             VALUES ('alice@example.com', 'I am away', 'Back soon.', '', 'example.com', 1);
             INSERT INTO quota2 (username, bytes, messages) VALUES ('alice@example.com', 4096, 2);",
        )
        .alias("sales@example.com", "nested@example.com")
        .alias("nested@example.com", "alice@example.com, bob@example.com")
        .set("authd.replica.enabled", false)
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .run(|site| {
            // Somebody is away: his mail is in his mailbox, nothing is queued for the pseudo domain.
            site.smtp("mx")?
                .send("out@a.test", &["alice@example.com"], LETTER)?;
            site.mailbox("alice@example.com").wait(1)?;
            site.wait_queue_empty()?;
            let told = explain(site, 0, &["alice@example.com"])?;
            ensure!(
                told.contains("vacation alice#example.com@autoreply.example.com")
                    && told.contains("answered for alice@example.com (from ")
                    && told.contains("I am away")
                    && told.contains("4096 B in 2 messages by the tables"),
                "{told}"
            );
            hears(site, "out@a.test", "any@second.test", "250 2.1.5 Ok")?;
            senders(site)?;
            let json = site.mailctl_json(&["explain", "rcpt", "sales@example.com"])?;
            ensure!(
                finals(&json) == ["alice@example.com", "bob@example.com"],
                "{json}"
            );
            // A change by the administrator holds at once, though rows are remembered.
            site.mailctl(&[
                "alias",
                "set",
                "nested@example.com",
                "--remove",
                "bob@example.com",
            ])?;
            let json = site.mailctl_json(&["explain", "rcpt", "sales@example.com"])?;
            ensure!(finals(&json) == ["alice@example.com"], "{json}");
            outage(site)
        })
}

fn finals(json: &Value) -> Vec<&str> {
    let list = json["deliveries"].as_array().into_iter().flatten();
    list.filter_map(|delivery| delivery["final"].as_str()).collect()
}

fn senders(site: &mut Site) -> Result<()> {
    for (sender, reply) in [
        ("bob@example.com", "250 2.1.5 Ok"),
        ("sales@example.com", "250 2.1.5 Ok"),
        (
            "alice@example.com",
            "553 5.7.1 <alice@example.com>: Sender address rejected: not owned by user bob@example.com",
        ),
        (
            "bob@elsewhere.test",
            "553 5.7.1 <bob@elsewhere.test>: Sender address rejected: not owned by user bob@example.com",
        ),
    ] {
        let mut smtp = site.submit_as("bob@example.com")?;
        smtp.expect(&format!("MAIL FROM:<{sender}>"), 250)?;
        let said = smtp.command("RCPT TO:<alice@example.com>")?.text();
        ensure!(said == reply, "{sender}: {said}");
    }
    Ok(())
}

/// A15: without a replica every recipient is put off, known or not, and never refused.
fn outage(site: &mut Site) -> Result<()> {
    site.database()?.server()?.process()?.kill()?;
    for recipient in ["alice@example.com", "nobody@example.com", "x@elsewhere.test"] {
        let wanted = format!("451 4.3.0 <{recipient}>: Temporary lookup failure");
        hears(site, "out@a.test", recipient, &wanted)?;
    }
    let told = explain(site, 75, &["nobody@example.com"])?;
    ensure!(told.contains("451 4.3.0"), "{told}");
    site.database()?.server()?.start()?;
    wait::for_true("normal service", OUTAGE_LIMIT, || {
        Ok(rcpt(site, "out@a.test", "alice@example.com")? == "250 2.1.5 Ok")
    })
}

//! Mail to other hosts, end to end: a zone of the test's own, servers that refuse, delay, close, offer TLS or not.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::Site;
use tests::client::Envelope;
use tests::dns::{self, Dns, Record};
use tests::mailbox::Message;
use tests::pki::Pki;
use tests::sink::{Action, Offers, Sink, Stage, Taken};
use tests::site::{PASSWORD, SiteBuilder};
use tests::wait;

const PORT: u16 = 2529;

/// The rest of the world: one name server, and a server at each address that is asked for.
struct World {
    dns: Dns,
    claims: Vec<TcpListener>,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Result<Self> {
        Ok(Self {
            dns: Dns::start()?,
            claims: Vec::new(),
            directory: tempfile::tempdir()?,
        })
    }

    /// An address of loopback that nobody else uses, and nobody listens on.
    fn address(&mut self) -> Result<Ipv4Addr> {
        let (address, claim) = dns::claim_address()?;
        self.claims.push(claim);
        Ok(address)
    }

    /// A domain with one server.
    fn domain(&mut self, domain: &str, offers: Offers) -> Result<Sink> {
        let address = self.address()?;
        self.dns.mail_domain(domain, address);
        Sink::start(address, PORT, offers)
    }

    /// A domain whose server refuses connections.
    fn dead_domain(&mut self, domain: &str) -> Result<()> {
        let address = self.address()?;
        self.dns.mail_domain(domain, address);
        Ok(())
    }

    fn site(&self) -> SiteBuilder {
        Site::builder()
            .world(&self.dns, PORT)
            .set("qmgr.minimal_backoff_time", "300ms")
            .set("qmgr.maximal_backoff_time", "600ms")
            .set("qmgr.daemon_probe_interval", "200ms")
            .set("qmgr.queue_scan_interval", "1s")
    }
}

fn letter(subject: &str) -> String {
    format!("From: Alice <alice@example.com>\r\nSubject: {subject}\r\n\r\nhello\r\n")
}

/// Alice submits a message.
fn send(site: &Site, to: &[&str], subject: &str) -> Result<String> {
    let mut smtp = site.submit_as("alice@example.com")?;
    let reply = smtp.send("alice@example.com", to, &letter(subject))?;
    Ok(reply.queued_as()?.to_owned())
}

/// The one message that a sink has taken.
fn only(sink: &Sink) -> Result<Taken> {
    Ok(sink.wait(1)?.remove(0))
}

/// Alice's newest message, which has to be a report about `address`.
fn report(site: &Site, count: usize, address: &str) -> Result<Message> {
    let message = site
        .mailbox("alice@example.com")
        .wait(count)?
        .pop()
        .context("no report")?;
    let text = message.text();
    ensure!(message.header("Return-Path").as_deref() == Some("<>"), "{text}");
    ensure!(
        message.header("Auto-Submitted").as_deref() == Some("auto-replied"),
        "{text}"
    );
    let kind = message.header("Content-Type").unwrap_or_default();
    ensure!(
        kind.starts_with("multipart/report") && kind.contains("report-type=delivery-status"),
        "{text}"
    );
    ensure!(
        text.contains(&format!("Final-Recipient: rfc822; {address}"))
            || text.contains(&format!("Final-Recipient: rfc822;{address}")),
        "{text}"
    );
    Ok(message)
}

#[test]
fn mail_goes_out_and_what_is_refused_comes_back() -> Result<()> {
    let mut world = World::new()?;
    let good = world.domain("good.test", Offers::default())?;
    let split = world.domain("split.test", Offers::default())?;
    split.on_recipient(
        "no@split.test",
        Action::Reply("550 5.1.1 there is no such person here".into()),
    );
    world.site().run(|site| {
        send(site, &["friend@good.test"], "out")?;
        let taken = only(&good)?;
        ensure!(
            taken.mail.starts_with("<alice@example.com>") && taken.recipients.len() == 1,
            "{taken:?}"
        );
        ensure!(
            taken.text().ends_with(&letter("out")) && taken.text().starts_with("Received: "),
            "{}",
            taken.text()
        );

        send(site, &["yes@split.test", "no@split.test"], "each its own result")?;
        ensure!(
            only(&split)?
                .recipients
                .iter()
                .all(|recipient| recipient.starts_with("<yes@split.test>"))
        );
        let bounce = report(site, 1, "no@split.test")?;
        let text = bounce.text();
        for part in [
            "Action: failed",
            "Status: 5.1.1",
            "there is no such person here",
            "Subject: each its own result",
        ] {
            ensure!(text.contains(part), "no {part:?} in\n{text}");
        }
        ensure!(
            !text.contains("yes@split.test\n"),
            "the report blames the one who took it:\n{text}"
        );
        site.wait_queue_empty()?;
        shown_as_report(site)
    })
}

/// A mail program sees a report: multipart/report with a text, a delivery status and the returned message.
fn shown_as_report(site: &Site) -> Result<()> {
    let mut imap = site.imap_as("alice@example.com", PASSWORD)?;
    imap.select("INBOX")?;
    let structure = imap
        .ok("FETCH 1 (BODYSTRUCTURE ENVELOPE)")?
        .text()
        .to_ascii_uppercase();
    for part in [
        "\"REPORT\"",
        "\"TEXT\" \"PLAIN\"",
        "\"MESSAGE\" \"DELIVERY-STATUS\"",
        "\"REPORT-TYPE\" \"DELIVERY-STATUS\"",
    ] {
        ensure!(structure.contains(part), "no {part} in {structure}");
    }
    ensure!(
        structure.contains("\"MESSAGE\" \"RFC822\"") || structure.contains("\"RFC822-HEADERS\""),
        "{structure}"
    );
    ensure!(structure.contains("MAILER-DAEMON"), "{structure}");
    imap.logout()
}

#[test]
fn a_dead_server_leads_to_retries_and_at_last_to_a_bounce() -> Result<()> {
    let mut world = World::new()?;
    world.dead_domain("dead.test")?;
    world
        .site()
        .set("qmgr.maximal_queue_lifetime", "2s")
        .set("qmgr.delay_warning_time", "0s")
        .run(|site| {
            let id = send(site, &["friend@dead.test"], "nobody there")?;
            let bounce = report(site, 1, "friend@dead.test")?;
            let text = bounce.text();
            ensure!(
                text.contains("Action: failed") && text.contains("Subject: nobody there"),
                "{text}"
            );
            site.wait_queue_empty()?;
            let events = site.events().about(&id)?;
            let deferred = events.iter().filter(|event| event["event"] == "deferred").count();
            ensure!(deferred >= 2, "{deferred} attempts before the bounce: {events:?}");
            shown_as_report(site)
        })
}

#[test]
fn a_server_that_refuses_for_now_delays_and_closes_gets_its_mail_once() -> Result<()> {
    let mut world = World::new()?;
    let later = world.domain("later.test", Offers::default())?;
    later.next(1, Stage::Rcpt, Action::Reply("450 4.2.1 later".into()));
    later.next(
        1,
        Stage::Connect,
        Action::ReplyAndClose("421 4.3.2 too busy".into()),
    );
    let closing = world.domain("closing.test", Offers::default())?;
    closing.next(1, Stage::Connect, Action::Close);
    closing.next(1, Stage::Mail, Action::Close);
    closing.next(1, Stage::Data, Action::Close);
    let slow = world.domain("slow.test", Offers::default())?;
    slow.on(Stage::Mail, Action::Hang);
    let live = world.domain("live.test", Offers::default())?;
    world.site().set("qmgr.smtp_mail_timeout", "60s").run(|site| {
        for number in 0..10 {
            send(site, &["friend@slow.test"], &format!("slow {number}"))?;
        }
        send(site, &["friend@later.test"], "later")?;
        send(site, &["friend@closing.test"], "closing")?;
        send(site, &["friend@live.test"], "live")?;
        // The others do not wait for the slow one.
        only(&live)?;
        only(&later)?;
        only(&closing)?;
        site.wait_queue(10).context("those for the slow server wait")?;
        ensure!(slow.taken().is_empty(), "a server that hangs took something");
        slow.behave();
        slow.wait(10)?;
        site.wait_queue_empty()?;
        ensure!(
            site.mailbox("alice@example.com").count()? == 0,
            "something was bounced"
        );
        Ok(())
    })
}

#[test]
fn an_answer_that_is_lost_after_the_dot_is_neither_success_nor_failure() -> Result<()> {
    let mut world = World::new()?;
    let sink = world.domain("lost.test", Offers::default())?;
    sink.next(1, Stage::Dot, Action::Close);
    world.site().run(|site| {
        send(site, &["friend@lost.test"], "twice")?;
        // RFC 5321 4.5.3.2.6 and RFC 1047: the duplicate cannot be avoided, the loss can.
        let taken = sink.wait(2)?;
        let ids: Vec<Option<&str>> = taken
            .iter()
            .map(|message| std::str::from_utf8(&message.data).ok()?.lines().next())
            .collect();
        ensure!(ids[0].is_some() && taken[0].data == taken[1].data, "{ids:?}");
        site.wait_queue_empty()
    })
}

#[test]
fn tls_is_used_where_it_is_offered_and_mail_goes_on_where_it_is_broken() -> Result<()> {
    let mut world = World::new()?;
    let pki = Pki::create(world.directory.path(), &["someone.else.test".to_owned()])?;
    let offers = Offers {
        starttls: Some(pki),
        ..Offers::default()
    };
    let secure = world.domain("secure.test", offers.clone())?;
    let refuses = world.domain("refuses.test", offers)?;
    refuses.on(Stage::StartTls, Action::Reply("454 4.7.0 not now".into()));
    world.site().run(|site| {
        send(site, &["friend@secure.test"], "secret")?;
        ensure!(only(&secure)?.tls, "TLS was offered and not used");
        send(site, &["friend@refuses.test"], "open")?;
        ensure!(!only(&refuses)?.tls);
        site.wait_queue_empty()
    })
}

#[test]
fn servers_without_8bitmime_or_smtputf8_get_what_they_can_take() -> Result<()> {
    let mut world = World::new()?;
    let plain = world.domain("plain.test", Offers::only(&["PIPELINING", "ENHANCEDSTATUSCODES"]))?;
    world.site().run(|site| {
        let mut smtp = site.submit_as("alice@example.com")?;
        let envelope = |to, parameters| Envelope {
            from: "alice@example.com",
            mail_parameters: parameters,
            recipients: vec![(to, "")],
        };
        let eight = "From: <alice@example.com>\r\nSubject: eight\r\nMIME-Version: 1.0\r\n\
                     Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n";
        let reply = smtp.try_send(&envelope("friend@plain.test", " BODY=8BITMIME"), eight.as_bytes())?;
        ensure!(reply.code == 250, "{}", reply.text());
        wait::for_true("the message converted or returned", wait::LONG, || {
            Ok(!plain.taken().is_empty() || site.mailbox("alice@example.com").count()? > 0)
        })?;
        ensure!(plain.raw().is_ascii(), "eight bits were sent to a server that does not take them");
        if plain.taken().is_empty() {
            let text = report(site, 1, "friend@plain.test")?.text();
            ensure!(text.contains("Status: 5.6."), "{text}");
        } else {
            let text = plain.taken()[0].text();
            ensure!(text.contains("Gr=C3=BC=C3=9Fe") || text.contains("R3LDvMOfZQ"), "{text}");
        }
        let before = site.mailbox("alice@example.com").count()?;
        let utf8 = "From: <alice@example.com>\r\nSubject: Grüße\r\n\r\nhello\r\n";
        let reply = smtp.try_send(&envelope("jürgen@plain.test", " SMTPUTF8"), utf8.as_bytes())?;
        ensure!(reply.code == 250, "{}", reply.text());
        let text = site.mailbox("alice@example.com").wait(before + 1)?.pop().context("no report")?.text();
        ensure!(text.contains("Status: 5.6.7"), "{text}");
        site.wait_queue_empty()
    })
}

#[test]
fn the_zone_decides_where_mail_goes() -> Result<()> {
    let mut world = World::new()?;
    let second = world.domain("second.example.test", Offers::default())?;
    // The first choice is dead, the second one takes it.
    let dead = world.address()?;
    world.dns.add("two.test", Record::Mx(10, "mx1.two.test".into()));
    world
        .dns
        .add("two.test", Record::Mx(20, "mx.second.example.test".into()));
    world.dns.add("mx1.two.test", Record::A(dead));
    // No MX: the address of the domain itself.
    let address = world.address()?;
    let direct = Sink::start(address, PORT, Offers::default())?;
    world.dns.add("address.test", Record::A(address));
    world.dns.add("null.test", Record::Mx(0, ".".into()));
    world.dns.add("broken.test", Record::Failure);
    world.site().run(|site| {
        send(site, &["friend@two.test"], "two")?;
        ensure!(only(&second)?.recipients[0].starts_with("<friend@two.test>"));
        send(site, &["friend@address.test"], "direct")?;
        only(&direct)?;
        send(site, &["friend@null.test"], "no mail there")?;
        let text = report(site, 1, "friend@null.test")?.text();
        ensure!(text.contains("Status: 5.1.10"), "{text}");
        send(site, &["friend@no-such-domain.test"], "no such domain")?;
        let reports = site.mailbox("alice@example.com").wait(2)?;
        ensure!(
            reports
                .iter()
                .any(|report| report.text().contains("no-such-domain.test"))
        );
        let id = send(site, &["friend@broken.test"], "servfail")?;
        site.events().wait("a deferral", |event| {
            event["event"] == "deferred" && event["id"] == id.as_str()
        })?;
        ensure!(
            site.spooled()? == [id.clone()],
            "a failing name server bounced a message"
        );
        world.dns.remove("broken.test");
        world.dns.mail_domain("broken.test", address);
        site.flush()?;
        direct.wait(2)?;
        site.wait_queue_empty()
    })
}

#[test]
fn relayhost_and_transport_rows_win_over_the_zone() -> Result<()> {
    let mut world = World::new()?;
    let relay = world.domain("relay.test", Offers::default())?;
    let routed = world.domain("routed.test", Offers::default())?;
    let transport = format!("smtp:[{}]:{PORT}", routed.address().ip());
    let row = tests::schema::insert_domain(tests::Form::V4_0, "ours-elsewhere.test", &transport, false);
    world
        .site()
        .set("qmgr.relayhost", "[mx.relay.test]")
        .sql(&row)
        .run(|site| {
            send(site, &["friend@anywhere.test"], "by the relay")?;
            ensure!(only(&relay)?.recipients[0].starts_with("<friend@anywhere.test>"));
            send(site, &["friend@ours-elsewhere.test"], "by the row")?;
            ensure!(only(&routed)?.recipients[0].starts_with("<friend@ours-elsewhere.test>"));
            site.wait_queue_empty()
        })
}

#[test]
fn nothing_is_sent_into_our_own_network_nor_back_to_ourselves() -> Result<()> {
    let world = World::new()?;
    world.dns.mail_domain("inside.test", Ipv4Addr::new(10, 1, 2, 3));
    world.dns.mail_domain("loop.test", Ipv4Addr::LOCALHOST);
    world
        .site()
        .set("qmgr.smtp_private_networks", Vec::<String>::new())
        .run(|site| {
            for (number, address) in ["a@inside.test", "a@loop.test"].iter().enumerate() {
                send(site, &[address], "inside")?;
                report(site, number + 1, address)?;
            }
            site.wait_queue_empty()
        })
}

#[test]
fn a_delayed_message_is_announced_once_and_reports_are_never_reported() -> Result<()> {
    let mut world = World::new()?;
    world.dead_domain("dead.test")?;
    let sender = world.domain("sender.test", Offers::default())?;
    sender.on(Stage::Rcpt, Action::Reply("550 5.1.1 no such sender".into()));
    world
        .site()
        .set("qmgr.delay_warning_time", "500ms")
        .set("qmgr.maximal_queue_lifetime", "1h")
        // A mailbox is deleted below, and is to be gone at once.
        .set("authd.address_cache_time", "0s")
        .run(|site| {
            send(site, &["friend@dead.test"], "waiting")?;
            let text = report(site, 1, "friend@dead.test")?.text();
            ensure!(text.contains("Action: delayed"), "{text}");
            let waiting = site.wait_queue(1)?;
            let id = waiting[0]["id"].as_str().context("an id")?.to_owned();
            let deferred = || {
                let events = site.events().about(&id)?;
                anyhow::Ok(events.iter().filter(|event| event["event"] == "deferred").count())
            };
            let before = deferred()?;
            wait::for_true("further attempts", Duration::from_secs(20), || {
                Ok(deferred()? >= before + 2)
            })?;
            ensure!(
                site.mailbox("alice@example.com").count()? == 1,
                "a second delay notice"
            );
            site.mailctl(&["queue", "delete", &id])?;

            // A bounce that cannot be delivered is not bounced.
            let mut smtp = site.smtp("mx")?;
            site.kill("deliver")?;
            smtp.send(
                "nobody@sender.test",
                &["alice@example.com"],
                "Subject: x\r\n\r\nx\r\n",
            )?;
            site.sql("DELETE FROM mailbox WHERE username = 'alice@example.com';")?;
            site.start("deliver")?;
            site.wait_queue_empty()?;
            ensure!(
                sender.commands("RCPT") == 1,
                "the bounce was tried {} times",
                sender.commands("RCPT")
            );
            Ok(())
        })
}

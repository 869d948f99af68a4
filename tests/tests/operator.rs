//! What an operator does: every command of mailctl against running daemons, the life of a message, reloads, a full log.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::Site;
use tests::dns::Dns;
use tests::sink::{Action, Offers, Sink, Stage};
use tests::wait;

/// The port of the mail servers of the world in these tests.
const SINK_PORT: u16 = 2535;

/// Runs mailctl, which has to end with `code`; everything that it printed.
fn ends_with(site: &Site, code: i32, arguments: &[&str]) -> Result<String> {
    let output = site.mailctl_output(arguments)?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "mailctl {}: {} {text}",
        arguments.join(" "),
        output.status
    );
    Ok(text)
}

/// A file with a password that only mailctl's account can read.
fn password_file(site: &Site, password: &str) -> Result<String> {
    let path = site.directory().join("password");
    let _ = fs::remove_file(&path);
    fs::write(&path, format!("{password}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let (uid, gid) = site.ids();
    std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
    Ok(path.display().to_string())
}

fn column(rows: &Value, name: &str) -> Vec<String> {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter_map(|row| row[name].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn domains_mailboxes_and_aliases() -> Result<()> {
    Site::builder().run(|site| {
        domains(site)?;
        mailboxes(site)?;
        aliases(site)?;

        // Nothing is deleted by accident.
        ensure!(ends_with(site, 65, &["domain", "delete", "second.test"])?.contains("--recursive"));
        site.mailctl(&["mailbox", "delete", "carol@second.test"])?;
        site.mailctl(&["domain", "delete", "second.test"])?;
        ensure!(
            !column(&site.mailctl_json(&["domain", "list"])?, "domain").contains(&"second.test".to_owned())
        );

        // authd away: what to do is said, and nothing else happens.
        site.kill("authd")?;
        ensure!(ends_with(site, 69, &["domain", "list"])?.contains("is authd running"));
        site.start("authd")?;
        site.mailctl(&["domain", "list"])?;
        Ok(())
    })
}

fn domains(site: &Site) -> Result<()> {
    site.mailctl(&[
        "domain",
        "add",
        "second.test",
        "--description",
        "the second",
        "--max-mailboxes",
        "1",
    ])?;
    ensure!(ends_with(site, 65, &["domain", "add", "second.test"])?.contains("`set`"));
    ensure!(column(&site.mailctl_json(&["domain", "list"])?, "domain").contains(&"second.test".to_owned()));
    site.mailctl(&[
        "domain",
        "set",
        "second.test",
        "--transport",
        "smtp:[192.0.2.1]",
        "--max-mailboxes",
        "0",
    ])?;
    let shown = site.mailctl_json(&["domain", "show", "second.test"])?;
    ensure!(
        shown["transport"] == "smtp:[192.0.2.1]" && shown["description"] == "the second",
        "{shown}"
    );
    site.mailctl(&["domain", "set", "second.test", "--transport", "virtual"])?;
    ends_with(site, 66, &["domain", "show", "third.test"])?;
    ends_with(site, 66, &["domain", "set", "third.test", "--active", "false"])?;
    ends_with(site, 64, &["domain", "add", "no_domain!"])?;
    Ok(())
}

/// The password is in no argument.
fn mailboxes(site: &Site) -> Result<()> {
    let file = password_file(site, "first password")?;
    site.mailctl(&[
        "mailbox",
        "add",
        "carol@second.test",
        "--name",
        "Carol",
        "--password-file",
        &file,
    ])?;
    ends_with(
        site,
        65,
        &["mailbox", "add", "carol@second.test", "--password-file", &file],
    )?;
    ends_with(site, 65, &["mailbox", "add", "dave@second.test"])?;
    ensure!(
        column(
            &site.mailctl_json(&["mailbox", "list", "second.test"])?,
            "address"
        ) == ["carol@second.test"]
    );
    site.mailctl(&["auth", "test", "carol@second.test", "--password-file", &file])?;
    let file = password_file(site, "second password")?;
    ends_with(
        site,
        77,
        &["auth", "test", "carol@second.test", "--password-file", &file],
    )?;
    site.mailctl(&[
        "mailbox",
        "password",
        "carol@second.test",
        "--password-file",
        &file,
    ])?;
    site.mailctl(&["auth", "test", "carol@second.test", "--password-file", &file])?;
    site.mailctl(&[
        "mailbox",
        "set",
        "carol@second.test",
        "--active",
        "false",
        "--quota",
        "2M",
    ])?;
    ends_with(
        site,
        77,
        &["auth", "test", "carol@second.test", "--password-file", &file],
    )?;
    let shown = site.mailctl_json(&["mailbox", "show", "carol@second.test"])?;
    ensure!(
        shown["quota"] == 2 << 20 && shown["active"] == false && shown["name"] == "Carol",
        "{shown}"
    );
    site.mailctl(&["mailbox", "set", "carol@second.test", "--active", "true"])?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let refused = ends_with(
        site,
        69,
        &[
            "mailbox",
            "password",
            "carol@second.test",
            "--password-file",
            &file,
        ],
    )?;
    ensure!(refused.contains("chmod 0600"), "{refused}");
    Ok(())
}

fn aliases(site: &Site) -> Result<()> {
    site.mailctl(&[
        "alias",
        "add",
        "sales@second.test",
        "alice@example.com",
        "--to",
        "bob@example.com",
    ])?;
    site.mailctl(&[
        "alias",
        "set",
        "sales@second.test",
        "--add",
        "carol@second.test",
        "--remove",
        "bob@example.com",
    ])?;
    let shown = site.mailctl_json(&["alias", "show", "sales@second.test"])?;
    ensure!(
        shown["targets"] == serde_json::json!(["alice@example.com", "carol@second.test"]),
        "{shown}"
    );
    ensure!(
        column(&site.mailctl_json(&["alias", "list", "second.test"])?, "address") == ["sales@second.test"]
    );
    site.smtp("mx")?.send(
        "out@a.test",
        &["sales@second.test"],
        "Subject: hi\r\n\r\nhello\r\n",
    )?;
    site.mailbox("alice@example.com").wait(1)?;
    site.mailbox("carol@second.test").wait(1)?;
    site.mailctl(&["alias", "delete", "sales@second.test"])?;
    ends_with(site, 66, &["alias", "delete", "sales@second.test"])?;
    Ok(())
}

/// Must show 9: an alias with one local and one remote target, the remote one refused.
#[test]
fn the_life_of_a_message_through_all_daemons() -> Result<()> {
    let address = Ipv4Addr::new(127, 0, 9, 1);
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    sink.on(
        Stage::Rcpt,
        Action::Reply("550 5.1.1 nobody of that name".to_owned()),
    );
    let dns = Dns::start()?;
    dns.mail_domain("far.test", address);
    let builder = Site::builder()
        .world(&dns, SINK_PORT)
        .alias("team@example.com", "bob@example.com,carol@far.test");
    builder.run(|site| {
        let message =
            "From: alice@example.com\r\nMessage-ID: <life-1@example.com>\r\nSubject: hi\r\n\r\nhello\r\n";
        let reply =
            site.submit_as("alice@example.com")?
                .send("alice@example.com", &["team@example.com"], message)?;
        let id = reply.queued_as()?.to_owned();
        site.mailbox("bob@example.com").wait(1)?;
        site.mailbox("alice@example.com").wait(1)?;
        site.wait_queue_empty()?;

        let child = judge_events(&site.mailctl_json(&["trace", &id])?, &id)?;

        // The same tree from whatever one knows of it.
        let text = site.mailctl(&["trace", &id])?;
        for query in [
            "<life-1@example.com>",
            "team@example.com",
            "carol@far.test",
            &child,
        ] {
            ensure!(site.mailctl(&["trace", query])? == text, "trace {query}");
        }
        let lines: Vec<&str> = text.lines().collect();
        ensure!(
            lines[0].starts_with(&format!("message {id} from <alice@example.com>")),
            "{text}"
        );
        ensure!(
            text.contains(&format!(
                "\n  caused:\n    message {child} report (failed) to <alice@example.com>"
            )),
            "{text}"
        );
        ensure!(text.contains("550 5.1.1 nobody of that name"), "{text}");
        ensure!(!text.contains(tests::site::PASSWORD), "{text}");
        ends_with(site, 66, &["trace", "stranger@example.com"])?;
        Ok(())
    })
}

/// Every step of the message, in order, by one id; the id of the report that it caused.
fn judge_events(events: &Value, id: &str) -> Result<String> {
    let events = events.as_array().context("an array")?;
    let times: Vec<&str> = events.iter().filter_map(|event| event["time"].as_str()).collect();
    ensure!(times.len() == events.len() && times.is_sorted(), "{times:?}");
    let of = |id: &str| -> Vec<String> {
        let own = events.iter().filter(|event| event["id"] == id);
        own.map(|event| format!("{} {}", event["daemon"], event["event"]).replace('"', ""))
            .collect()
    };
    let steps = of(id);
    let expected = [
        "smtpd mail_accepted",
        "authd recipient_resolved",
        "smtpd recipient_accepted",
        "smtpd message_received",
        "smtpd spooled",
        "smtpd message_accepted",
        "qmgr picked_up",
        "authd routed",
        "authd mailbox_found",
        "deliver delivered",
        "qmgr delivered",
        "qmgr remote_reply",
        "qmgr failed",
        "qmgr removed",
    ];
    for step in expected {
        ensure!(steps.iter().any(|s| s == step), "{step} is missing in {steps:#?}");
    }
    let place = |step: &str| steps.iter().position(|s| s == step);
    for (before, after) in [
        ("authd recipient_resolved", "smtpd recipient_accepted"),
        ("smtpd spooled", "smtpd message_accepted"),
        ("qmgr picked_up", "deliver delivered"),
        ("deliver delivered", "qmgr delivered"),
        ("qmgr remote_reply", "qmgr failed"),
        ("qmgr failed", "qmgr removed"),
    ] {
        ensure!(
            place(before) < place(after),
            "{before} comes after {after}: {steps:#?}"
        );
    }

    let report = events
        .iter()
        .find(|event| event["parent"] == id)
        .context("a child")?;
    ensure!(
        report["event"] == "report_made" && report["report"] == "failed",
        "{report}"
    );
    let child = report["id"].as_str().context("the child's id")?;
    ensure!(
        of(child).contains(&"deliver delivered".to_owned()),
        "{:#?}",
        of(child)
    );
    Ok(child.to_owned())
}

#[test]
fn the_queue() -> Result<()> {
    let address = Ipv4Addr::new(127, 0, 9, 2);
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    sink.on(Stage::Rcpt, Action::Reply("450 4.2.0 not now".to_owned()));
    let dns = Dns::start()?;
    dns.mail_domain("later.test", address);
    Site::builder().world(&dns, SINK_PORT).run(|site| {
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            let to = format!("{name}@later.test");
            let message = format!("Subject: {name}\r\n\r\nhello\r\n");
            let reply = site
                .submit_as("alice@example.com")?
                .send("alice@example.com", &[&to], &message)?;
            ids.push(reply.queued_as()?.to_owned());
        }
        let deferred = |site: &Site| -> Result<bool> {
            let rows = site.mailctl_json(&["queue", "list"])?;
            Ok(column(&rows, "status") == ["deferred", "deferred"])
        };
        wait::for_true("both to be deferred", wait::LONG, || deferred(site))?;
        let rows = site.mailctl_json(&["queue", "list"])?;
        ensure!(
            column(&rows, "id") == ids && column(&rows, "sender") == ["alice@example.com"; 2],
            "{rows}"
        );
        let recipient = &rows[0]["recipients"][0];
        ensure!(
            recipient["address"] == "one@later.test" && recipient["attempts"] == 1,
            "{rows}"
        );
        ensure!(
            recipient["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("450 4.2.0 not now")),
            "{rows}"
        );
        let listed = site.mailctl(&["queue", "list"])?;
        ensure!(
            ids.iter().all(|id| listed.contains(id)) && listed.contains("not now"),
            "{listed}"
        );
        let shown = site.mailctl(&["queue", "show", &ids[1]])?;
        ensure!(
            shown.contains("Subject: two") && shown.contains("two@later.test"),
            "{shown}"
        );

        site.mailctl(&["queue", "hold", &ids[0]])?;
        sink.behave();
        site.mailctl(&["queue", "flush"])?;
        let taken = sink.wait(1)?;
        ensure!(taken[0].text().contains("Subject: two"));
        site.wait_queue(1)?;
        ensure!(column(&site.mailctl_json(&["queue", "list"])?, "status") == ["hold"]);
        site.mailctl(&["queue", "release", &ids[0]])?;
        site.mailctl(&["queue", "requeue", &ids[0]])?;
        sink.wait(2)?;
        site.wait_queue_empty()?;

        // Deleted: nobody is told, and the log knows who did it.
        sink.on(Stage::Rcpt, Action::Reply("450 4.2.0 not now".to_owned()));
        let reply =
            site.submit_as("alice@example.com")?
                .send("alice@example.com", &["x@later.test"], "\r\nx\r\n")?;
        let id = reply.queued_as()?.to_owned();
        site.wait_queue(1)?;
        site.mailctl(&["queue", "delete", &id])?;
        site.wait_queue_empty()?;
        ends_with(site, 66, &["queue", "delete", &id])?;
        ends_with(site, 66, &["queue", "show", &id])?;
        ensure!(
            site.mailctl(&["trace", &id])?
                .contains("deleted by the administrator")
        );
        ensure!(site.mailbox("alice@example.com").count()? == 0);
        site.mailctl(&["check", "spool"])?;
        Ok(())
    })
}

#[test]
fn the_checks_find_what_was_broken() -> Result<()> {
    Site::builder().run(|site| {
        site.smtp("mx")?.send(
            "out@a.test",
            &["alice@example.com"],
            "Subject: hi\r\n\r\nhello\r\n",
        )?;
        site.mailbox("alice@example.com").wait(1)?;
        let report = site.mailctl_json(&["check", "maildir"])?;
        ensure!(report["sound"] == true && report["messages"] == 1, "{report}");
        site.mailctl(&["check", "maildir", "alice@example.com"])?;
        site.mailctl(&["check", "spool"])?;

        // A second file of the same delivery, and a stranger in the spool.
        let new = site.mailbox("alice@example.com").path().join("new");
        let file = fs::read_dir(&new)?.next().context("a message")??;
        let name = file.file_name().to_string_lossy().replacen("Q", "XQ", 1);
        fs::copy(file.path(), new.join(format!("1{name}")))?;
        let text = ends_with(site, 1, &["check", "maildir"])?;
        ensure!(text.contains("error"), "{text}");
        let spool: PathBuf = site
            .mailctl(&["config", "show", "general.spool_dir"])?
            .trim()
            .into();
        fs::write(spool.join("incoming/stranger"), "x")?;
        let text = ends_with(site, 1, &["check", "spool"])?;
        ensure!(text.contains("incoming/stranger"), "{text}");
        Ok(())
    })
}

/// T07 and T08 of robustness.md: what is wrong stays out, sessions go on, and the log says so.
#[test]
fn wrong_reloads_change_nothing() -> Result<()> {
    Site::builder().run(|site| {
        let cert: PathBuf = site
            .mailctl(&["config", "show", "tls.certificate_file"])?
            .trim()
            .into();
        let good = fs::read(&cert)?;
        for name in ["smtpd", "imapd", "pop3d"] {
            let refused = |site: &Site, event: &str| -> Result<usize> {
                let all = site.events().all()?;
                Ok(all
                    .iter()
                    .filter(|e| e["daemon"] == name && e["event"] == event)
                    .count())
            };
            fs::write(&cert, &good[..good.len() / 2])?;
            site.reload(name)?;
            wait::for_true("the refusal", wait::LONG, || {
                Ok(refused(site, "certificate_refused")? == 1)
            })?;
            // The old pair still serves.
            site.endpoints().imaps()?;
            site.submit_as("alice@example.com")?;
            site.endpoints().pop3s()?;
            fs::write(&cert, &good)?;
            site.reload(name)?;
            wait::for_true("the certificate", wait::LONG, || {
                Ok(refused(site, "certificate_loaded")? == 2)
            })?;
        }

        let file = site.configuration_file();
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("{text}\n[nonsense]\nx = 1\n"))?;
        let told = ends_with(site, 78, &["config", "check"])?;
        ensure!(
            told.contains("nonsense") && told.contains("no such section"),
            "{told}"
        );
        for name in ["authd", "smtpd", "qmgr", "deliver", "imapd", "pop3d"] {
            site.reload(name)?;
            wait::for_true("the refusal", wait::LONG, || {
                Ok(site
                    .events()
                    .all()?
                    .iter()
                    .any(|e| e["daemon"] == name && e["event"] == "config_refused"))
            })?;
        }
        fs::write(&file, &text)?;
        site.mailctl(&["config", "check"])?;
        site.smtp("mx")?.send(
            "out@a.test",
            &["alice@example.com"],
            "Subject: hi\r\n\r\nhello\r\n",
        )?;
        site.mailbox("alice@example.com").wait(1)?;
        Ok(())
    })
}

/// O02 of robustness.md: the decision log's disk is full, and mail flows.
#[test]
fn a_full_log_holds_nothing_up() -> Result<()> {
    Site::builder().run(|site| {
        let dir: PathBuf = site
            .mailctl(&["config", "show", "general.events_dir"])?
            .trim()
            .into();
        let names = ["authd", "smtpd", "deliver"];
        for name in names {
            let file = dir.join(format!("{name}.jsonl"));
            fs::rename(&file, dir.join(format!("{name}.jsonl.1")))?;
            std::os::unix::fs::symlink("/dev/full", &file)?;
            site.reload(name)?;
        }
        for count in 1..=20 {
            site.smtp("mx")?.send(
                "out@a.test",
                &["alice@example.com"],
                "Subject: hi\r\n\r\nhello\r\n",
            )?;
            site.mailbox("alice@example.com").wait(count)?;
        }
        for name in names {
            fs::remove_file(dir.join(format!("{name}.jsonl")))?;
            site.reload(name)?;
        }
        let reply =
            site.smtp("mx")?
                .send("out@a.test", &["bob@example.com"], "Subject: hi\r\n\r\nhello\r\n")?;
        let id = reply.queued_as()?.to_owned();
        site.events().wait("its delivery", |e| {
            e["event"] == "delivered" && e["id"] == id.as_str()
        })?;
        let all = site.events().all()?;
        ensure!(
            all.iter()
                .any(|e| e["daemon"] == "smtpd" && e["event"] == "events_dropped"),
            "nothing was counted"
        );
        Ok(())
    })
}

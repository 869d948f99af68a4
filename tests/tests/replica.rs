//! The copy of the directory: whatever happens to the database, known users receive, log in and read; what the copy does
//! not know is temporary. And several servers, TLS to them, and `mailctl directory`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::mariadb::{self, OUTAGE_LIMIT, Server};
use tests::outage::{self, Outage, Timed, auth, everything_works, imap_login, pop3_login, rcpt};
use tests::pki::Pki;
use tests::process::Process;
use tests::site::{Endpoints, PASSWORD, SiteBuilder};
use tests::{Site, wait};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// Answers come from the tables or the copy, never from a cache; a copy is made at the start and when asked for.
fn builder() -> SiteBuilder {
    Site::builder()
        .own_server()
        .alias("team@example.com", "alice@example.com,bob@example.com")
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .set("authd.address_cache_time", "0s")
        // Wrong passwords count while the replica answers too; whoever is denied after them would wait.
        .set("authd.auth_failure_delay", "0s")
}

/// Waits for the copy that authd makes at its start.
fn wait_for_copy(site: &Site) -> Result<()> {
    wait::for_true("the replica", wait::LONG, || {
        Ok(site.mailctl_json(&["directory", "status"])?["replica"]["usable"] == Value::Bool(true))
    })
}

fn with_copy(outage: Outage) -> Result<()> {
    builder().run(|site| {
        let relay = outage::with_relay(site)?;
        wait_for_copy(site)?;
        let starts: Vec<u32> = site.processes().iter().map(Process::starts).collect();
        site.submit_as(ALICE)?
            .send(ALICE, &[BOB], "Subject: before\r\n\r\n1\r\n")?;
        site.mailbox(BOB).wait(1)?;
        // A session that has begun goes on.
        let mut session = site.endpoints().imap_as(BOB, PASSWORD)?;
        outage.begin(site, &relay)?;
        known_users_are_served(site, 2).with_context(|| format!("{outage:?}"))?;
        session.select("INBOX")?;
        session.logout()?;
        let status = site.mailctl_json(&["directory", "status"])?;
        ensure!(status["source"] == "replica", "{status:#}");
        ensure!(
            status["replica"]["trouble"]["answers"].as_u64() > Some(5),
            "{status:#}"
        );
        println!("{outage:?}\n{}", site.mailctl(&["directory", "status"])?);
        outage.end(site, &relay)?;
        let endpoints = site.endpoints().clone();
        wait::for_true("normal service", 2 * OUTAGE_LIMIT, || {
            Ok(everything_works(&endpoints).is_ok())
        })
        .with_context(|| format!("{outage:?}: {:?}", everything_works(&endpoints)))?;
        wait::for_true("the end of the trouble", OUTAGE_LIMIT, || {
            Ok(site.mailctl_json(&["directory", "status"])?["source"] == "database")
        })?;
        let wrong = auth(site.endpoints(), ALICE, "wrong")?.0;
        ensure!(wrong.starts_with("535"), "{wrong}");
        let now: Vec<u32> = site.processes().iter().map(Process::starts).collect();
        ensure!(now == starts, "a daemon was started again");
        for event in ["replica_in_use", "replica_left", "replica_refreshed"] {
            site.events().wait(event, |told| told["event"] == event)?;
        }
        Ok(())
    })
}

/// Mail for known users is taken, delivered and read; everything else is temporary. All of it in time.
fn known_users_are_served(site: &Site, rounds: usize) -> Result<()> {
    let endpoints = site.endpoints();
    let before = site.mailbox(BOB).messages()?.len();
    for round in 0..rounds {
        let check = |what: &str, answer: Timed, wanted: &str| -> Result<()> {
            let (answer, took) = answer.with_context(|| what.to_owned())?;
            ensure!(answer.contains(wanted), "{what}, round {round}: {answer}");
            ensure!(took < OUTAGE_LIMIT, "{what}, round {round}: took {took:?}");
            Ok(())
        };
        check("RCPT", rcpt(endpoints, BOB), "250")?;
        check("RCPT of an alias", rcpt(endpoints, "team@example.com"), "250")?;
        check("RCPT with a tag", rcpt(endpoints, "bob+x@example.com"), "250")?;
        check(
            "RCPT of a stranger",
            rcpt(endpoints, "nobody@example.com"),
            "451 4.3.0",
        )?;
        check("RCPT elsewhere", rcpt(endpoints, "x@elsewhere.test"), "451 4.3.0")?;
        check("AUTH", auth(endpoints, ALICE, PASSWORD), "235")?;
        check(
            "AUTH, wrong password",
            auth(endpoints, ALICE, "wrong"),
            "454 4.7.0",
        )?;
        check(
            "AUTH of a stranger",
            auth(endpoints, "nobody@example.com", PASSWORD),
            "454 4.7.0",
        )?;
        check("IMAP", imap_login(endpoints, BOB, PASSWORD), "OK ")?;
        check(
            "IMAP, wrong password",
            imap_login(endpoints, BOB, "wrong"),
            "NO [UNAVAILABLE]",
        )?;
        check("POP3", pop3_login(endpoints, BOB, PASSWORD), "+OK")?;
        check(
            "POP3, wrong password",
            pop3_login(endpoints, BOB, "wrong"),
            "-ERR [SYS/TEMP]",
        )?;
        let text = format!("Subject: during {round}\r\n\r\nround {round}\r\n");
        site.submit_as(ALICE)?.send(ALICE, &["team@example.com"], &text)?;
        site.mailbox(BOB).wait(before + round + 1)?;
    }
    let mut imap = endpoints.imap_as(BOB, PASSWORD)?;
    let count = imap.select("INBOX")?;
    let last = imap.fetch_body(count)?;
    let expected = format!("round {}", rounds - 1);
    ensure!(String::from_utf8_lossy(&last).contains(&expected), "{last:?}");
    imap.logout()?;
    let mut pop3 = endpoints.pop3_as(BOB, PASSWORD)?;
    ensure!(pop3.stat()?.0 == count, "POP3 has another count");
    pop3.quit()
}

#[test]
fn the_database_is_stopped() -> Result<()> {
    with_copy(Outage::Stopped)
}

#[test]
fn the_database_is_killed() -> Result<()> {
    with_copy(Outage::Killed)
}

#[test]
fn the_database_refuses() -> Result<()> {
    with_copy(Outage::Refusing)
}

#[test]
fn the_database_is_slow() -> Result<()> {
    with_copy(Outage::Slow)
}

#[test]
fn the_database_answers_with_errors() -> Result<()> {
    with_copy(Outage::Errors)
}

#[test]
fn the_database_has_wrong_columns() -> Result<()> {
    with_copy(Outage::WrongColumns)
}

#[test]
fn authd_starts_while_the_database_is_away() -> Result<()> {
    builder().run(|site| {
        let relay = outage::with_relay(site)?;
        wait_for_copy(site)?;
        Outage::Killed.begin(site, &relay)?;
        site.restart("authd")?;
        known_users_are_served(site, 1)?;
        // Without the copy there is nothing to answer from.
        site.set("authd.replica.enabled", false)?;
        site.restart("authd")?;
        let answer = auth(site.endpoints(), ALICE, PASSWORD)?.0;
        ensure!(answer.starts_with("454"), "{answer}");
        // Too old a copy is not used either.
        site.set("authd.replica.enabled", true)?;
        site.set("authd.replica.refresh_interval", "1s")?;
        site.set("authd.replica.full_refresh_interval", "1s")?;
        site.set("authd.replica.max_age", "1s")?;
        site.restart("authd")?;
        wait::for_true("the copy to be too old", wait::LONG, || {
            Ok(rcpt(site.endpoints(), BOB)?.0.starts_with("451"))
        })?;
        Outage::Killed.end(site, &relay)
    })
}

#[test]
fn what_was_switched_off_before_stays_off() -> Result<()> {
    builder().account("carol@example.com").run(|site| {
        let relay = outage::with_relay(site)?;
        wait_for_copy(site)?;
        site.sql("UPDATE mailbox SET active = 0 WHERE username = 'alice@example.com'")?;
        site.sql("DELETE FROM mailbox WHERE username = 'carol@example.com'")?;
        site.sql("DELETE FROM alias WHERE address = 'carol@example.com'")?;
        let report = site.mailctl_json(&["directory", "refresh"])?;
        ensure!(report["whole"] == Value::Bool(true), "{report:#}");
        Outage::Refusing.begin(site, &relay)?;
        for user in [ALICE, "carol@example.com"] {
            let answer = auth(site.endpoints(), user, PASSWORD)?.0;
            ensure!(answer.starts_with("454"), "{user}: {answer}");
        }
        let answer = rcpt(site.endpoints(), "carol@example.com")?.0;
        ensure!(answer.starts_with("451"), "{answer}");
        let answer = auth(site.endpoints(), BOB, PASSWORD)?.0;
        ensure!(answer.starts_with("235"), "{answer}");
        Outage::Refusing.end(site, &relay)
    })
}

#[test]
fn the_file_and_what_mailctl_shows() -> Result<()> {
    builder().run(|site| {
        wait_for_copy(site)?;
        let file = site.directory().join("state/replica.sqlite");
        ensure!(
            fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600,
            "others can read it"
        );
        let status = site.mailctl_json(&["directory", "status"])?;
        ensure!(status["source"] == "database" && status["servers"][0]["works"] == Value::Bool(true));
        let tables = &status["replica"]["tables"];
        ensure!(
            tables["mailbox"]["rows"] == 2 && tables["mailbox"]["whole"] == Value::Bool(true),
            "{status:#}"
        );
        ensure!(
            tables["alias"]["rows"] == 3 && tables["domain"]["rows"] == 1,
            "{status:#}"
        );
        ensure!(status["replica"]["last"]["error"].is_null(), "{status:#}");
        let text = site.mailctl(&["directory", "status"])?;
        for wanted in [
            "source",
            "database, unix:",
            "2 mailbox",
            "last refresh",
            "next refresh",
        ] {
            ensure!(text.contains(wanted), "{wanted}: {text}");
        }
        let text = site.mailctl(&["directory", "refresh"])?;
        ensure!(text.starts_with("read 6 rows in "), "{text}");
        // The password is in the copy, so that logins work from it, and nowhere else.
        ensure!(
            !text.contains(PASSWORD) && !site.logs().contains(PASSWORD),
            "a secret is told"
        );
        Ok(())
    })
}

/// A second server with the same tables.
fn second_server(site: &mut Site) -> Result<Server> {
    let server = Server::private(&site.directory().join("state/mariadb2"))?;
    let name = site
        .settings()
        .get("authd.mysql.database")
        .and_then(|name| name.as_str().map(str::to_owned));
    let name = name.context("no database")?;
    server.execute("", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))?;
    let backend = tests::Backend::MARIADB;
    server.execute(&name, tests::schema::tables(backend))?;
    let (form, row) = (backend.form, |address| tests::schema::MailboxRow {
        address,
        password: "x",
        maildir: "example.com/bob/",
    });
    let password = tests::schema::password_column(form, PASSWORD);
    for address in [ALICE, BOB] {
        let row = tests::schema::MailboxRow {
            password: &password,
            ..row(address)
        };
        server.execute(&name, &tests::schema::insert_mailbox(form, &row))?;
    }
    server.execute(
        &name,
        &tests::schema::insert_domain(form, "example.com", "virtual", false),
    )?;
    // How a test sees which one answers.
    server.execute(&name, &tests::schema::insert_alias("second@example.com", BOB))?;
    Ok(server)
}

#[test]
fn another_server_answers_until_the_first_is_back() -> Result<()> {
    builder()
        .set("authd.replica.enabled", false)
        .set("authd.mysql.retry_interval", "1s")
        .run(|site| {
            let second = second_server(site)?;
            let first = site.database()?.server()?.socket().display().to_string();
            let hosts = [first, second.socket().display().to_string()].map(|path| format!("unix:{path}"));
            site.set("authd.mysql.hosts", hosts.to_vec())?;
            site.restart("authd")?;
            let which = |endpoints: &Endpoints| -> Result<String> {
                Ok(rcpt(endpoints, "second@example.com")?.0.chars().take(3).collect())
            };
            ensure!(which(site.endpoints())? == "550", "not the first server");
            for outage in [Outage::Killed, Outage::Stopped] {
                let process = site.database()?.server()?.process()?;
                match outage {
                    Outage::Killed => process.kill()?,
                    _ => process.signal(nix::sys::signal::Signal::SIGSTOP)?,
                }
                let begin = Instant::now();
                // No question fails: the first that meets the dead server goes on to the other one.
                ensure!(
                    which(site.endpoints())? == "250",
                    "{outage:?}: not the second server"
                );
                ensure!(
                    begin.elapsed() < OUTAGE_LIMIT,
                    "{outage:?}: {:?}",
                    begin.elapsed()
                );
                let login = auth(site.endpoints(), ALICE, PASSWORD)?.0;
                ensure!(login.starts_with("235"), "{outage:?}: {login}");
                let status = site.mailctl_json(&["directory", "status"])?;
                ensure!(
                    status["servers"][0]["works"] == Value::Bool(false)
                        && status["servers"][1]["works"] == Value::Bool(true),
                    "{status:#}"
                );
                match outage {
                    Outage::Killed => site.database()?.server()?.start()?,
                    _ => site
                        .database()?
                        .server()?
                        .process()?
                        .signal(nix::sys::signal::Signal::SIGCONT)?,
                }
                wait::for_true("the first server again", wait::LONG, || {
                    Ok(which(site.endpoints())? == "550")
                })
                .with_context(|| format!("{outage:?}"))?;
            }
            Ok(())
        })
}

#[test]
fn changes_go_to_the_server_that_takes_them() -> Result<()> {
    builder().set("authd.replica.enabled", false).run(|site| {
        let second = second_server(site)?;
        // An account without the right to write to read-only servers, on both.
        let account = "CREATE USER mail@localhost IDENTIFIED BY 'Db secret 1'; \
                       GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO mail@localhost";
        second.execute("", account)?;
        site.sql(account)?;
        site.sql("SET GLOBAL read_only = 1")?;
        let first = site.database()?.server()?.socket().display().to_string();
        let hosts = [first, second.socket().display().to_string()].map(|path| format!("unix:{path}"));
        site.set("authd.mysql.user", "mail")?;
        site.set("authd.mysql.hosts", hosts.to_vec())?;
        site.restart("authd")?;
        site.mailctl(&["alias", "add", "new@example.com", BOB])?;
        let name = site
            .settings()
            .get("authd.mysql.database")
            .context("no database")?;
        let name = name.as_str().context("no name")?.to_owned();
        second.execute(
            &name,
            "DO 1 / (SELECT COUNT(*) FROM alias WHERE address = 'new@example.com')",
        )?;
        let count = "SELECT 1 / IF(COUNT(*) = 1, 1, 0) FROM alias WHERE address = 'new@example.com'";
        second.execute(
            &name,
            &format!(
                "SET sql_mode = 'ERROR_FOR_DIVISION_BY_ZERO,STRICT_ALL_TABLES'; \
             CREATE TABLE proof AS {count}"
            ),
        )?;
        // Where all are read-only the operator is told so.
        second.execute("", "SET GLOBAL read_only = 1")?;
        let output = site.mailctl_output(&["alias", "add", "more@example.com", BOB])?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && text.contains("read-only"), "{text}");
        Ok(())
    })
}

/// A server that wants TLS of authd's account, with a database `mail`.
fn tls_server(directory: &Path, pki: &Pki) -> Result<(Server, u16)> {
    let tls = [
        format!("--ssl-ca={}", pki.ca_file.display()),
        format!("--ssl-cert={}", pki.certificate_file.display()),
        format!("--ssl-key={}", pki.key_file.display()),
    ];
    let (server, port) = Server::with_network(directory, &tls)?;
    let account = format!(
        "CREATE USER '{0}'@'127.0.0.1' IDENTIFIED BY '{1}' REQUIRE SSL; GRANT ALL ON *.* TO '{0}'@'127.0.0.1'; \
         CREATE DATABASE mail CHARACTER SET utf8mb4",
        mariadb::USER,
        mariadb::PASSWORD
    );
    server.execute("", &account)?;
    let backend = tests::Backend::MARIADB;
    server.execute("mail", tests::schema::tables(backend))?;
    let domain = tests::schema::insert_domain(backend.form, "tls.test", "virtual", false);
    server.execute("mail", &domain)?;
    server.execute(
        "mail",
        &tests::schema::insert_alias("a@tls.test", "x@elsewhere.test"),
    )?;
    Ok((server, port))
}

#[test]
fn tls_to_the_database_is_verified() -> Result<()> {
    let place = tempfile::tempdir()?;
    let names = ["127.0.0.1".to_owned()];
    let pki = Pki::create(&place.path().join("db"), &names)?;
    let other = Pki::create(&place.path().join("other"), &names)?;
    let wrong_name = Pki::create(&place.path().join("name"), &["db.elsewhere.test".to_owned()])?;
    let (_good, port) = tls_server(&place.path().join("good"), &pki)?;
    let (_misnamed, misnamed_port) = tls_server(&place.path().join("misnamed"), &wrong_name)?;
    Site::builder()
        .own_server()
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .set("authd.replica.enabled", false)
        .run(|site| {
            let public = |site: &Site, pki: &Pki, name: &str| -> Result<String> {
                let path = site.directory().join(format!("etc/{name}.pem"));
                fs::copy(&pki.ca_file, &path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
                Ok(path.display().to_string())
            };
            let authorities = public(site, &pki, "db-ca")?;
            let others = public(site, &other, "other-ca")?;
            let misnamed = public(site, &wrong_name, "misnamed-ca")?;
            let asked =
                |site: &mut Site, port: u16, tls: &str, ca: Option<&str>| -> Result<(String, String)> {
                    site.set("authd.mysql.database", "mail")?;
                    site.set("authd.mysql.hosts", vec![format!("127.0.0.1:{port}")])?;
                    site.set("authd.mysql.tls", tls)?;
                    if let Some(ca) = ca {
                        site.set("authd.mysql.tls_ca_file", ca)?;
                    }
                    site.restart("authd")?;
                    let before = site.logs().len();
                    let answer = rcpt(site.endpoints(), "a@tls.test")?.0;
                    let logs = site.logs();
                    Ok((answer, logs[before.min(logs.len())..].to_owned()))
                };
            // The server wants TLS: without it there is no answer.
            let (answer, _) = asked(site, port, "off", None)?;
            ensure!(answer.starts_with("451"), "TLS off: {answer}");
            let (answer, _) = asked(site, port, "required", Some(&authorities))?;
            ensure!(answer.starts_with("250"), "the right authority: {answer}");
            let (answer, _) = asked(site, port, "required", Some(&others))?;
            ensure!(answer.starts_with("451"), "another authority: {answer}");
            let status = site.mailctl(&["directory", "status"])?;
            ensure!(
                // The two authorities have the same name, so either is right.
                status.contains("certificate")
                    && (status.contains("UnknownIssuer") || status.contains("BadSignature")),
                "{status}"
            );
            let (answer, _) = asked(site, misnamed_port, "required", Some(&misnamed))?;
            ensure!(answer.starts_with("451"), "another name: {answer}");
            let status = site.mailctl(&["directory", "status"])?;
            ensure!(
                status.contains("certificate") && status.contains("not valid for name"),
                "{status}"
            );
            ensure!(
                site.logs().contains("certificate"),
                "the log says nothing about the certificate"
            );
            Ok(())
        })
}

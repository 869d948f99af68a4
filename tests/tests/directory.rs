//! authd over every database that it supports, asked over its sockets: the same rows, the same answers, and
//! what it says while the database is away.

#[path = "../../crates/authd/tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use auth_api::admin::{AliasRecord, DomainRecord, DomainUpdate, NewMailbox, Which};
use auth_api::client::Client;
use auth_api::directory::{MailboxAnswer, Route, Target, Verdict};
use auth_api::sasl::LoginStep;
use auth_api::{Role, Trace};
use common::{Authd, address, context, domain, plain};
use mail_types::Secret;
use nix::sys::signal::Signal;
use tests::backend::{Backend, Database, Engine, Form};
use tests::mariadb::{OUTAGE_LIMIT, PASSWORD, USER};
use tests::schema::{self, MailboxRow};
use tests::wait;
use tokio::runtime::Runtime;

/// An authd over a database with the tables of a form.
struct Bench {
    runtime: Runtime,
    database: Database,
    authd: Authd,
    form: Form,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(backend: Backend, own_server: bool) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let database = Database::create(backend.engine, dir.path(), own_server)?;
        database.load(backend)?;
        let extra = match &database {
            Database::Sqlite { path } => format!("[authd]\nsqlite_file = \"{}\"\n", path.display()),
            Database::MariaDb { server, name } => {
                let password = dir.path().join("password");
                std::fs::write(&password, format!("{PASSWORD}\n"))?;
                std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
                // What is tested is the database alone: nothing may answer in its place.
                format!(
                    "[authd]\nbackend = \"mysql\"\naddress_cache_time = \"0s\"\n[authd.replica]\nenabled = false\n\
                     [authd.mysql]\nhosts = [\"unix:{}\"]\nuser = \"{USER}\"\n\
                     password_file = \"{}\"\ndatabase = \"{name}\"\n",
                    server.socket().display(),
                    password.display()
                )
            }
        };
        let runtime = Runtime::new()?;
        let authd = runtime.block_on(Authd::configured(&extra));
        Ok(Self {
            runtime,
            database,
            authd,
            form: backend.form,
            _dir: dir,
        })
    }

    fn mailbox(&self, address: &str, password: &str) -> Result<()> {
        let password = schema::password_column(self.form, password);
        let maildir = format!("{}/", address.replace('\'', ""));
        let row = MailboxRow {
            address,
            password: &password,
            maildir: &maildir,
        };
        self.database.execute(&schema::insert_mailbox(self.form, &row))
    }

    fn deliveries(&self, recipient: &str) -> Result<String> {
        let smtpd = self.authd.client(Role::Smtpd);
        let resolution = self
            .runtime
            .block_on(smtpd.resolve(&address(recipient), Trace::default()))?;
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
                texts.collect::<Vec<_>>().join(" ")
            }
            Verdict::Refuse(refusal) => format!("{} {}", refusal.code, refusal.status),
            Verdict::ExpansionError(_) => "expansion error".into(),
        })
    }

    fn login(&self, login: &str, password: &str) -> LoginStep {
        let imapd = self.authd.client(Role::Imapd);
        self.runtime
            .block_on(imapd.login(&context(), "PLAIN", Some(plain(login, password))))
            .0
    }

    fn end(self) {
        self.runtime.block_on(self.authd.stop());
    }
}

/// Rows as sites have them, and the answers of compat.md 1.4, 1.5 and 2.3.
fn rows(backend: Backend) -> Result<()> {
    let bench = Bench::new(backend, false)?;
    let execute = |sql: &str| bench.database.execute(sql);
    execute(&schema::insert_domain(bench.form, "d.test", "virtual", false))?;
    execute(&schema::insert_domain(bench.form, "ALL", "", false))?;
    execute(&schema::insert_domain(bench.form, "off.test", "", false))?;
    execute("UPDATE domain SET active = 0 WHERE domain = 'off.test'")?;
    execute(&schema::insert_domain(bench.form, "backup.test", "virtual", true))?;
    execute(&schema::insert_domain(
        bench.form,
        "relay.test",
        "smtp:[192.0.2.9]:26",
        false,
    ))?;
    bench.mailbox("alice@d.test", "Secret 1")?;
    bench.mailbox("o'neil@d.test", "Secret 2")?;
    bench.mailbox("off@d.test", "Secret 3")?;
    execute("UPDATE mailbox SET active = 0 WHERE username = 'off@d.test'")?;
    bench.mailbox("x@off.test", "Secret 4")?;
    execute(&schema::insert_alias(
        "list@d.test",
        "alice@d.test,\n far@away.test",
    ))?;

    for (recipient, answer) in [
        ("alice@d.test", "alice@d.test"),
        ("ALICE+tag@D.TEST", "ALICE+tag@d.test"),
        ("o'neil@d.test", "o'neil@d.test"),
        ("list+x@d.test", "alice+x@d.test @far+x@away.test"),
        ("off@d.test", "550 5.1.1"),
        ("x@off.test", "@x@off.test"),
        ("any@backup.test", "@any@backup.test"),
        ("any@relay.test", "@any@relay.test"),
        // Collations and patterns that the database would take for alice, and what it cannot hold.
        ("\"alice \"@d.test", "550 5.1.1"),
        ("älice@d.test", "550 5.1.1"),
        ("%@d.test", "550 5.1.1"),
        ("_lice@d.test", "550 5.1.1"),
        ("\"x' OR '1'='1\"@d.test", "550 5.1.1"),
        ("\"\\\\' OR 1=1-- \"@d.test", "550 5.1.1"),
        ("иван@d.test", "550 5.1.1"),
        ("😀@d.test", "550 5.1.1"),
    ] {
        let told = bench.deliveries(recipient)?;
        ensure!(told == answer, "{recipient}: {told}, not {answer}");
    }
    ensure!(bench.deliveries("x@all")? == "@x@all", "the pseudo domain ALL");

    execute(&schema::insert_alias("@d.test", "alice@d.test"))?;
    ensure!(bench.deliveries("nobody@d.test")? == "alice@d.test", "catch-all");
    ensure!(
        bench.deliveries("o'neil@d.test")? == "o'neil@d.test",
        "catch-all beside a mailbox"
    );
    if bench.form != Form::V2_1 {
        execute(&schema::insert_alias_domain("mirror.test", "d.test"))?;
        ensure!(
            bench.deliveries("list@mirror.test")? == "alice@d.test @far@away.test",
            "alias domain"
        );
        ensure!(
            bench.deliveries("o'neil@mirror.test")? == "o'neil@d.test",
            "alias domain"
        );
    }

    logins_and_questions(&bench)?;
    odd_columns(&bench)?;
    bench.end();
    Ok(())
}

/// Logins, a route and a mailbox of the rows above.
fn logins_and_questions(bench: &Bench) -> Result<()> {
    ensure!(
        matches!(bench.login("Alice@d.test", "Secret 1"), LoginStep::Success(_)),
        "login"
    );
    for (login, password) in [
        ("alice@d.test", "secret 1"),
        ("alice @d.test", "Secret 1"),
        ("off@d.test", "Secret 3"),
        ("x@off.test", "Secret 4"),
        ("😀@d.test", "x"),
    ] {
        let step = bench.login(login, password);
        ensure!(matches!(step, LoginStep::Denied { .. }), "{login}: {step:?}");
    }
    let route = bench.authd.client(Role::Qmgr);
    let route = bench
        .runtime
        .block_on(route.route(&address("u@relay.test"), Trace::default()))?;
    ensure!(
        matches!(&route, Route::Smtp(hop) if hop.port == Some(26) && !hop.use_mx),
        "{route:?}"
    );
    let deliver = bench.authd.client(Role::Deliver);
    let answer = bench
        .runtime
        .block_on(deliver.lookup_mailbox(&address("alice+x@d.test"), Trace::default()))?;
    ensure!(
        matches!(&answer, MailboxAnswer::Found(m) if m.maildir == "alice@d.test/"),
        "{answer:?}"
    );
    Ok(())
}

/// NULLs, upper case, and a hash that nobody can afford.
fn odd_columns(bench: &Bench) -> Result<()> {
    let execute = |sql: &str| bench.database.execute(sql);
    if bench.form == Form::V2_1 {
        execute("UPDATE domain SET transport = NULL WHERE domain = 'd.test'")?;
        ensure!(
            bench.deliveries("alice@d.test")? == "alice@d.test",
            "transport NULL"
        );
    }
    if matches!(bench.database, Database::MariaDb { .. }) {
        // A collation without case finds it, and so do we.
        bench.mailbox("Mixed@D.test", "Secret 5")?;
        ensure!(
            bench.deliveries("mixed@d.test")? == "mixed@d.test",
            "stored in upper case"
        );
        ensure!(
            matches!(bench.login("mixed@d.test", "Secret 5"), LoginStep::Success(_)),
            "upper case"
        );
    }
    execute(
        "UPDATE mailbox SET password = '$2y$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e' WHERE username = 'alice@d.test'",
    )?;
    let begin = Instant::now();
    let step = bench.login("alice@d.test", "Secret 1");
    ensure!(matches!(step, LoginStep::TemporaryFailure { .. }), "{step:?}");
    ensure!(
        begin.elapsed() < Duration::from_secs(1),
        "hashed before it was checked"
    );
    Ok(())
}

/// The Admin service writes what the form has columns for.
fn administration(backend: Backend) -> Result<()> {
    let bench = Bench::new(backend, false)?;
    let admin = bench.authd.client(Role::Admin);
    bench.runtime.block_on(async {
        admin.create_domain(DomainRecord::new(domain("d.test"))).await?;
        ensure!(
            admin
                .create_domain(DomainRecord::new(domain("d.test")))
                .await
                .is_err(),
            "twice"
        );
        for name in ["alice@d.test", "bob@d.test"] {
            let mut mailbox = NewMailbox::new(address(name), Secret::new("Secret 1"));
            mailbox.name = "Ä name".into();
            mailbox.quota = 1_024_000;
            admin.create_mailbox(mailbox).await?;
        }
        let team = AliasRecord::new("team@d.test", vec!["alice@d.test".into(), "bob@d.test".into()]);
        admin.create_alias(team).await?;
        let same = DomainUpdate {
            active: Some(true),
            ..DomainUpdate::default()
        };
        // Twice within a second: no column changes, and it is no error.
        admin.update_domain(&domain("d.test"), same.clone()).await?;
        admin.update_domain(&domain("d.test"), same).await?;
        admin
            .set_password(&address("alice@d.test"), Secret::new("Secret 2"))
            .await?;
        admin.delete_mailbox(&address("bob@d.test")).await?;
        let mailboxes = admin.mailboxes(Which::Domain(domain("d.test"))).all().await?;
        ensure!(
            mailboxes.len() == 1 && mailboxes[0].name == "Ä name",
            "{mailboxes:?}"
        );
        ensure!(
            mailboxes[0].quota == 1_024_000 && mailboxes[0].maildir == "d.test/alice/",
            "{mailboxes:?}"
        );
        let aliases = admin.aliases(Which::All).all().await?;
        ensure!(
            aliases
                .iter()
                .any(|a| a.address == "team@d.test" && a.goto == ["alice@d.test"]),
            "{aliases:?}"
        );
        ensure!(admin.domains(None).all().await?.len() == 1, "domains");
        anyhow::Ok(())
    })?;
    let step = bench.login("alice@d.test", "Secret 2");
    ensure!(matches!(step, LoginStep::Success(_)), "{step:?}");
    ensure!(
        bench.deliveries("team@d.test")? == "alice@d.test",
        "after the deletion"
    );
    bench.runtime.block_on(admin.delete_domain(&domain("d.test")))?;
    ensure!(
        bench.deliveries("alice@d.test")? == "@alice@d.test",
        "after the domain"
    );
    bench.end();
    Ok(())
}

macro_rules! on_every_database {
    ($($name:ident: $engine:ident $form:ident;)*) => {$(
        mod $name {
            use super::*;
            const BACKEND: Backend = Backend { engine: Engine::$engine, form: Form::$form };

            #[test]
            fn rows() -> Result<()> {
                super::rows(BACKEND).with_context(|| BACKEND.to_string())
            }

            #[test]
            fn administration() -> Result<()> {
                super::administration(BACKEND).with_context(|| BACKEND.to_string())
            }
        }
    )*};
}
on_every_database! {
    sqlite_2_1: Sqlite V2_1;
    sqlite_3_3: Sqlite V3_3;
    sqlite_4_0: Sqlite V4_0;
    mariadb_2_1: MariaDb V2_1;
    mariadb_3_3: MariaDb V3_3;
    mariadb_4_0: MariaDb V4_0;
}

/// Every question once; how many were answered. Each ends in time, and none is answered "no".
async fn ask_everything(client: &Client, logins: &Client) -> Result<usize> {
    let begin = Instant::now();
    let alice = address("alice@d.test");
    let resolved = client.resolve(&alice, Trace::default()).await.is_ok();
    let routed = client.route(&alice, Trace::default()).await.is_ok();
    let found = client.lookup_mailbox(&alice, Trace::default()).await.is_ok();
    ensure!(begin.elapsed() < 3 * OUTAGE_LIMIT, "{:?}", begin.elapsed());
    let begin = Instant::now();
    let (step, _) = logins
        .login(&context(), "PLAIN", Some(plain("alice@d.test", "Secret 1")))
        .await;
    ensure!(begin.elapsed() < OUTAGE_LIMIT, "{:?}", begin.elapsed());
    ensure!(!matches!(step, LoginStep::Denied { .. }), "{step:?}");
    let granted = matches!(step, LoginStep::Success(_));
    Ok([resolved, routed, found, granted]
        .into_iter()
        .filter(|&answered| answered)
        .count())
}

fn outage(
    away: impl Fn(&mut Database) -> Result<()>,
    back: impl Fn(&mut Database) -> Result<()>,
) -> Result<()> {
    let mut bench = Bench::new(Backend::MARIADB, true)?;
    // The harness runs it without; the rows of this test are to survive the kill.
    bench
        .database
        .execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")?;
    bench
        .database
        .execute(&schema::insert_domain(bench.form, "d.test", "virtual", false))?;
    bench.mailbox("alice@d.test", "Secret 1")?;
    let (client, logins) = (bench.authd.client(Role::Admin), bench.authd.client(Role::Imapd));
    ensure!(
        bench.runtime.block_on(ask_everything(&client, &logins))? == 4,
        "before"
    );

    away(&mut bench.database)?;
    // Fifty at a time, twice: before the breaker opens, and after.
    for _ in 0..2 {
        bench.runtime.block_on(async {
            let mut crowd = tokio::task::JoinSet::new();
            for _ in 0..50 {
                let (client, logins) = (client.clone(), logins.clone());
                crowd.spawn(async move {
                    let begin = Instant::now();
                    let alice = address("alice@d.test");
                    let question = client.resolve(&alice, Trace::default()).await;
                    let (step, _) = logins
                        .login(&context(), "PLAIN", Some(plain("alice@d.test", "wrong")))
                        .await;
                    ensure!(question.is_err(), "{question:?}");
                    ensure!(matches!(step, LoginStep::TemporaryFailure { .. }), "{step:?}");
                    ensure!(begin.elapsed() < 2 * OUTAGE_LIMIT, "{:?}", begin.elapsed());
                    anyhow::Ok(())
                });
            }
            while let Some(ended) = crowd.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        })?;
    }
    ensure!(
        bench.runtime.block_on(ask_everything(&client, &logins))? == 0,
        "while it is away"
    );

    back(&mut bench.database)?;
    let returned = Instant::now();
    wait::for_true("normal service", OUTAGE_LIMIT, || {
        Ok(bench.runtime.block_on(ask_everything(&client, &logins))? == 4)
    })?;
    println!(
        "normal service {:.1} s after the return",
        returned.elapsed().as_secs_f64()
    );
    let told = format!("{:?}", bench.authd.events.all());
    ensure!(
        told.contains("DatabaseLost") && told.contains("DatabaseBack"),
        "the decision log"
    );
    bench.end();
    Ok(())
}

#[test]
fn a_server_that_is_stopped_and_goes_on() -> Result<()> {
    outage(
        |database| database.server()?.process()?.signal(Signal::SIGSTOP),
        |database| database.server()?.process()?.signal(Signal::SIGCONT),
    )
}

#[test]
fn a_server_that_is_killed_and_started() -> Result<()> {
    outage(
        |database| database.server()?.process()?.kill(),
        |database| database.server()?.start(),
    )
}

/// The bare postmaster over a real database.
#[test]
fn the_bare_postmaster() -> Result<()> {
    let bench = Bench::new(Backend::SQLITE, false)?;
    bench.database.execute(&schema::insert_domain(
        bench.form,
        "example.com",
        "virtual",
        false,
    ))?;
    bench.mailbox("alice@example.com", "Secret 1")?;
    let smtpd = bench.authd.client(Role::Smtpd);
    let resolution = bench
        .runtime
        .block_on(smtpd.resolve_postmaster(Trace::default()))?;
    ensure!(
        matches!(resolution.verdict, Verdict::Deliver(_)),
        "{resolution:?}"
    );
    bench.end();
    Ok(())
}

/// SIGHUP puts a new configuration in force; one that cannot be used leaves the old one.
#[test]
fn a_reload_takes_effect() -> Result<()> {
    tests::Site::builder().only(&["authd"]).run(|site| {
        let socket = site.directory().join("run/authd/smtpd/sock");
        let runtime = Runtime::new()?;
        let smtpd = runtime.block_on(async { Client::connect(socket) });
        let exists = || -> Result<bool> {
            let recipient = address("alice-tag@example.com");
            let question = smtpd.resolve(&recipient, Trace::default());
            Ok(matches!(runtime.block_on(question)?.verdict, Verdict::Deliver(_)))
        };
        ensure!(!exists()?, "with the delimiter +");
        site.set("general.recipient_delimiter", "-")?;
        site.reload("authd")?;
        wait::for_true("the new delimiter", OUTAGE_LIMIT, exists)?;
        site.set("authd.virtual_alias_expansion_limit", 0)?;
        site.reload("authd")?;
        ensure!(exists()?, "after a configuration that cannot be used");
        Ok(())
    })
}

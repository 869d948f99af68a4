//! The Admin service on every database and form of the tables: each change with its rows and its entry in the log, limits,
//! and changes at the same time.

#[path = "../../crates/authd/tests/common/mod.rs"]
mod common;

use anyhow::{Result, ensure};
use auth_api::Role;
use auth_api::admin::{
    AdminError, AdministratorUpdate, AliasDomainUpdate, AliasRecord, AliasUpdate, DomainRecord, DomainUpdate,
    MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox, VacationRecord, Which,
};
use auth_api::client::Client;
use common::{Authd, address, domain};
use mail_types::Secret;
use tests::Site;
use tests::backend::{Backend, Database, Engine, Form, each};
use tests::mariadb::{PASSWORD, USER};
use tokio::runtime::Runtime;

/// An authd over a database with the tables of a form.
struct Bench {
    runtime: Runtime,
    database: Database,
    authd: Authd,
    admin: Client,
    form: Form,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(backend: Backend) -> Result<Self> {
        Self::with_account(backend, USER, "")
    }

    /// `user` for the questions of mail, and more lines for `[authd.mysql]`.
    fn with_account(backend: Backend, user: &str, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let database = Database::create(backend.engine, dir.path(), false)?;
        database.load(backend)?;
        let password = dir.path().join("password");
        std::fs::write(&password, format!("{PASSWORD}\n"))?;
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
        let extra = match &database {
            Database::Sqlite { path } => format!("sqlite_file = \"{}\"\n", path.display()),
            Database::MariaDb { server, name } => format!(
                "backend = \"mysql\"\n[authd.mysql]\nhosts = [\"unix:{}\"]\nuser = \"{user}\"\n\
                 password_file = \"{}\"\ndatabase = \"{name}\"\n{}",
                server.socket().display(),
                password.display(),
                more.replace("FILE", &password.display().to_string())
            ),
        };
        let runtime = Runtime::new()?;
        let authd = runtime.block_on(Authd::configured(&format!(
            "[authd]\nvacation_domain = \"autoreply.test\"\n{extra}"
        )));
        Ok(Self {
            admin: authd.client(Role::Admin),
            runtime,
            database,
            authd,
            form: backend.form,
            _dir: dir,
        })
    }

    /// Waits for a call of the service.
    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// With d.test and alice, bob and carol in it.
    fn with_people(backend: Backend) -> Result<Self> {
        let bench = Self::new(backend)?;
        bench.wait(bench.admin.create_domain(DomainRecord::new(domain("d.test"))))?;
        for name in ["alice@d.test", "bob@d.test", "carol@d.test"] {
            bench.mailbox(name)?;
        }
        Ok(bench)
    }

    fn mailbox(&self, name: &str) -> Result<(), AdminError> {
        let mailbox = NewMailbox::new(address(name), Secret::new("secret 1"));
        self.wait(self.admin.create_mailbox(mailbox))
    }

    fn alias(&self, name: &str, goto: &[&str]) -> Result<(), AdminError> {
        let goto = goto.iter().map(|&target| target.to_owned()).collect();
        self.wait(self.admin.create_alias(AliasRecord::new(name, goto)))
    }

    /// Whether the rows are these.
    fn holds(&self, sql: &str, rows: &[&str]) -> Result<()> {
        let found = self.database.rows(sql)?;
        ensure!(found == rows, "{sql}: {found:?}, not {rows:?}");
        Ok(())
    }

    /// Whether the latest entry of the log is this, and no other is of the same change.
    fn logged(&self, action: &str, of_domain: &str, data: &str, entries: usize) -> Result<()> {
        let log = self
            .database
            .rows("SELECT username, domain, action, data FROM log")?;
        let expected = format!("mailctl (localhost)|{of_domain}|{action}|{data}");
        ensure!(
            log.len() == entries && log.contains(&expected),
            "{expected}, {entries} in all: {log:?}"
        );
        Ok(())
    }

    fn end(self) {
        self.runtime.block_on(self.authd.stop());
    }
}

/// What an administrator hears who asks for something that makes no sense.
fn refused(result: Result<(), AdminError>, with: &str) -> Result<()> {
    match result {
        Err(AdminError::Invalid(text)) if text.contains(with) => Ok(()),
        other => anyhow::bail!("{other:?}, not a refusal with {with:?}"),
    }
}

/// What he hears where the account of the database lacks a right.
fn denied(result: Result<(), AdminError>, with: &str) -> Result<()> {
    match result {
        Err(AdminError::Denied(text)) if text.contains(with) => Ok(()),
        other => anyhow::bail!("{other:?}, not a missing right with {with:?}"),
    }
}

fn is_missing(result: Result<(), AdminError>) -> Result<()> {
    match result {
        Err(AdminError::NotFound(_)) => Ok(()),
        other => anyhow::bail!("{other:?}, not `not found`"),
    }
}

fn domains(backend: Backend) -> Result<()> {
    let bench = Bench::new(backend)?;
    let admin = &bench.admin;
    let old = bench.form == Form::V2_1;
    let mut record = DomainRecord::new(domain("d.test"));
    record.aliases = 3;
    record.maxquota = 10;
    bench.wait(admin.create_domain(record.clone()))?;
    bench.logged("create_domain", "d.test", "d.test", 1)?;
    bench.holds(
        "SELECT domain, aliases, mailboxes, maxquota, transport, backupmx, active FROM domain",
        &["d.test|3|0|10|virtual|0|1"],
    )?;
    ensure!(bench.wait(admin.domains(None).all())? == [record.clone()]);
    ensure!(matches!(
        bench.wait(admin.create_domain(record)),
        Err(AdminError::Exists(_))
    ));
    let pseudo = DomainRecord::new(domain("autoreply.test"));
    refused(bench.wait(admin.create_domain(pseudo)), "automatic replies")?;

    let update = DomainUpdate {
        active: Some(false),
        mailboxes: Some(-1),
        ..DomainUpdate::default()
    };
    bench.wait(admin.update_domain(&domain("d.test"), update.clone()))?;
    bench.logged("edit_domain", "d.test", "d.test", 2)?;
    bench.holds("SELECT active, mailboxes, aliases FROM domain", &["0|-1|3"])?;
    is_missing(bench.wait(admin.update_domain(&domain("other.test"), update)))?;
    let newer = DomainUpdate {
        quota: Some(50),
        password_expiry: Some(90),
        ..DomainUpdate::default()
    };
    let result = bench.wait(admin.update_domain(&domain("d.test"), newer));
    if old {
        refused(result, "domain.quota")?;
    } else {
        result?;
        bench.holds("SELECT quota, password_expiry FROM domain", &["50|90"])?;
    }
    bench.end();
    Ok(())
}

fn mirrors(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    let before = bench.database.rows("SELECT * FROM log")?.len();
    let mut mirror = DomainRecord::new(domain("m.test"));
    mirror.alias_of = Some(domain("d.test"));
    let made = bench.wait(admin.create_domain(mirror));
    if bench.form == Form::V2_1 {
        refused(made, "alias_domain")?;
        bench.holds("SELECT domain FROM domain", &["d.test"])?;
        bench.end();
        return Ok(());
    }
    made?;
    bench.logged("create_alias_domain", "m.test", "m.test", before + 2)?;
    let listed = bench.wait(admin.domains(None).all())?;
    ensure!(listed[1].alias_of == Some(domain("d.test")), "{listed:?}");
    let mut chain = DomainRecord::new(domain("n.test"));
    chain.alias_of = Some(domain("m.test"));
    refused(bench.wait(admin.create_domain(chain)), "mirror")?;
    bench.holds("SELECT COUNT(*) FROM domain", &["2"])?;

    let off = AliasDomainUpdate {
        active: Some(false),
        ..AliasDomainUpdate::default()
    };
    bench.wait(admin.update_alias_domain(&domain("m.test"), off))?;
    bench.logged("edit_alias_domain_state", "m.test", "m.test", before + 3)?;
    bench.wait(admin.create_domain(DomainRecord::new(domain("e.test"))))?;
    let elsewhere = AliasDomainUpdate {
        target_domain: Some(domain("e.test")),
        active: Some(true),
    };
    bench.wait(admin.update_alias_domain(&domain("m.test"), elsewhere))?;
    bench.logged("edit_alias_domain", "m.test", "m.test", before + 5)?;
    bench.holds(
        "SELECT * FROM (SELECT target_domain, active FROM alias_domain) x",
        &["e.test|1"],
    )?;
    bench.wait(admin.delete_alias_domain(&domain("m.test")))?;
    bench.logged("delete_alias_domain", "m.test", "m.test", before + 6)?;
    is_missing(bench.wait(admin.delete_alias_domain(&domain("m.test"))))?;
    bench.end();
    Ok(())
}

fn mailboxes(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    bench.logged("create_mailbox", "d.test", "carol@d.test", 4)?;
    bench.holds(
        "SELECT a.address, a.goto, a.active, m.maildir FROM alias a JOIN mailbox m ON username = address \
         WHERE username = 'bob@d.test'",
        &["bob@d.test|bob@d.test|1|d.test/bob/"],
    )?;
    let bob = address("bob@d.test");
    let state = |active| MailboxUpdate {
        active: Some(active),
        ..MailboxUpdate::default()
    };
    bench.wait(admin.update_mailbox(&bob, state(false)))?;
    bench.logged("edit_mailbox_state", "d.test", "bob@d.test", 5)?;
    let of_bob = "SELECT m.active, a.active FROM mailbox m JOIN alias a ON username = address \
                  WHERE username = 'bob@d.test'";
    bench.holds(of_bob, &["0|0"])?;
    let update = MailboxUpdate {
        name: Some("Robert".into()),
        quota: Some(2_048_000),
        active: Some(true),
        ..MailboxUpdate::default()
    };
    bench.wait(admin.update_mailbox(&bob, update))?;
    bench.logged("edit_mailbox", "d.test", "bob@d.test", 6)?;
    bench.holds(of_bob, &["1|1"])?;

    let newer = MailboxUpdate {
        smtp_active: Some(false),
        phone: Some("12".into()),
        ..MailboxUpdate::default()
    };
    let result = bench.wait(admin.update_mailbox(&bob, newer));
    match bench.form {
        Form::V4_0 => {
            result?;
            let listed = bench.wait(admin.mailboxes(Which::Domain(domain("d.test"))).all())?;
            ensure!(!listed[1].smtp_active && listed[1].phone == "12" && listed[0].smtp_active);
        }
        Form::V2_1 | Form::V3_3 => refused(result, "mailbox.smtp_active")?,
    }
    if bench.form == Form::V2_1 {
        let large = MailboxUpdate {
            quota: Some(3 << 30),
            ..MailboxUpdate::default()
        };
        refused(bench.wait(admin.update_mailbox(&bob, large)), "2147483647")?;
    }

    bench.alias("team@d.test", &["alice@d.test", "bob@d.test"])?;
    bench.alias("only@d.test", &["bob@d.test"])?;
    let entries = bench.database.rows("SELECT * FROM log")?.len();
    bench.wait(admin.delete_mailbox(&bob))?;
    bench.logged("delete_mailbox", "d.test", "bob@d.test", entries + 1)?;
    bench.holds(
        "SELECT address, goto FROM alias WHERE address NOT IN ('alice@d.test', 'carol@d.test')",
        &["team@d.test|alice@d.test"],
    )?;
    is_missing(bench.wait(admin.delete_mailbox(&bob)))?;
    bench.end();
    Ok(())
}

fn passwords(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    let alice = address("alice@d.test");
    let before = bench
        .database
        .rows("SELECT password FROM mailbox ORDER BY username")?;
    bench.wait(admin.set_password(&alice, Secret::new("another 2")))?;
    bench.logged("edit_password", "d.test", "alice@d.test", 5)?;
    let after = bench
        .database
        .rows("SELECT password FROM mailbox ORDER BY username")?;
    ensure!(before[0] != after[0] && before[1..] == after[1..]);
    refused(
        bench.wait(admin.set_password(&alice, Secret::new("four"))),
        "at least 5",
    )?;
    if bench.form != Form::V2_1 {
        // Without a limit a year, so that a limit that comes later does not lock everybody out at once.
        let days = match backend.engine {
            Engine::Sqlite => {
                "SELECT CAST(ROUND(julianday(password_expiry) - julianday('now')) AS INT) FROM mailbox \
                               WHERE username = 'alice@d.test'"
            }
            Engine::MariaDb => {
                "SELECT DATEDIFF(password_expiry, NOW()) FROM mailbox WHERE username = 'alice@d.test'"
            }
        };
        bench.holds(days, &["365"])?;
        let expiry = DomainUpdate {
            password_expiry: Some(90),
            ..DomainUpdate::default()
        };
        bench.wait(admin.update_domain(&domain("d.test"), expiry))?;
        bench.wait(admin.set_password(&alice, Secret::new("another 3")))?;
        bench.holds(days, &["90"])?;
        let listed = bench.wait(admin.mailboxes(Which::All).all())?;
        ensure!(listed[0].password_expiry.len() == 19, "{:?}", listed[0]);
    }
    let new = NewAppPassword {
        address: alice.clone(),
        description: "phone".into(),
        password: Secret::new("app secret"),
    };
    let entries = bench.database.rows("SELECT * FROM log")?.len();
    let made = bench.wait(admin.create_app_password(new));
    if bench.form == Form::V4_0 {
        made?;
        bench.logged("add_app_password", "d.test", "alice@d.test", entries + 1)?;
        let listed = bench.wait(admin.app_passwords(&alice))?;
        ensure!(
            listed.len() == 1 && listed[0].description == "phone",
            "{listed:?}"
        );
        let id = listed[0].id;
        is_missing(bench.wait(admin.delete_app_password(&address("bob@d.test"), id)))?;
        bench.wait(admin.delete_app_password(&alice, id))?;
        bench.holds("SELECT COUNT(*) FROM mailbox_app_password", &["0"])?;
    } else {
        refused(made, "PostfixAdmin 4")?;
    }
    bench.end();
    Ok(())
}

fn aliases(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    bench.alias("list@d.test", &["alice@d.test", "far@away.test"])?;
    bench.logged("create_alias", "d.test", "list@d.test", 5)?;
    bench.alias("*@d.test", &["@other.test"])?;
    bench.holds(
        "SELECT goto FROM alias WHERE address = '@d.test'",
        &["@other.test"],
    )?;
    refused(bench.alias("self@d.test", &["self@d.test"]), "itself")?;
    let of = |name: &str| format!("SELECT goto, active FROM alias WHERE address = '{name}'");
    let goto = |targets: &[&str]| AliasUpdate {
        goto: Some(targets.iter().map(|&target| target.to_owned()).collect()),
        ..AliasUpdate::default()
    };
    let state = AliasUpdate {
        active: Some(false),
        ..AliasUpdate::default()
    };
    bench.wait(admin.update_alias("list@d.test", state))?;
    bench.logged("edit_alias_state", "d.test", "list@d.test", 7)?;
    bench.wait(admin.update_alias("list@d.test", goto(&["bob@d.test"])))?;
    bench.logged("edit_alias", "d.test", "list@d.test", 8)?;
    bench.holds(&of("list@d.test"), &["bob@d.test|0"])?;

    // The mailbox keeps its mail, until somebody says otherwise.
    bench.wait(admin.update_alias("alice@d.test", goto(&["far@away.test"])))?;
    bench.holds(&of("alice@d.test"), &["alice@d.test,far@away.test|1"])?;
    let mut only = goto(&["far@away.test"]);
    only.keep_copy = Some(false);
    bench.wait(admin.update_alias("alice@d.test", only))?;
    bench.holds(&of("alice@d.test"), &["far@away.test|1"])?;
    bench.wait(admin.update_alias("alice@d.test", goto(&["other@away.test"])))?;
    bench.holds(&of("alice@d.test"), &["other@away.test|1"])?;
    let copy = |keep| AliasUpdate {
        keep_copy: Some(keep),
        ..AliasUpdate::default()
    };
    let again = copy(true);
    bench.wait(admin.update_alias("alice@d.test", again.clone()))?;
    bench.holds(&of("alice@d.test"), &["alice@d.test,other@away.test|1"])?;
    refused(bench.wait(admin.update_alias("list@d.test", again)), "no mailbox")?;
    refused(
        bench.wait(admin.update_alias("bob@d.test", copy(false))),
        "needs a target",
    )?;

    bench.wait(admin.delete_alias("list@d.test"))?;
    bench.logged("delete_alias", "d.test", "list@d.test", 13)?;
    is_missing(bench.wait(admin.delete_alias("list@d.test")))?;
    refused(bench.wait(admin.delete_alias("bob@d.test")), "mailbox")?;
    bench.end();
    Ok(())
}

fn vacations(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    let alice = address("alice@d.test");
    let old = bench.form == Form::V2_1;
    let mut record = VacationRecord {
        address: alice.clone(),
        subject: "Away".into(),
        body: "Back on Monday.".into(),
        active_from: String::new(),
        active_until: String::new(),
        interval_time: 0,
        active: true,
    };
    bench.wait(admin.set_vacation(record.clone()))?;
    bench.logged("edit_vacation", "d.test", "alice@d.test", 5)?;
    let of_alice = "SELECT goto FROM alias WHERE address = 'alice@d.test'";
    bench.holds(of_alice, &["alice@d.test,alice#d.test@autoreply.test"])?;
    let listed = bench.wait(admin.vacations(Which::All).all())?;
    ensure!(
        listed.len() == 1 && listed[0].active && listed[0].subject == "Away",
        "{listed:?}"
    );
    // Changing the list leaves the reply on.
    let update = AliasUpdate {
        goto: Some(vec!["far@away.test".into()]),
        ..AliasUpdate::default()
    };
    bench.wait(admin.update_alias("alice@d.test", update))?;
    bench.holds(
        of_alice,
        &["alice@d.test,far@away.test,alice#d.test@autoreply.test"],
    )?;
    let aliases = bench.wait(admin.aliases(Which::Domain(domain("d.test"))).all())?;
    ensure!(
        aliases[0].vacation && aliases[0].goto == ["alice@d.test", "far@away.test"],
        "{aliases:?}"
    );

    record.active_from = "2026-12-24".into();
    record.active_until = "2027-01-06".into();
    record.interval_time = 3600;
    let changed = bench.wait(admin.set_vacation(record.clone()));
    if old {
        refused(changed, "vacation.interval_time")?;
    } else {
        bench.database.execute(
            "INSERT INTO vacation_notification (on_vacation, notified) VALUES ('alice@d.test', 'out@a.test')",
        )?;
        changed?;
        let listed = bench.wait(admin.vacations(Which::Domain(domain("d.test"))).all())?;
        ensure!(
            listed[0].active_from == "2026-12-24 00:00:00" && listed[0].active_until == "2027-01-06 23:59:59",
            "{listed:?}"
        );
        bench.wait(admin.set_vacation(record.clone()))?;
        bench.holds("SELECT COUNT(*) FROM vacation_notification", &["0"])?;
        record.active_until = "2026-12-01".into();
        refused(bench.wait(admin.set_vacation(record.clone())), "not after")?;
        record.active_until = "tomorrow".into();
        refused(bench.wait(admin.set_vacation(record)), "tomorrow")?;
    }
    bench.wait(admin.clear_vacation(&alice))?;
    bench.holds(of_alice, &["alice@d.test,far@away.test"])?;
    bench.holds("SELECT active, subject FROM vacation", &["0|Away"])?;
    is_missing(bench.wait(admin.clear_vacation(&address("bob@d.test"))))?;
    bench.end();
    Ok(())
}

fn administrators(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    bench.wait(admin.create_domain(DomainRecord::new(domain("e.test"))))?;
    let new = |name: &str, superadmin, domains: &[&str]| NewAdministrator {
        username: address(name),
        password: Secret::new("secret 1"),
        superadmin,
        active: true,
        domains: domains.iter().map(|name| domain(name)).collect(),
    };
    bench.wait(admin.create_administrator(new("root@d.test", true, &[])))?;
    bench.logged("create_admin", "", "root@d.test", 6)?;
    bench.wait(admin.create_administrator(new("help@d.test", false, &["e.test", "d.test"])))?;
    is_missing(bench.wait(admin.create_administrator(new("x@d.test", false, &["nowhere.test"]))))?;
    bench.holds(
        "SELECT username FROM admin ORDER BY username",
        &["help@d.test", "root@d.test"],
    )?;
    let owned = "SELECT username, domain FROM domain_admins ORDER BY username, domain";
    bench.holds(
        owned,
        &["help@d.test|d.test", "help@d.test|e.test", "root@d.test|ALL"],
    )?;
    if bench.form != Form::V2_1 {
        bench.holds("SELECT superadmin FROM admin ORDER BY username", &["0", "1"])?;
    }
    let listed = bench.wait(admin.administrators(None).all())?;
    ensure!(
        listed[1].superadmin && listed[1].domains.is_empty() && !listed[0].superadmin,
        "{listed:?}"
    );

    let update = AdministratorUpdate {
        superadmin: Some(true),
        remove_domains: vec![domain("e.test")],
        add_domains: vec![domain("d.test")],
        active: Some(false),
    };
    bench.wait(admin.update_administrator("help@d.test", update.clone()))?;
    bench.logged("edit_admin", "", "help@d.test", 8)?;
    bench.holds(
        owned,
        &["help@d.test|ALL", "help@d.test|d.test", "root@d.test|ALL"],
    )?;
    is_missing(bench.wait(admin.update_administrator("help@d.test", update.clone())))?;
    is_missing(bench.wait(admin.update_administrator("nobody@d.test", update)))?;
    bench.wait(admin.set_administrator_password("help@d.test", Secret::new("secret 2")))?;
    bench.logged("edit_password", "", "help@d.test", 9)?;
    bench.wait(admin.delete_administrator("help@d.test"))?;
    bench.logged("delete_admin", "admin", "help@d.test", 10)?;
    bench.holds(owned, &["root@d.test|ALL"])?;
    bench.end();
    Ok(())
}

/// A domain goes with everything that any table has of it, and nothing else goes.
fn whole_domains(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    bench.wait(admin.create_domain(DomainRecord::new(domain("e.test"))))?;
    bench.mailbox("kept@e.test")?;
    let mut rows = vec![
        "INSERT INTO domain_admins (username, domain) VALUES ('a@x.test', 'd.test'), ('a@x.test', 'e.test')",
        "INSERT INTO vacation (email, subject, body, cache, domain) VALUES ('alice@d.test', 's', 'b', '', 'd.test')",
    ];
    if bench.form != Form::V2_1 {
        rows.extend([
            "INSERT INTO vacation_notification (on_vacation, notified) VALUES ('alice@d.test', 'out@a.test')",
            "INSERT INTO quota (username, path, current) VALUES ('Bob@D.test', 'quota/storage', 5)",
            "INSERT INTO quota2 (username, bytes) VALUES ('bob@d.test', 5), ('kept@e.test', 7)",
            "INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('m.test', 'd.test')",
            "INSERT INTO fetchmail (mailbox, src_server, src_user, src_password, src_folder, mda, domain) \
             VALUES ('alice@d.test', 's', 'u', 'p', 'f', '', 'd.test'), ('kept@e.test', 's', 'u', 'p', 'f', '', 'e.test')",
        ]);
    }
    if bench.form == Form::V4_0 {
        rows.extend([
            "INSERT INTO dkim (domain_name, description, selector, private_key, public_key) \
             VALUES ('d.test', '', 's', '', '')",
            "INSERT INTO dkim_signing (author, dkim_id) SELECT 'alice@d.test', id FROM dkim",
            "INSERT INTO mailbox_app_password (username, description, password_hash) VALUES ('bob@d.test', 'x', 'y')",
            "INSERT INTO totp_exception_address (ip, username) VALUES ('192.0.2.1', 'd.test'), ('192.0.2.1', 'bob@d.test')",
        ]);
    }
    for row in rows {
        bench.database.execute(row)?;
    }
    if bench.form != Form::V2_1 {
        let listed = bench.wait(admin.mailboxes(Which::Domain(domain("d.test"))).all())?;
        ensure!(listed[1].used == Some(5), "{listed:?}");
        ensure!(
            bench
                .wait(admin.fetchmail(Which::Domain(domain("d.test"))).all())?
                .len()
                == 1
        );
    }
    let entries = bench.database.rows("SELECT * FROM log")?.len();
    bench.wait(admin.delete_domain(&domain("d.test")))?;
    bench.logged("delete_domain", "d.test", "d.test", entries + 1)?;
    let mut left = vec![
        ("domain", "domain", "e.test"),
        ("mailbox", "username", "kept@e.test"),
        ("alias", "address", "kept@e.test"),
        ("domain_admins", "domain", "e.test"),
        ("vacation", "email", ""),
    ];
    if bench.form != Form::V2_1 {
        left.extend([
            ("vacation_notification", "on_vacation", ""),
            ("quota", "username", ""),
            ("quota2", "username", "kept@e.test"),
            ("alias_domain", "alias_domain", ""),
            ("fetchmail", "mailbox", "kept@e.test"),
        ]);
    }
    if bench.form == Form::V4_0 {
        left.extend([
            ("dkim", "domain_name", ""),
            ("dkim_signing", "author", ""),
            ("mailbox_app_password", "username", ""),
            ("totp_exception_address", "username", ""),
        ]);
    }
    for (table, column, row) in left {
        let rows: &[&str] = if row.is_empty() { &[] } else { &[row] };
        bench.holds(&format!("SELECT {column} FROM {table}"), rows)?;
    }
    bench.end();
    Ok(())
}

fn limits(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    let limits = DomainUpdate {
        mailboxes: Some(4),
        aliases: Some(1),
        maxquota: Some(2),
        ..DomainUpdate::default()
    };
    bench.wait(admin.update_domain(&domain("d.test"), limits))?;
    let with_quota = |name: &str, quota| {
        let mut mailbox = NewMailbox::new(address(name), Secret::new("secret 1"));
        mailbox.quota = quota;
        bench.wait(admin.create_mailbox(mailbox))
    };
    refused(with_quota("dave@d.test", 0), "at most 2048000 bytes")?;
    refused(with_quota("dave@d.test", 2_048_001), "at most 2048000 bytes")?;
    with_quota("dave@d.test", 2_048_000)?;
    refused(with_quota("eve@d.test", 2_048_000), "its limit is 4")?;
    // The four rows of mailboxes are no aliases that count.
    bench.alias("one@d.test", &["alice@d.test"])?;
    refused(bench.alias("two@d.test", &["alice@d.test"]), "its limit is 1")?;
    if bench.form != Form::V2_1 {
        let together = DomainUpdate {
            mailboxes: Some(0),
            maxquota: Some(0),
            quota: Some(3),
            ..DomainUpdate::default()
        };
        bench.wait(admin.update_domain(&domain("d.test"), together))?;
        refused(with_quota("eve@d.test", 1_024_001), "2048000 are given")?;
        with_quota("eve@d.test", 1_024_000)?;
        let more = MailboxUpdate {
            quota: Some(2_048_001),
            ..MailboxUpdate::default()
        };
        refused(
            bench.wait(admin.update_mailbox(&address("dave@d.test"), more)),
            "together",
        )?;
    }
    let none = DomainUpdate {
        mailboxes: Some(-1),
        maxquota: Some(-1),
        ..DomainUpdate::default()
    };
    bench.wait(admin.update_domain(&domain("d.test"), none))?;
    refused(with_quota("frank@d.test", 0), "no mailboxes")?;
    let quota = MailboxUpdate {
        quota: Some(1),
        ..MailboxUpdate::default()
    };
    refused(
        bench.wait(admin.update_mailbox(&address("dave@d.test"), quota)),
        "quotas are off",
    )?;
    bench.end();
    Ok(())
}

/// Many at the same time, the panel among them: never one over the limit, nothing lost, no half of a change.
fn at_the_same_time(backend: Backend) -> Result<()> {
    let bench = Bench::with_people(backend)?;
    let admin = &bench.admin;
    let limits = DomainUpdate {
        mailboxes: Some(8),
        aliases: Some(5),
        ..DomainUpdate::default()
    };
    bench.wait(admin.update_domain(&domain("d.test"), limits))?;
    bench.alias("team@d.test", &["alice@d.test"])?;
    let (made, listed) = bench.wait(async {
        let boxes = (0..10).map(|number| {
            let admin = admin.clone();
            let mailbox = NewMailbox::new(address(&format!("n{number}@d.test")), Secret::new("secret 1"));
            tokio::spawn(async move { admin.create_mailbox(mailbox).await })
        });
        let aliases = (0..10).map(|number| {
            let admin = admin.clone();
            let alias = AliasRecord::new(format!("a{number}@d.test"), vec!["alice@d.test".into()]);
            tokio::spawn(async move { admin.create_alias(alias).await })
        });
        let (boxes, aliases): (Vec<_>, Vec<_>) = (boxes.collect(), aliases.collect());
        (outcomes(boxes).await, outcomes(aliases).await)
    });
    // All that failed were refused, for the limit: nobody heard of locks.
    ensure!(made == (5, 5) && listed == (4, 6), "{made:?} {listed:?}");
    bench.holds("SELECT COUNT(*) FROM mailbox", &["8"])?;
    bench.holds("SELECT COUNT(*) FROM alias", &["13"])?;
    bench.holds("SELECT COUNT(*) FROM log WHERE action = 'create_mailbox'", &["8"])?;

    // One takes people out of the list while others change it: each sees what the other did.
    let (changes, _) = bench.wait(async {
        let deletes = ["bob@d.test", "carol@d.test"].map(|name| {
            let admin = admin.clone();
            tokio::spawn(async move { admin.delete_mailbox(&address(name)).await })
        });
        let keeps = (0..4).map(|_| {
            let admin = admin.clone();
            let update = AliasUpdate {
                goto: Some(vec!["alice@d.test".into(), "n0@away.test".into()]),
                ..AliasUpdate::default()
            };
            tokio::spawn(async move { admin.update_alias("team@d.test", update).await })
        });
        let tasks: Vec<_> = keeps.chain(deletes).collect();
        (outcomes(tasks).await, ())
    });
    ensure!(changes.0 == 6, "{changes:?}");
    bench.holds(
        "SELECT goto FROM alias WHERE address = 'team@d.test'",
        &["alice@d.test,n0@away.test"],
    )?;
    bench.end();
    Ok(())
}

type Tasks = Vec<tokio::task::JoinHandle<Result<(), AdminError>>>;

/// How many were done, and how many were refused; what else came of one is an error of the test.
async fn outcomes(tasks: Tasks) -> (usize, usize) {
    let (mut done, mut refused) = (0, 0);
    for task in tasks {
        match task.await {
            Ok(Ok(())) => done += 1,
            Ok(Err(AdminError::Invalid(_))) => refused += 1,
            other => eprintln!("{other:?}"),
        }
    }
    (done, refused)
}

/// An account that may only read is told which grant is missing; another one for changes mends it.
fn accounts(backend: Backend) -> Result<()> {
    if backend.engine == Engine::Sqlite {
        return Ok(());
    }
    let reader = format!(
        "reader{:08x}",
        u32::from_le_bytes(tests::random_bytes(4)?.try_into().unwrap_or_default())
    );
    let more = format!("admin_user = \"{USER}\"\nadmin_password_file = \"FILE\"\n");
    for more in ["", &more] {
        let bench = Bench::with_account(backend, &reader, more)?;
        let Database::MariaDb { server, name } = &bench.database else {
            anyhow::bail!("no MariaDB");
        };
        let account = format!("'{reader}'@'localhost'");
        server.execute("", &format!("CREATE USER {account} IDENTIFIED BY '{PASSWORD}'"))?;
        server.execute("", &format!("GRANT SELECT ON {name}.* TO {account}"))?;
        let made = bench.wait(bench.admin.create_domain(DomainRecord::new(domain("d.test"))));
        if more.is_empty() {
            denied(
                made,
                &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON the database TO {account}"),
            )?;
            bench.holds("SELECT COUNT(*) FROM domain", &["0"])?;
        } else {
            made?;
            bench.holds("SELECT COUNT(*) FROM domain", &["1"])?;
        }
        server.execute("", &format!("DROP USER {account}"))?;
        bench.end();
    }
    Ok(())
}

/// What mailctl makes of it.
#[test]
fn the_command_line() -> Result<()> {
    Site::builder().only(&["authd"]).run(|site| {
        let made = site.mailctl_json(&["mailbox", "add", "carol@example.com", "--generate"])?;
        let password = made["password"].as_str().unwrap_or_default();
        ensure!(password.len() == 29, "{made}");
        let file = site.directory().join("etc/generated");
        std::fs::write(&file, password)?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let (uid, gid) = site.ids();
        std::os::unix::fs::chown(&file, Some(uid), Some(gid))?;
        let file = file.display().to_string();
        site.mailctl(&["auth", "test", "carol@example.com", "--password-file", &file])?;

        site.mailctl(&[
            "mailbox",
            "app-password",
            "add",
            "carol@example.com",
            "phone",
            "--generate",
        ])?;
        let listed = site.mailctl_json(&["mailbox", "app-password", "list", "carol@example.com"])?;
        ensure!(listed[0]["description"] == "phone", "{listed}");
        let id = listed[0]["id"].to_string();
        site.mailctl(&["mailbox", "app-password", "delete", "carol@example.com", &id])?;
        let status =
            |arguments: &[&str]| Ok::<_, anyhow::Error>(site.mailctl_output(arguments)?.status.code());
        let again = ["mailbox", "app-password", "delete", "carol@example.com", &id];
        ensure!(status(&again)? == Some(66));

        site.mailctl(&[
            "admin",
            "add",
            "help@example.com",
            "--domain",
            "example.com",
            "--password-file",
            &file,
        ])?;
        site.mailctl(&["admin", "set", "help@example.com", "--super", "true"])?;
        ensure!(
            site.mailctl(&["admin", "show", "help@example.com"])?
                .contains("all")
        );
        ensure!(status(&["admin", "set", "help@example.com"])? == Some(65));
        ensure!(status(&["admin", "show", "nobody@example.com"])? == Some(66));
        ensure!(
            site.mailctl(&["fetchmail", "list"])?
                .starts_with("nothing is fetched")
        );

        // Without the domain of automatic replies there are none.
        let away = [
            "vacation",
            "set",
            "carol@example.com",
            "--subject",
            "Away",
            "--body",
            "Back soon.",
        ];
        let refused = site.mailctl_output(&away)?;
        ensure!(
            refused.status.code() == Some(65)
                && String::from_utf8_lossy(&refused.stderr).contains("[authd] vacation_domain")
        );
        site.set("authd.vacation_domain", "autoreply.test")?;
        site.reload("authd")?;
        site.mailctl(&away)?;
        ensure!(
            site.mailctl(&["vacation", "show", "carol@example.com"])?
                .ends_with("Back soon.\n")
        );
        site.mailctl(&["vacation", "clear", "carol@example.com"])?;

        let log = site.mailctl(&["log", "--limit", "2"])?;
        let lines: Vec<&str> = log.lines().collect();
        ensure!(
            lines.len() == 3 && lines[1].contains("edit_vacation") && lines[1].contains("carol@example.com"),
            "{log}"
        );
        Ok(())
    })
}

macro_rules! on_every_backend {
    ($($test:ident: $run:path,)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            each($run)
        }
    )*};
}

on_every_backend! {
    changes_of_domains: domains,
    changes_of_alias_domains: mirrors,
    changes_of_mailboxes: mailboxes,
    changes_of_passwords: passwords,
    changes_of_aliases: aliases,
    automatic_replies: vacations,
    changes_of_administrators: administrators,
    a_domain_goes_whole: whole_domains,
    limits_hold: limits,
    changes_at_the_same_time: at_the_same_time,
    accounts_that_may_not_write: accounts,
}

//! Changes on a SQLite file, checked by what is in the tables afterwards.

use std::sync::Arc;

use auth_api::admin::{
    AdminError, AliasDomainRecord, AliasRecord, AliasUpdate, DomainRecord, DomainUpdate, MailboxUpdate,
    NewMailbox, Which,
};
use auth_api::server::Admin as _;
use config::Config;
use events::Log;
use mail_types::{Address, Domain, Secret};

use super::AdminService;
use super::pages::ROWS;
use crate::config::Settings;
use crate::database::Statement;
use crate::database::values::text_or_empty;
use crate::login::Hashing;
use crate::site::{Site, Sites};

struct Bench {
    admin: AdminService,
    sites: Arc<Sites>,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// d.test, without a mailbox.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::from_toml(&format!(
            "[general]\nmyhostname = \"mail.d.test\"\nstate_dir = \"{}\"\n[authd]\nnew_passwords = \"cleartext\"\n",
            dir.path().display()
        ))
        .unwrap();
        let (log, _) = Log::memory("authd");
        let site = Site::open(Settings::new(&config).unwrap(), &log, &daemon::Clock::system()).unwrap();
        let sites = Arc::new(Sites::new(site));
        let admin = AdminService::new(sites.clone(), Arc::new(Hashing::new(64)), log);
        admin
            .create_domain(DomainRecord::new(domain("d.test")))
            .await
            .unwrap();
        Self {
            admin,
            sites,
            _dir: dir,
        }
    }

    /// Rows as text, columns joined by `|`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let site = self.sites.current();
        let rows = site
            .panel()
            .unwrap()
            .database()
            .select(sql, vec![])
            .await
            .unwrap();
        rows.iter()
            .map(|row| {
                row.iter()
                    .map(|v| text_or_empty(v).unwrap())
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect()
    }

    async fn mailbox(&self, name: &str) -> Result<(), AdminError> {
        let mut mailbox = NewMailbox::new(address(name), Secret::new("secret"));
        mailbox.name = "Name".into();
        mailbox.quota = 1_024_000;
        self.admin.create_mailbox(mailbox).await
    }

    async fn alias(&self, name: &str, goto: &[&str]) -> Result<(), AdminError> {
        let record = AliasRecord::new(name, goto.iter().map(|&t| t.to_owned()).collect());
        self.admin.create_alias(record).await
    }
}

fn domain(text: &str) -> Domain {
    Domain::new(text).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn is_invalid(result: &Result<(), AdminError>) -> bool {
    matches!(result, Err(AdminError::Invalid(_)))
}

#[tokio::test]
async fn a_mailbox_as_the_panel_makes_it() {
    let bench = Bench::new().await;
    bench.mailbox("Alice@d.test").await.unwrap();
    assert_eq!(
        bench
            .rows("SELECT username, password, maildir, quota, local_part, domain, active FROM mailbox")
            .await,
        ["alice@d.test|secret|d.test/alice/|1024000|alice|d.test|1"]
    );
    assert_eq!(
        bench
            .rows("SELECT address, goto, domain, active FROM alias")
            .await,
        ["alice@d.test|alice@d.test|d.test|1"]
    );
    assert_eq!(
        bench
            .rows("SELECT username, domain, action, data FROM log ORDER BY id")
            .await,
        [
            "mailctl (localhost)|d.test|create_domain|d.test",
            "mailctl (localhost)|d.test|create_mailbox|alice@d.test"
        ]
    );
    assert_eq!(bench.rows("SELECT created > '2020' FROM mailbox").await, ["1"]);
    assert!(matches!(
        bench.mailbox("alice@d.test").await,
        Err(AdminError::Exists(_))
    ));
    assert!(matches!(
        bench.mailbox("x@other.test").await,
        Err(AdminError::NotFound(_))
    ));
    for bad in ["\"a b\"@d.test", "a/b@d.test"] {
        assert!(is_invalid(&bench.mailbox(bad).await), "{bad}");
    }
    // Half of it never stays: the alias is there already, so the mailbox is not made.
    bench.alias("taken@d.test", &["far@away.test"]).await.unwrap();
    assert!(matches!(
        bench.mailbox("taken@d.test").await,
        Err(AdminError::Exists(_))
    ));
    assert_eq!(bench.rows("SELECT COUNT(*) FROM mailbox").await, ["1"]);
}

#[tokio::test]
async fn mailboxes_change_and_go() {
    let bench = Bench::new().await;
    bench.mailbox("alice@d.test").await.unwrap();
    bench.mailbox("bob@d.test").await.unwrap();
    bench
        .alias("team@d.test", &["alice@d.test", "Bob@d.test", "xbob@d.test"])
        .await
        .unwrap();
    bench.alias("only@d.test", &["bob@d.test"]).await.unwrap();
    let update = MailboxUpdate {
        active: Some(false),
        quota: Some(5),
        ..MailboxUpdate::default()
    };
    bench
        .admin
        .update_mailbox(address("bob@d.test"), update)
        .await
        .unwrap();
    assert_eq!(
        bench.rows("SELECT m.active, m.quota, a.active FROM mailbox m JOIN alias a ON address = username WHERE username = 'bob@d.test'").await,
        ["0|5|0"]
    );
    bench
        .admin
        .set_password(address("bob@d.test"), Secret::new("other"))
        .await
        .unwrap();
    assert_eq!(
        bench
            .rows("SELECT password FROM mailbox WHERE username = 'bob@d.test'")
            .await,
        ["other"]
    );

    bench.admin.delete_mailbox(address("bob@d.test")).await.unwrap();
    assert_eq!(
        bench
            .rows("SELECT address, goto FROM alias ORDER BY address")
            .await,
        [
            "alice@d.test|alice@d.test",
            "team@d.test|alice@d.test,xbob@d.test"
        ]
    );
    for result in [
        bench.admin.delete_mailbox(address("bob@d.test")).await,
        bench
            .admin
            .set_password(address("bob@d.test"), Secret::new("another"))
            .await,
        bench
            .admin
            .update_mailbox(address("bob@d.test"), MailboxUpdate::default())
            .await,
    ] {
        assert!(matches!(result, Err(AdminError::NotFound(_))), "{result:?}");
    }
}

#[tokio::test]
async fn aliases() {
    let bench = Bench::new().await;
    bench.mailbox("alice@d.test").await.unwrap();
    bench.alias("@d.test", &["@other.test"]).await.unwrap();
    bench
        .alias(
            "list@d.test",
            &[" alice@d.test ", "alice@d.test", "far@away.test"],
        )
        .await
        .unwrap();
    let list = bench
        .admin
        .aliases(Which::Domain(domain("d.test")), None)
        .await
        .unwrap()
        .rows;
    let told: Vec<_> = list
        .iter()
        .map(|a| (a.address.as_str(), a.goto.join(" "), a.mirrors_mailbox))
        .collect();
    assert_eq!(
        told,
        [
            ("@d.test", "@other.test".to_owned(), false),
            ("alice@d.test", "alice@d.test".to_owned(), true),
            ("list@d.test", "alice@d.test far@away.test".to_owned(), false)
        ]
    );
    for (name, goto) in [
        ("x@d.test", &[][..]),
        ("x@d.test", &["|cmd"]),
        ("x@d.test", &["a@b.test", "@c.test"]),
        ("x", &["a@b.test"]),
    ] {
        assert!(is_invalid(&bench.alias(name, goto).await), "{name} {goto:?}");
    }
    let update = AliasUpdate {
        goto: Some(vec!["far@away.test".into()]),
        active: Some(false),
        ..AliasUpdate::default()
    };
    bench
        .admin
        .update_alias("LIST@d.test".into(), update)
        .await
        .unwrap();
    assert_eq!(
        bench
            .rows("SELECT goto, active FROM alias WHERE address = 'list@d.test'")
            .await,
        ["far@away.test|0"]
    );
    bench.admin.delete_alias("list@d.test".into()).await.unwrap();
    assert!(matches!(
        bench.admin.delete_alias("list@d.test".into()).await,
        Err(AdminError::NotFound(_))
    ));
    assert!(is_invalid(&bench.admin.delete_alias("alice@d.test".into()).await));
}

#[tokio::test]
async fn limits_of_a_domain() {
    let bench = Bench::new().await;
    let update = DomainUpdate {
        mailboxes: Some(1),
        aliases: Some(1),
        maxquota: Some(1),
        ..DomainUpdate::default()
    };
    bench.admin.update_domain(domain("d.test"), update).await.unwrap();
    bench.mailbox("a@d.test").await.unwrap();
    assert!(is_invalid(&bench.mailbox("b@d.test").await));
    // The row of the mailbox is no alias that counts.
    bench.alias("x@d.test", &["a@d.test"]).await.unwrap();
    assert!(is_invalid(&bench.alias("y@d.test", &["a@d.test"]).await));
    let quota = |quota| MailboxUpdate {
        quota: Some(quota),
        ..MailboxUpdate::default()
    };
    bench
        .admin
        .update_mailbox(address("a@d.test"), quota(1000))
        .await
        .unwrap();
    for quota in [quota(0), quota(1_024_001)] {
        assert!(is_invalid(
            &bench.admin.update_mailbox(address("a@d.test"), quota).await
        ));
    }
    let sum = DomainUpdate {
        mailboxes: Some(0),
        maxquota: Some(0),
        quota: Some(1),
        ..DomainUpdate::default()
    };
    bench.admin.update_domain(domain("d.test"), sum).await.unwrap();
    assert!(is_invalid(&bench.mailbox("b@d.test").await));
    for bad in [
        DomainUpdate {
            aliases: Some(-2),
            ..DomainUpdate::default()
        },
        DomainUpdate {
            transport: Some("local:".into()),
            ..DomainUpdate::default()
        },
    ] {
        assert!(is_invalid(
            &bench.admin.update_domain(domain("d.test"), bad).await
        ));
    }
}

#[tokio::test]
async fn domains_go_with_all_that_is_in_them() {
    let bench = Bench::new().await;
    bench
        .admin
        .create_domain(DomainRecord::new(domain("e.test")))
        .await
        .unwrap();
    bench.mailbox("a@d.test").await.unwrap();
    bench.mailbox("e@e.test").await.unwrap();
    bench
        .admin
        .create_domain(DomainRecord::new(domain("m.test")))
        .await
        .unwrap();
    let mirror = AliasDomainRecord {
        alias_domain: domain("m.test"),
        target_domain: domain("d.test"),
        active: true,
    };
    bench.admin.create_alias_domain(mirror.clone()).await.unwrap();
    assert_eq!(
        bench
            .admin
            .alias_domains(Which::Domain(domain("d.test")), None)
            .await
            .unwrap()
            .rows,
        std::slice::from_ref(&mirror)
    );
    assert!(
        bench
            .admin
            .alias_domains(Which::Domain(domain("e.test")), None)
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    let chain = AliasDomainRecord {
        alias_domain: domain("n.test"),
        target_domain: domain("m.test"),
        active: true,
    };
    assert!(bench.admin.create_alias_domain(chain).await.is_err());
    let itself = AliasDomainRecord {
        alias_domain: domain("d.test"),
        ..mirror
    };
    assert!(is_invalid(&bench.admin.create_alias_domain(itself).await));

    bench.admin.delete_domain(domain("d.test")).await.unwrap();
    let names: Vec<_> = bench
        .admin
        .domains(None, None)
        .await
        .unwrap()
        .rows
        .into_iter()
        .map(|d| d.domain.to_string())
        .collect();
    assert_eq!(names, ["e.test", "m.test"]);
    assert_eq!(bench.rows("SELECT username FROM mailbox").await, ["e@e.test"]);
    assert_eq!(bench.rows("SELECT address FROM alias").await, ["e@e.test"]);
    assert!(bench.rows("SELECT * FROM alias_domain").await.is_empty());
    assert!(matches!(
        bench.admin.delete_domain(domain("d.test")).await,
        Err(AdminError::NotFound(_))
    ));
}

/// Rows of a numbered list, e.g. `u00001@d.test`.
fn numbered(domain: &str, columns: &str, table: &str, count: usize) -> Vec<Statement> {
    (0..count)
        .map(|number| {
            let name = format!("u{number:05}@{domain}");
            let marks = columns.replace(|c: char| c != ',', "").replace(',', "?, ") + "?";
            let args = columns.split(',').map(|column| match column.trim() {
                "domain" => domain.into(),
                _ => name.as_str().into(),
            });
            Statement::new(
                format!("INSERT INTO {table} ({columns}) VALUES ({marks})"),
                args.collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn lists_come_in_pages() {
    let bench = Bench::new().await;
    let rows = ROWS * 2 + 5;
    let mut statements = numbered(
        "d.test",
        "username, password, name, maildir, local_part, domain",
        "mailbox",
        rows,
    );
    statements.extend(numbered("d.test", "address, goto, domain", "alias", rows));
    statements.push(Statement::new(
        "INSERT INTO quota2 (username, bytes) VALUES ('u02001@d.test', 7)",
        vec![],
    ));
    statements.push(Statement::new("UPDATE domain SET password_expiry = 90", vec![]));
    let site = bench.sites.current();
    site.panel()
        .unwrap()
        .database()
        .transaction(statements)
        .await
        .unwrap();
    bench
        .admin
        .create_domain(DomainRecord::new(domain("e.test")))
        .await
        .unwrap();
    bench.mailbox("z@e.test").await.unwrap();

    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = bench.admin.mailboxes(Which::All, after).await.unwrap();
        assert!(page.rows.len() <= ROWS);
        found.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), rows + 1);
    assert!(found.is_sorted_by(|a, b| a.address.to_string() < b.address.to_string()));
    assert_eq!(found[2_001].used, Some(7));
    assert!(!found[2_001].password_expiry.is_empty() && found[rows].password_expiry.is_empty());

    let of_d = Which::Domain(domain("d.test"));
    let second = bench
        .admin
        .aliases(of_d, Some("u01999@d.test".into()))
        .await
        .unwrap();
    assert_eq!((second.rows.len(), second.next), (5, None));
    assert!(second.rows[0].mirrors_mailbox && second.rows[0].address == "u02000@d.test");
    let one = bench
        .admin
        .mailboxes(Which::One("u00003@d.test".into()), None)
        .await
        .unwrap();
    assert_eq!((one.rows.len(), one.next), (1, None));
    let none = bench
        .admin
        .aliases(Which::One("nobody@d.test".into()), None)
        .await
        .unwrap();
    assert!(none.rows.is_empty());
    bench.alias("sales@d.test", &["u00001@d.test"]).await.unwrap();
    let counts = bench.admin.count_domain(domain("d.test")).await.unwrap();
    assert_eq!((counts.mailboxes, counts.aliases), (rows as u64, 1));
}

#[tokio::test]
async fn a_large_domain_goes_with_what_hangs_on_its_addresses() {
    let bench = Bench::new().await;
    bench
        .admin
        .create_domain(DomainRecord::new(domain("e.test")))
        .await
        .unwrap();
    let rows = ROWS + 5;
    let mut statements = Vec::new();
    for name in ["d.test", "e.test"] {
        let columns = "username, password, name, maildir, local_part, domain";
        statements.extend(numbered(name, columns, "mailbox", rows));
        statements.extend(numbered(name, "address, goto, domain", "alias", rows));
        statements.extend(numbered(name, "username", "quota2", rows));
        statements.extend(numbered(name, "email, subject, body, domain", "vacation", 3));
        statements.extend(numbered(
            name,
            "on_vacation, notified",
            "vacation_notification",
            3,
        ));
    }
    let site = bench.sites.current();
    site.panel()
        .unwrap()
        .database()
        .transaction(statements)
        .await
        .unwrap();
    bench.admin.delete_domain(domain("d.test")).await.unwrap();
    for (table, left) in [
        ("mailbox", rows),
        ("alias", rows),
        ("quota2", rows),
        ("vacation", 3),
        ("vacation_notification", 3),
        ("domain", 1),
    ] {
        let found = bench.rows(&format!("SELECT COUNT(*) FROM {table}")).await;
        assert_eq!(found, [left.to_string()], "{table}");
    }
}

#[tokio::test]
async fn targets_come_and_go_in_the_list_as_it_is() {
    let bench = Bench::new().await;
    bench.mailbox("alice@d.test").await.unwrap();
    bench
        .alias("team@d.test", &["a@x.test", "b@x.test"])
        .await
        .unwrap();
    let edit = |name: &str, add: &[&str], remove: &[&str]| {
        let texts = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        let update = AliasUpdate {
            add: texts(add),
            remove: texts(remove),
            ..AliasUpdate::default()
        };
        bench.admin.update_alias(name.to_owned(), update)
    };
    // Each knows nothing of the other: none is lost.
    let (first, second) = tokio::join!(
        edit("team@d.test", &["c@x.test"], &["A@X.test"]),
        edit("team@d.test", &["d@x.test"], &[])
    );
    first.unwrap();
    second.unwrap();
    let goto = bench
        .rows("SELECT goto FROM alias WHERE address = 'team@d.test'")
        .await;
    let mut targets: Vec<&str> = goto[0].split(',').collect();
    targets.sort_unstable();
    assert_eq!(targets, ["b@x.test", "c@x.test", "d@x.test"]);
    assert!(matches!(
        edit("team@d.test", &[], &["a@x.test"]).await,
        Err(AdminError::NotFound(_))
    ));
    assert!(is_invalid(
        &edit("team@d.test", &[], &["b@x.test", "c@x.test", "d@x.test"]).await
    ));
    edit("alice@d.test", &["far@x.test"], &["alice@d.test"])
        .await
        .unwrap();
    let of_alice = "SELECT goto FROM alias WHERE address = 'alice@d.test'";
    assert_eq!(bench.rows(of_alice).await, ["far@x.test"]);
}

#[tokio::test]
async fn a_mailbox_takes_its_dkim_signing_along() {
    let bench = Bench::new().await;
    bench.mailbox("alice@d.test").await.unwrap();
    let site = bench.sites.current();
    let key = "INSERT INTO dkim (domain_name, description, selector, private_key, public_key) \
               VALUES ('d.test', '', 's', '', '')";
    let author = "INSERT INTO dkim_signing (author, dkim_id) SELECT 'alice@d.test', id FROM dkim";
    let rows = [key, author].map(|sql| Statement::new(sql, vec![]));
    site.panel()
        .unwrap()
        .database()
        .transaction(rows.into())
        .await
        .unwrap();
    bench.admin.delete_mailbox(address("alice@d.test")).await.unwrap();
    assert!(bench.rows("SELECT author FROM dkim_signing").await.is_empty());
}

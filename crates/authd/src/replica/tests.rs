//! The copy over tables that fail in all ways.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ::daemon::{Clock, ManualClock};
use futures_util::future::BoxFuture;
use mail_types::Secret;
use rusqlite::Connection;

use super::*;
use crate::directory::backend::{
    AccessTable, AliasRow, Answer, AppPassword, Backend, BackendError, DomainRow, Found, LoginRow,
    MailboxRow, Questions, Source,
};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

mod changes;
mod damage;

/// More rows than a small directory has.
const SMALL_AND_SOME: u64 = 20_010;

/// How the tables behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Works,
    Errors,
    Hangs,
    /// What can be asked and listed is known without the tables; rows are not.
    NoRows,
}

struct Tables {
    mode: Mutex<Mode>,
    rows: Mutex<BTreeMap<(Kind, String), Listed>>,
    listed: bool,
    asked: AtomicUsize,
    /// The keys of `alias` that the last passes asked for with `changed_since`.
    recent: AtomicBool,
    /// A page of mailboxes is read, but not given while this is set.
    hold: AtomicBool,
    /// One is.
    held: AtomicBool,
}

impl Tables {
    fn new(listed: bool) -> Arc<Self> {
        let tables = Self {
            mode: Mutex::new(Mode::Works),
            rows: Mutex::default(),
            listed,
            asked: AtomicUsize::new(0),
            recent: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            held: AtomicBool::new(false),
        };
        let domain = DomainRow {
            active: true,
            backupmx: false,
            alias_only: false,
            transport: "virtual".into(),
        };
        tables.set(Kind::Domain, "d.test", Listed::Domain(domain));
        tables.set(Kind::Mailbox, "u@d.test", mailbox("u@d.test", "hash"));
        let alias = AliasRow {
            goto: "u@d.test".into(),
            active: true,
        };
        tables.set(Kind::Alias, "a@d.test", Listed::Alias(alias));
        Arc::new(tables)
    }

    fn set(&self, kind: Kind, key: &str, row: Listed) {
        self.rows.lock().unwrap().insert((kind, key.to_owned()), row);
    }

    fn remove(&self, kind: Kind, key: &str) {
        self.rows.lock().unwrap().remove(&(kind, key.to_owned()));
    }

    fn mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Listed>, BackendError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Works => Ok(self.rows.lock().unwrap().get(&(kind, key.to_owned())).cloned()),
            Mode::NoRows if key.is_empty() => Ok(None),
            Mode::Errors | Mode::NoRows => Err(BackendError::Away("gone".into())),
            Mode::Hangs => std::future::pending().await,
        }
    }
}

fn mailbox(name: &str, password: &str) -> Listed {
    Listed::Mailbox(Box::new(LoginRow {
        mailbox: MailboxRow {
            username: name.to_owned(),
            maildir: "m/".into(),
            quota: 7,
            uid: Some(3),
            gid: None,
            active: true,
        },
        domain_active: true,
        password: Secret::new(password),
        cleartext: Some(Secret::new("clear")),
        smtp_active: false,
        password_expiry: Some(9),
        app_passwords: vec![AppPassword {
            id: 4,
            description: "phone".into(),
            password: Secret::new("app"),
        }],
    }))
}

impl Backend for Tables {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            self.row(Kind::Domain, "").await?;
            Ok(Questions {
                unmarked_cleartext: true,
                access: AccessTable::ALL.to_vec(),
                ..Questions::default()
            })
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(async move {
            Ok(Found::fresh(match self.row(Kind::Domain, name).await? {
                Some(Listed::Domain(row)) => Some(row),
                _ => None,
            }))
        })
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move {
            match self.row(Kind::Alias, address).await? {
                Some(Listed::Alias(row)) => Ok(Found::fresh(Some(row))),
                Some(_) => Err(BackendError::Odd("odd".into())),
                None => Ok(Found::fresh(None)),
            }
        })
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(async move { Ok(self.login(address).await?.and_then(|row| Some(row.mailbox))) })
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
            Ok(Found::fresh(match self.row(Kind::Mailbox, username).await? {
                Some(Listed::Mailbox(row)) => Some(*row),
                _ => None,
            }))
        })
    }

    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            Ok(Found::fresh(match self.row(Kind::Access(table), key).await? {
                Some(Listed::Text(text)) => Some(text),
                _ => None,
            }))
        })
    }

    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        Box::pin(async move {
            self.row(request.kind, "").await?;
            if !self.listed {
                return Ok(None);
            }
            self.recent
                .fetch_or(request.changed_since.is_some(), Ordering::Relaxed);
            let page = self.read_page(request);
            if request.kind == Kind::Mailbox {
                while self.hold.load(Ordering::SeqCst) {
                    self.held.store(true, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            }
            Ok(Some(page))
        })
    }
}

impl Tables {
    fn read_page(&self, request: PageRequest<'_>) -> Page {
        let rows = self.rows.lock().unwrap();
        let of_kind = rows.iter().filter(|((kind, _), _)| *kind == request.kind);
        let after = of_kind.filter(|((_, key), _)| request.after.is_none_or(|after| key.as_str() > after));
        let rows: Vec<_> = after
            .take(request.limit.min(2 + rows.len() / 10))
            .map(|((_, key), row)| (key.clone(), row.clone()))
            .collect();
        let next = rows.last().map(|(key, _)| key.clone());
        Page { rows, next }
    }
}

struct World {
    tables: Arc<Tables>,
    clock: ManualClock,
    events: events::Memory,
    log: events::Log,
    settings: Settings,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(listed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, events) = events::Log::memory("authd");
        Self {
            tables: Tables::new(listed),
            clock: ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)),
            events,
            log,
            settings: Settings {
                path: dir.path().join("state/replica.sqlite"),
                refresh_interval: Duration::from_secs(3600),
                full_refresh_interval: Duration::from_secs(7200),
                max_age: Duration::from_secs(86_400),
                patience: Duration::from_millis(100),
                max_rows: 1000,
                max_size: 10 << 20,
            },
            _dir: dir,
        }
    }

    /// As many as make a table big.
    fn many_aliases(&self) {
        for number in 0..SMALL_AND_SOME {
            let alias = AliasRow {
                goto: "u@d.test".into(),
                active: true,
            };
            let key = format!("{number:06}@d.test");
            self.tables.set(Kind::Alias, &key, Listed::Alias(alias));
        }
    }

    fn open(&self, origin: &str) -> WithReplica {
        let clock: Clock = self.clock.clock();
        let (settings, log) = (self.settings.clone(), self.log.clone());
        // Words: the tables, then the servers.
        let (tables, servers) = origin.split_once(' ').unwrap_or((origin, ""));
        let origin = Origin {
            tables: tables.into(),
            servers: servers.into(),
        };
        WithReplica::open(self.tables.clone(), settings, origin, clock, log)
    }

    async fn filled(&self) -> WithReplica {
        let layer = self.open("x");
        pass(&layer).await;
        layer
    }
}

/// Waits until a pass over everything has ended.
async fn pass(layer: &WithReplica) {
    layer.refresh(true).await.unwrap();
}

#[tokio::test]
async fn known_rows_outlast_errors_and_silence() {
    let world = World::new(true);
    let layer = world.filled().await;
    assert_eq!(layer.login("u@d.test").await.unwrap().source, Source::Database);
    for mode in [Mode::Errors, Mode::Hangs] {
        world.tables.mode(mode);
        let login = layer.login("u@d.test").await.unwrap();
        assert_eq!(login.source, Source::Replica, "{mode:?}");
        let row = login.row.unwrap();
        assert_eq!(
            (row.password, row.cleartext),
            (Secret::new("hash"), Some(Secret::new("clear")))
        );
        assert!(row.domain_active && !row.smtp_active && row.password_expiry == Some(9));
        assert_eq!(
            (row.mailbox.maildir.as_str(), row.mailbox.quota, row.mailbox.uid),
            ("m/", 7, Some(3))
        );
        assert_eq!(row.app_passwords.len(), 1);
        assert_eq!(
            (row.app_passwords[0].id, row.app_passwords[0].password.expose()),
            (4, &b"app"[..])
        );
        let alias = layer.alias("a@d.test").await.unwrap();
        assert_eq!(
            (alias.row.unwrap().goto.as_str(), alias.source),
            ("u@d.test", Source::Replica)
        );
        let nobody = layer.alias("nobody@d.test").await.unwrap();
        assert_eq!((nobody.row, nobody.source), (None, Source::Replica));
        assert!(layer.questions().await.unwrap().unmarked_cleartext);
        assert!(layer.status().await.trouble.unwrap().answers > 2);
    }
    // Nobody waits any more once it was seen that the tables let wait.
    let asked = world.tables.asked.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(layer.domain("d.test").await.unwrap().source, Source::Replica);
    }
    assert!(world.tables.asked.load(Ordering::Relaxed) <= asked + 2);
    assert!(layer.vacation("u@d.test").await.is_err());
    world.tables.mode(Mode::Works);
    while layer.status().await.trouble.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(layer.login("u@d.test").await.unwrap().source, Source::Database);
    let told = format!("{:?}", world.events.all());
    assert_eq!(told.matches("ReplicaInUse").count(), 1, "{told}");
    assert!(
        told.contains("ReplicaLeft") && told.contains("ReplicaRefreshed"),
        "{told}"
    );
}

#[tokio::test]
async fn a_new_process_uses_the_file_of_the_old_one() {
    let world = World::new(true);
    drop(world.filled().await);
    world.tables.mode(Mode::Errors);
    let layer = world.open("x");
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
    assert!(layer.questions().await.is_ok());
    drop(layer);
    // Not that of other tables.
    assert!(world.open("y").login("u@d.test").await.is_err());
    // Nor a damaged one.
    std::fs::write(&world.settings.path, vec![7; 8192]).unwrap();
    assert!(world.open("x").login("u@d.test").await.is_err());
    assert!(!world.settings.path.exists());
}

#[tokio::test]
async fn other_servers_are_read_whole_at_once() {
    let world = World::new(true);
    drop(world.filled().await);
    world.tables.remove(Kind::Alias, "a@d.test");
    // Nobody asks for the pass.
    let layer = world.open("x db2");
    while layer.status().await.last.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(layer.status().await.last.unwrap().whole);
    assert_eq!(layer.status().await.meta.unwrap().origin.servers, "db2");
    drop(layer);
    // The same servers again: not before it is time.
    let layer = world.open("x db2");
    assert!(
        layer
            .status()
            .await
            .next_in
            .is_none_or(|next| next > Duration::from_secs(3000))
    );
    // A fresh file of other servers is better than none.
    world.tables.mode(Mode::Errors);
    let layer = world.open("x db3");
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
    assert_eq!(layer.alias("a@d.test").await.unwrap().row, None);
}

#[tokio::test]
async fn an_old_copy_is_not_used() {
    let world = World::new(true);
    let layer = world.filled().await;
    world.tables.mode(Mode::Errors);
    world.clock.advance(Duration::from_secs(86_400));
    assert!(layer.login("u@d.test").await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        layer.login("u@d.test").await.unwrap_err(),
        BackendError::Away("gone".into())
    );
    assert!(!layer.status().await.usable);
}

#[tokio::test]
async fn passes_bring_changes_and_take_deletions() {
    let world = World::new(true);
    let layer = world.filled().await;
    world
        .tables
        .set(Kind::Mailbox, "new@d.test", mailbox("new@d.test", "n"));
    world
        .tables
        .set(Kind::Mailbox, "u@d.test", mailbox("u@d.test", "changed"));
    world
        .tables
        .rows
        .lock()
        .unwrap()
        .remove(&(Kind::Alias, "a@d.test".to_owned()));
    pass(&layer).await;
    world.tables.mode(Mode::Errors);
    let row = layer.login("u@d.test").await.unwrap().row.unwrap();
    assert_eq!(row.password, Secret::new("changed"));
    assert!(layer.mailbox("new@d.test").await.unwrap().row.is_some());
    assert!(layer.alias("a@d.test").await.unwrap().row.is_none());
    let rows = layer.status().await.extent.rows;
    assert_eq!((rows["mailbox"], rows["app_password"], rows["domain"]), (2, 2, 1));
    assert!(!rows.contains_key("alias"));
}

#[tokio::test]
async fn what_cannot_be_read_keeps_what_was_read() {
    let world = World::new(true);
    let layer = world.filled().await;
    world.tables.set(Kind::Alias, "a@d.test", Listed::Unreadable);
    world.tables.set(Kind::Alias, "odd@d.test", Listed::Unreadable);
    pass(&layer).await;
    // The tables work, this row does not.
    assert_eq!(layer.alias("a@d.test").await.unwrap().source, Source::Replica);
    assert_eq!(
        layer.alias("odd@d.test").await.unwrap_err(),
        BackendError::Odd("odd".into())
    );
    assert_eq!(layer.alias("none@d.test").await.unwrap().source, Source::Database);
    assert!(layer.status().await.trouble.is_none());
    // A table in which nothing can be read replaces nothing.
    for number in 0..200 {
        world
            .tables
            .set(Kind::Alias, &format!("{number}@d.test"), Listed::Unreadable);
    }
    pass(&layer).await;
    let status = layer.status().await;
    assert!(status.last.unwrap().error.unwrap().contains("cannot be read"));
    assert_eq!(layer.alias("a@d.test").await.unwrap().source, Source::Replica);
}

#[tokio::test]
async fn more_than_allowed_is_not_copied() {
    let mut world = World::new(true);
    world.settings.max_rows = 2;
    let layer = world.filled().await;
    let error = layer.status().await.last.unwrap().error.unwrap();
    assert!(error.contains("max_rows"), "{error}");
    drop(layer);
    world.settings.max_rows = 1000;
    world.settings.max_size = 4096;
    let layer = world.filled().await;
    let error = layer.status().await.last.unwrap().error.unwrap();
    assert!(error.contains("max_size"), "{error}");
    let left: Vec<_> = std::fs::read_dir(world.settings.path.parent().unwrap())
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn rows_that_were_asked_for_where_nothing_can_be_listed() {
    let world = World::new(false);
    let layer = world.filled().await;
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
    assert!(layer.alias("a@d.test").await.unwrap().row.is_some());
    assert!(layer.mailbox("nobody@d.test").await.unwrap().row.is_none());
    while layer.status().await.extent.rows.len() < 3 {
        tokio::task::yield_now().await;
    }
    // They survive a pass, which has nothing to read.
    pass(&layer).await;
    world.tables.mode(Mode::Errors);
    let login = layer.login("u@d.test").await.unwrap().row.unwrap();
    assert_eq!(
        (login.password, login.app_passwords.len()),
        (Secret::new("hash"), 1)
    );
    assert!(layer.mailbox("u@d.test").await.unwrap().row.is_some());
    assert!(layer.alias("a@d.test").await.unwrap().row.is_some());
    // Who was not asked for is not there, which says nothing.
    assert_eq!(layer.domain("d.test").await.unwrap().row, None);
    // Each row has an age of its own.
    world.clock.advance(Duration::from_secs(86_401));
    assert!(layer.login("u@d.test").await.is_err());
    // One that is gone is taken out.
    world.tables.mode(Mode::Works);
    world
        .tables
        .rows
        .lock()
        .unwrap()
        .remove(&(Kind::Mailbox, "u@d.test".to_owned()));
    assert!(layer.login("u@d.test").await.unwrap().row.is_none());
    while layer.status().await.extent.rows.contains_key("mailbox") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn access_rows_stand_and_missing_ones_let_mail_through() {
    const SENDER: AccessTable = AccessTable::Sender;
    for listed in [true, false] {
        let world = World::new(listed);
        let reject = Listed::Text("REJECT".into());
        world.tables.set(Kind::Access(SENDER), "evil.test", reject);
        let layer = world.filled().await;
        if !listed {
            for key in ["evil.test", "good.test"] {
                layer.access(SENDER, key).await.unwrap();
            }
            while layer.status().await.extent.rows.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(layer.status().await.extent.rows["access_sender"], 1);
        world.tables.mode(Mode::Errors);
        let found = layer.access(SENDER, "evil.test").await.unwrap();
        assert_eq!(
            (found.row.as_deref(), found.source),
            (Some("REJECT"), Source::Replica)
        );
        for (table, key) in [
            (SENDER, "good.test"),
            (SENDER, "new.test"),
            (AccessTable::Helo, "evil.test"),
        ] {
            assert_eq!(layer.access(table, key).await.unwrap().row, None, "{key}");
        }
    }
}

//! A qmgr in this process, with a fake authd and with servers that do what a test says.

#![allow(clippy::unwrap_used, dead_code)]

pub mod dns;
pub mod sink;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_api::directory::{
    Delivery, DomainClass, Explanation, MailboxAnswer, NextHop, Question, Recipient as Asked, Refusal,
    Resolution, Route, SenderLogin, Target, Usage, Vacation, Verdict,
};
use auth_api::server::{Directory, Limits, Services, Unserved, serve};
use auth_api::{Role, Trace, Unavailable, access};
use daemon::{Context, Daemon};
use events::Memory;
use mail_types::{Address, MailId, Notify, ReversePath};
use qmgr::config::Settings;
use queue_api::client::{HintClient, QueueClient};
use spool::{BodyType, Envelope, InitialState, Owner, Recipient, Spool};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// What the fake authd knows.
#[derive(Default)]
pub struct FakeAuthd {
    /// By domain.
    pub routes: Mutex<HashMap<String, Route>>,
    /// By address; others resolve to themselves.
    pub aliases: Mutex<HashMap<String, Vec<(String, Target)>>>,
    /// Addresses that are refused.
    pub refused: Mutex<Vec<String>>,
}

impl Directory for FakeAuthd {
    async fn resolve(&self, asked: Asked, _: Trace) -> Result<Resolution, Unavailable> {
        let Asked::Address(address) = asked else {
            return Err(Unavailable::new("not faked"));
        };
        let key = address.to_string();
        let verdict = if self.refused.lock().unwrap().contains(&key) {
            Verdict::Refuse(no_such_user())
        } else if let Some(targets) = self.aliases.lock().unwrap().get(&key) {
            let of = |(target, kind): &(String, Target)| Delivery {
                final_address: target.parse().unwrap(),
                expanded: true,
                target: kind.clone(),
            };
            Verdict::Deliver(targets.iter().map(of).collect())
        } else {
            Verdict::Deliver(vec![Delivery {
                final_address: address,
                expanded: false,
                target: Target::Remote,
            }])
        };
        Ok(Resolution {
            class: DomainClass::Foreign,
            verdict,
            steps: vec![],
        })
    }

    async fn route(&self, address: Address, _: Trace) -> Result<Route, Unavailable> {
        let routes = self.routes.lock().unwrap();
        routes
            .get(address.domain().as_str())
            .cloned()
            .ok_or_else(|| Unavailable::new("no route in this test"))
    }

    async fn lookup_mailbox(&self, _: Address, _: Trace) -> Result<MailboxAnswer, Unavailable> {
        Err(Unavailable::new("not faked"))
    }

    async fn check_sender_login(&self, _: Address, _: Address, _: Trace) -> Result<SenderLogin, Unavailable> {
        Err(Unavailable::new("not faked"))
    }

    async fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> Result<access::Answer, Unavailable> {
        Unserved.check_access(question, trace).await
    }

    async fn vacation(&self, address: Address, trace: Trace) -> Result<Option<Vacation>, Unavailable> {
        Unserved.vacation(address, trace).await
    }

    async fn usage(&self, address: Address, trace: Trace) -> Result<Usage, Unavailable> {
        Unserved.usage(address, trace).await
    }

    async fn explain(&self, question: Question) -> Explanation {
        Unserved.explain(question).await
    }
}

pub fn no_such_user() -> Refusal {
    Refusal {
        code: 550,
        status: "5.1.1".parse().unwrap(),
        text: "User unknown".to_owned(),
    }
}

/// Everything below one temporary directory.
pub struct World {
    pub dir: tempfile::TempDir,
    pub authd: Arc<FakeAuthd>,
    /// Extra lines of `[qmgr]`.
    options: String,
    authd_stop: Option<CancellationToken>,
}

/// A running qmgr.
pub struct Running {
    ctx: Context<Settings>,
    task: tokio::task::JoinHandle<Result<(), daemon::BoxError>>,
    pub events: Memory,
}

impl World {
    pub async fn new(options: &str) -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            authd: Arc::default(),
            options: options.to_owned(),
            authd_stop: None,
        };
        std::fs::create_dir_all(world.run_dir().join("authd/qmgr")).unwrap();
        std::fs::create_dir_all(world.run_dir().join("lmtp")).unwrap();
        world.start_authd();
        world
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn lmtp_socket(&self) -> PathBuf {
        self.run_dir().join("lmtp/sock")
    }

    pub fn start_authd(&mut self) {
        let socket = self.run_dir().join("authd/qmgr/sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        let services = Services {
            directory: Arc::clone(&self.authd),
            logins: Arc::new(Unserved),
            admin: Arc::new(Unserved),
        };
        let stop = CancellationToken::new();
        self.authd_stop = Some(stop.clone());
        tokio::spawn(serve(
            listener,
            Role::Qmgr,
            services,
            Limits::default(),
            stop.cancelled_owned(),
        ));
    }

    pub fn stop_authd(&mut self) {
        if let Some(stop) = self.authd_stop.take() {
            stop.cancel();
        }
        let _ = std::fs::remove_file(self.run_dir().join("authd/qmgr/sock"));
    }

    /// Mail for this domain goes to deliver.
    pub fn local(&self, domain: &str) {
        self.authd
            .routes
            .lock()
            .unwrap()
            .insert(domain.to_owned(), Route::Local);
    }

    /// Mail for this domain goes to a port of this host.
    pub fn remote(&self, domain: &str, port: u16) {
        let hop = NextHop {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            use_mx: false,
            explicit: true,
        };
        self.authd
            .routes
            .lock()
            .unwrap()
            .insert(domain.to_owned(), Route::Smtp(hop));
    }

    pub fn config(&self) -> config::Config {
        let text = format!(
            "[general]\nmyhostname = \"mail.here.test\"\nrun_dir = \"{0}/run\"\nspool_dir = \"{0}/spool\"\n\
             shutdown_timeout = \"2s\"\n\
             [qmgr]\nminimal_backoff_time = \"200ms\"\nmaximal_backoff_time = \"400ms\"\ndaemon_probe_interval = \"100ms\"\n\
             queue_scan_interval = \"500ms\"\nsmtp_private_networks = [\"127.0.0.0/8\"]\n{1}",
            self.dir.path().display(),
            self.options
        );
        config::Config::from_toml(&text).unwrap()
    }

    /// Starts qmgr, and returns when it has looked at what lies in the spool.
    pub async fn start(&self) -> Running {
        let config = self.config();
        let settings = qmgr::Qmgr::settings(&config).unwrap();
        let (ctx, events) = Context::for_test(config, settings);
        let admin = self.config().general.qmgr_admin_socket();
        let _ = std::fs::remove_file(&admin);
        let task = tokio::spawn(qmgr::Qmgr::run(ctx.clone()));
        until("qmgr serves", || task.is_finished() || admin.exists()).await;
        self.queue().list().await.unwrap();
        Running { ctx, task, events }
    }

    /// A message put into the spool as smtpd does it.
    pub fn put(&self, envelope: &Envelope, body: &[u8]) -> MailId {
        let disk = durable::Disk::new();
        let spool = Spool::open(&disk, &self.dir.path().join("spool"), Owner::Smtpd).unwrap();
        let id = new_id();
        let mut writer = spool.begin(id).unwrap();
        writer.write(body).unwrap();
        writer.finish(envelope).unwrap();
        id
    }

    /// Many messages.
    pub fn put_many(&self, count: u64, envelope: impl Fn(u64) -> Envelope + Sync) {
        let spool = Spool::open(
            &durable::Disk::new(),
            &self.dir.path().join("spool"),
            Owner::Smtpd,
        )
        .unwrap();
        // Their syncs are in flight together.
        std::thread::scope(|scope| {
            for lane in 0..16 {
                let (spool, envelope) = (&spool, &envelope);
                scope.spawn(move || {
                    for n in (lane..count).step_by(16) {
                        let mut writer = spool.begin(new_id()).unwrap();
                        writer.write(BODY).unwrap();
                        writer.finish(&envelope(n)).unwrap();
                    }
                });
            }
        });
    }

    pub fn hint(&self, id: MailId) {
        HintClient::start(self.config().general.qmgr_hint_socket()).arrived(id);
    }

    pub fn queue(&self) -> QueueClient {
        QueueClient::connect(self.config().general.qmgr_admin_socket())
    }

    /// Names of the files of messages and journals.
    pub fn files(&self) -> Vec<String> {
        let incoming = self.dir.path().join("spool/incoming");
        let mut found = Vec::new();
        for shard in std::fs::read_dir(incoming).into_iter().flatten() {
            for file in std::fs::read_dir(shard.unwrap().path()).into_iter().flatten() {
                found.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
        found
    }

    pub async fn until_empty(&self) {
        until("the spool is empty", || self.files().is_empty()).await;
    }
}

impl Running {
    /// As SIGTERM.
    pub async fn stop(self) -> Memory {
        self.ctx.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        self.events
    }

    /// As SIGKILL: nothing is finished.
    pub async fn kill(self) {
        let root = self.ctx.config().general.spool_dir.as_path().to_owned();
        self.task.abort();
        let _ = self.task.await;
        // The tasks of its sockets, which a real kill ends too.
        self.ctx.shutdown.cancel();
        drop(self.ctx);
        // Tasks of it that write to the disk right now keep the lock until they are through.
        until("its lock is free", || {
            Spool::open(&durable::Disk::new(), &root, Owner::Qmgr).is_ok()
        })
        .await;
    }

    /// The names of the events about a message, in order.
    pub fn story(&self, id: MailId) -> Vec<String> {
        let id = id.to_string();
        self.events
            .all()
            .iter()
            .filter(|e| e.id.as_deref() == Some(&id))
            .map(events::Event::name)
            .collect()
    }

    /// The events of this name.
    pub fn named(&self, name: &str) -> Vec<events::Event> {
        self.events
            .all()
            .into_iter()
            .filter(|e| e.name() == name)
            .collect()
    }
}

/// Waits for a condition, at most ten seconds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn new_id() -> MailId {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    MailId::new(
        1_700_000_000_000 + n,
        (u128::from(n) << 40) + u128::from(n) * 7919,
    )
}

pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        arrival_ms: 1_700_000_000_000,
        session: None,
        parent: None,
        sender: sender.parse::<ReversePath>().unwrap(),
        body: BodyType::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
        top: "Received: by test\r\n".to_owned(),
        recipients: (0..)
            .zip(recipients)
            .map(|(index, address)| recipient(index, address))
            .collect(),
        expanded: vec![],
    }
}

pub fn recipient(index: u32, address: &str) -> Recipient {
    Recipient {
        index,
        original: address.parse().unwrap(),
        final_address: Some(address.parse().unwrap()),
        expanded: false,
        notify: None,
        orcpt: None,
        state: InitialState::Waiting,
    }
}

pub fn success() -> Option<Notify> {
    Notify::parse("SUCCESS,FAILURE")
}

pub const BODY: &[u8] = b"Subject: hello\r\nFrom: alice@here.test\r\n\r\n.dot\r\nbody\r\n";

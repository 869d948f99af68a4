//! What a test stands on: a Maildir, the fake authd, sessions over pipes, and a client that reads lines.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth_api::Role;
use auth_api::sasl::LoginContext;
use auth_api::server::{Limits, Services, Unserved, serve};
use config::Config;
use daemon::{CancellationToken, Context, Refused, Service};
use durable::{Op, Probe};
use events::Memory;
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::authd::Fake;
use crate::config::Settings;
use crate::maildrop::Maildirs;
use crate::service::{Pop3, Shared};
use crate::session::Session;

/// A step that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct World {
    refuse: Arc<AtomicBool>,
    place: tempfile::TempDir,
    shared: Arc<Shared>,
    ctx: Context<Settings>,
    memory: Memory,
    over: Arc<AtomicBool>,
    stop: CancellationToken,
    authd: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// A disk that refuses removals while the flag is up.
#[derive(Debug)]
struct Refusing(Arc<AtomicBool>);

impl Probe for Refusing {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        match op {
            Op::Unlink { .. } if self.0.load(Ordering::Relaxed) => {
                Err(io::Error::other("removals are refused"))
            }
            _ => Ok(()),
        }
    }
}

/// A message of 22 octets on the wire for a subject of three letters.
pub(super) fn message(subject: &str) -> String {
    format!("Subject: {subject}\n\nbody\n")
}

impl World {
    pub(super) async fn new(options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().display();
        let mut text = options.to_owned();
        if !text.contains("login_trusted_networks") {
            text = format!("{options}\n[general]\nlogin_trusted_networks = [\"127.0.0.0/8\"]");
        }
        let paths = format!("[general]\nrun_dir = \"{root}/run\"\nvirtual_mailbox_base = \"{root}/mail\"");
        let config = Config::from_toml(&text.replace("[general]", &paths)).unwrap();
        let settings = Settings::new(&config);
        let socket = settings.authd_socket.clone();
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        fs::create_dir_all(&settings.virtual_mailbox_base).unwrap();
        let owner = fs::metadata(place.path()).unwrap();
        let stop = CancellationToken::new();
        let over = Arc::new(AtomicBool::new(false));
        let authd = start_authd(
            &socket,
            Fake {
                uid: owner.uid(),
                gid: owner.gid(),
                over: Arc::clone(&over),
            },
            stop.clone(),
        );
        let refuse = Arc::new(AtomicBool::new(false));
        let disk = durable::Disk::with_probe(Arc::new(Refusing(Arc::clone(&refuse))));
        let maildirs = Maildirs {
            base: disk.open_root(&settings.virtual_mailbox_base).unwrap(),
            store: maildir_store::Store::new(disk, "mx.test"),
        };
        let (ctx, memory) = Context::for_test(config, settings);
        let shared = Arc::new(Shared::new(ctx.clone(), maildirs));
        Self {
            refuse,
            place,
            shared,
            ctx,
            memory,
            over,
            stop,
            authd: Some(authd).into(),
        }
    }

    fn maildir(&self) -> PathBuf {
        self.place.path().join("mail/a.test/u")
    }

    /// Delivers as another program would.
    pub(super) fn put(&self, name: &str, message: &str) {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.maildir().join(part)).unwrap();
        }
        let tmp = self.maildir().join("tmp").join(name);
        fs::write(&tmp, message).unwrap();
        fs::rename(tmp, self.maildir().join("new").join(name)).unwrap();
    }

    /// Removes all messages behind the server's back.
    pub(super) fn remove_all(&self) {
        for part in ["new", "cur"] {
            for file in fs::read_dir(self.maildir().join(part)).unwrap() {
                fs::remove_file(file.unwrap().path()).unwrap();
            }
        }
    }

    /// From now on no file can be removed, as on a volume that failed.
    pub(super) fn refuse_removals(&self, refuse: bool) {
        self.refuse.store(refuse, Ordering::Relaxed);
    }

    /// The first lines of all messages.
    pub(super) fn subjects(&self) -> Vec<String> {
        let files = ["new", "cur"]
            .iter()
            .flat_map(|part| fs::read_dir(self.maildir().join(part)).unwrap());
        let mut subjects: Vec<String> = files
            .map(|file| {
                fs::read_to_string(file.unwrap().path())
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        subjects.sort();
        subjects
    }

    pub(super) fn connect(&self) -> Client {
        let (ours, theirs) = duplex(64 * 1024);
        let address = "127.0.0.1:1234".parse().unwrap();
        let context = LoginContext {
            service: "pop3".into(),
            peer: address,
            local: address,
            session: self.ctx.new_session_id(),
            tls: None,
            trusted: self
                .shared
                .settings()
                .login_trusted_networks
                .contains(address.ip()),
        };
        tokio::spawn(Session::new(Arc::clone(&self.shared), context, true, false).serve(theirs, false));
        let (reader, writer) = split(ours);
        Client {
            reader: BufReader::new(reader),
            writer,
        }
    }

    /// What a client hears that is over a limit.
    pub(super) fn refusal(&self) -> String {
        let peer = daemon::Peer::Tcp("127.0.0.1:1234".parse().unwrap());
        let service = Pop3 {
            shared: Arc::clone(&self.shared),
        };
        String::from_utf8(service.refusal(Refused::Full, &peer)).unwrap()
    }

    /// The ids of a UIDL.
    pub(super) async fn unique_ids(&self) -> Vec<String> {
        let mut client = self.connect();
        client.expect("+OK").await;
        client.log_in().await;
        client.send("UIDL").await;
        client.expect("+OK").await;
        let ids = client
            .lines()
            .await
            .iter()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect();
        client.say("QUIT", "+OK").await;
        client.closed().await;
        ids
    }

    /// From now on no login of before is valid; nobody has asked yet.
    pub(super) fn change_password(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Asks about the open sessions, as the process does again and again.
    pub(super) async fn check_sessions(&self) {
        self.shared.sessions.check(&self.shared.authd).await;
    }

    pub(super) async fn stop_authd(&self) {
        self.stop.cancel();
        let task = self.authd.lock().unwrap().take().unwrap();
        task.await.unwrap();
    }

    /// The names of all events so far.
    pub(super) fn events(&self) -> Vec<String> {
        self.memory.all().iter().map(events::Event::name).collect()
    }

    pub(super) async fn wait_for(&self, event: &str) {
        let seen = async {
            while !self.events().iter().any(|name| name == event) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, seen).await.unwrap();
    }

    /// Waits until a session ended for this reason.
    pub(super) async fn wait_for_reason(&self, wanted: &str) {
        let wanted = events::access::Kind::Disconnected {
            reason: wanted.to_owned(),
        };
        let seen = async {
            while !self
                .memory
                .all()
                .iter()
                .any(|event| event.kind == wanted.clone().into())
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, seen).await.unwrap();
    }
}

fn start_authd(socket: &Path, fake: Fake, stop: CancellationToken) -> JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let services = Services {
        directory: Arc::new(Unserved),
        logins: Arc::new(fake),
        admin: Arc::new(Unserved),
    };
    let socket = socket.to_owned();
    tokio::spawn(async move {
        let shutdown = async move { stop.cancelled().await };
        serve(listener, Role::Pop3d, services, Limits::default(), shutdown)
            .await
            .unwrap();
        fs::remove_file(socket).unwrap();
    })
}

pub(super) struct Client {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Client {
    pub(super) async fn send(&mut self, line: &str) {
        let bytes = format!("{line}\r\n");
        // The session may have closed already; what it said before is what counts.
        let _ = timeout(LIMIT, self.writer.write_all(bytes.as_bytes()))
            .await
            .unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(LIMIT, self.reader.read_line(&mut line))
            .await
            .expect("a reply in time")
            .unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("{line:?} ends with CRLF"))
            .to_owned()
    }

    pub(super) async fn expect(&mut self, start: &str) {
        let line = self.line().await;
        assert!(line.starts_with(start), "{line:?} does not begin with {start:?}");
    }

    pub(super) async fn say(&mut self, line: &str, reply: &str) {
        self.send(line).await;
        self.expect(reply).await;
    }

    /// The lines of a multi-line reply, dots taken off.
    pub(super) async fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line == "." {
                return lines;
            }
            lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
        }
    }

    pub(super) async fn log_in(&mut self) {
        self.say("USER u@a.test", "+OK").await;
        self.say("PASS secret", "+OK logged in.").await;
    }

    pub(super) async fn half_close(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// Waits until the session has closed.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        timeout(LIMIT, self.reader.read_to_end(&mut rest))
            .await
            .expect("closed in time")
            .unwrap();
    }
}

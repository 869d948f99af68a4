//! What a test stands on: a Maildir, the fake authd, sessions over pipes, and a client that reads responses.

use std::fs;
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
use events::Memory;
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::authd::Fake;
use crate::config::Settings;
use crate::service::{Imap, Shared};
use crate::session::Session;
use crate::store::Maildirs;

/// A step that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct World {
    place: tempfile::TempDir,
    shared: Arc<Shared>,
    ctx: Context<Settings>,
    memory: Memory,
    over: Arc<AtomicBool>,
    stop: CancellationToken,
    authd: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl World {
    /// `options` is TOML; where it has a `[general]`, that comes last in it.
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
        let fake = Fake {
            uid: owner.uid(),
            gid: owner.gid(),
            over: Arc::clone(&over),
        };
        let authd = start_authd(&socket, fake, stop.clone());
        let maildirs = Maildirs::open(&settings).unwrap();
        let (ctx, memory) = Context::for_test(config, settings);
        let shared = Arc::new(Shared::new(ctx.clone(), maildirs));
        Self {
            place,
            shared,
            ctx,
            memory,
            over,
            stop,
            authd: Some(authd).into(),
        }
    }

    pub(super) fn maildir(&self) -> PathBuf {
        self.place.path().join("mail/a.test/u")
    }

    /// Delivers as another program would.
    pub(super) fn put(&self, name: &str, message: &str) {
        self.put_bytes(name, message.as_bytes());
    }

    pub(super) fn put_bytes(&self, name: &str, message: &[u8]) {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.maildir().join(part)).unwrap();
        }
        let tmp = self.maildir().join("tmp").join(name);
        fs::write(&tmp, message).unwrap();
        fs::rename(tmp, self.maildir().join("new").join(name)).unwrap();
    }

    /// The file names in a directory below the Maildir, sorted.
    pub(super) fn files(&self, directory: &str) -> Vec<String> {
        let list = fs::read_dir(self.maildir().join(directory)).unwrap();
        let mut names: Vec<String> = list
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What a client hears that finds the house full.
    pub(super) fn refusal(&self) -> String {
        let peer = daemon::Peer::Tcp("127.0.0.1:1234".parse().unwrap());
        let service = Imap {
            shared: Arc::clone(&self.shared),
        };
        String::from_utf8(service.refusal(Refused::Full, &peer)).unwrap()
    }

    pub(super) fn connect(&self) -> Client {
        let (ours, theirs) = duplex(64 * 1024);
        let address = "127.0.0.1:1234".parse().unwrap();
        let context = LoginContext {
            service: "imap".into(),
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
        let session = Session::new(Arc::clone(&self.shared), context, false, Box::new(theirs));
        tokio::spawn(session.serve(false));
        let (reader, writer) = split(ours);
        Client {
            reader: BufReader::new(reader),
            writer,
        }
    }

    /// A client that has logged in.
    pub(super) async fn log_in(&self) -> Client {
        let mut client = self.connect();
        assert!(client.response().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client.ok("LOGIN u@a.test secret").await;
        client
    }

    /// A client that has logged in and selected a mailbox.
    pub(super) async fn select(&self, mailbox: &str) -> Client {
        let mut client = self.log_in().await;
        client.ok(&format!("SELECT {mailbox}")).await;
        client
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

    /// How many folders are kept for somebody to come back.
    pub(super) fn kept(&self) -> usize {
        self.shared.warm.len()
    }

    pub(super) fn shut_down(&self) {
        self.ctx.shutdown.cancel();
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
        serve(listener, Role::Imapd, services, Limits::default(), shutdown)
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
    /// Sends bytes as they are. The session may have closed already; what it said before is what counts.
    pub(super) async fn send(&mut self, bytes: &str) {
        let _ = timeout(LIMIT, self.writer.write_all(bytes.as_bytes()))
            .await
            .unwrap();
    }

    /// One response with its literals, without the last line end; empty at the end of the connection.
    pub(super) async fn response(&mut self) -> String {
        String::from_utf8_lossy(&self.response_bytes().await).into_owned()
    }

    /// The same as it came.
    pub(super) async fn response_bytes(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        loop {
            let read = timeout(LIMIT, self.reader.read_until(b'\n', &mut response));
            if read.await.expect("a response in time").unwrap() == 0 {
                return Vec::new();
            }
            assert!(
                response.ends_with(b"\r\n"),
                "{:?}",
                response.escape_ascii().to_string()
            );
            response.truncate(response.len() - 2);
            let Some(len) = announced(&response) else {
                return response;
            };
            response.extend_from_slice(b"\r\n");
            let start = response.len();
            response.resize(start + len, 0);
            timeout(LIMIT, self.reader.read_exact(&mut response[start..]))
                .await
                .expect("a literal")
                .unwrap();
        }
    }

    /// Sends a command; the untagged responses and the tagged one, without its tag, as the last.
    pub(super) async fn command(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("t {command}\r\n")).await;
        self.answer("t").await
    }

    /// The responses up to the one with this tag.
    pub(super) async fn answer(&mut self, tag: &str) -> Vec<String> {
        let mut responses = Vec::new();
        loop {
            let response = self.response().await;
            assert!(!response.is_empty(), "closed after {responses:?}");
            if let Some(tagged) = response.strip_prefix(&format!("{tag} ")) {
                responses.push(tagged.to_owned());
                return responses;
            }
            responses.push(response);
        }
    }

    /// Sends a command that must succeed; the untagged responses.
    pub(super) async fn ok(&mut self, command: &str) -> Vec<String> {
        let mut responses = self.command(command).await;
        let tagged = responses.pop().unwrap();
        assert!(tagged.starts_with("OK "), "{command}: {responses:?} {tagged}");
        responses
    }

    /// Sends a command whose tagged response must begin like this.
    pub(super) async fn tagged(&mut self, command: &str, start: &str) {
        let responses = self.command(command).await;
        let tagged = responses.last().unwrap();
        assert!(
            tagged.starts_with(start),
            "{command}: {responses:?} does not end with {start:?}"
        );
    }

    /// APPEND without waiting; the tagged response.
    pub(super) async fn append(&mut self, arguments: &str, message: &str) -> String {
        self.send(&format!(
            "t APPEND {arguments} {{{}+}}\r\n{message}\r\n",
            message.len()
        ))
        .await;
        self.answer("t").await.pop().unwrap()
    }

    /// Everything until the session closes.
    pub(super) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        timeout(LIMIT, self.reader.read_to_end(&mut rest))
            .await
            .expect("closed in time")
            .unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// The length of a literal that the line announces.
fn announced(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|b| *b == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}

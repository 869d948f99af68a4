//! Whole sessions in memory: a directory of fixed answers, a deliver that does as told, a temporary spool.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod deliver;
pub mod directory;

use std::sync::Arc;
use std::time::Duration;

use config::Config;
use daemon::Context;
use events::Memory;
use mail_types::MailId;
use smtpd::config::Settings;
use smtpd::server::App;
use smtpd::session::{Client, Session};
use spool::{Owner, Spool, StoredMessage};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use deliver::FakeDeliver;
use directory::FakeDirectory;

/// smtpd with everything around it.
pub struct Site {
    pub dir: TempDir,
    pub app: Arc<App<FakeDirectory>>,
    pub directory: FakeDirectory,
    pub deliver: FakeDeliver,
    pub events: Memory,
    certificate: CertificateDer<'static>,
}

impl Site {
    /// With `more` in the configuration; deliver runs.
    pub async fn new(more: &str) -> Self {
        Self::with("", more).await
    }

    /// With `general` in `[general]`.
    pub async fn with(general: &str, more: &str) -> Self {
        let site = Self::without_deliver(&format!("{more}\n#general {general}")).await;
        site.deliver.start().await;
        site
    }

    /// deliver does not run.
    pub async fn without_deliver(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let names = vec!["mx.test".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(dir.path().join("cert.pem"), pair.cert.pem()).unwrap();
        let key = dir.path().join("key.pem");
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let (more, general) = more.split_once("\n#general ").unwrap_or((more, ""));
        let text = format!(
            "[general]\n{general}\nmyhostname = \"mx.test\"\nrun_dir = \"{root}/run\"\nspool_dir = \"{root}/spool\"\n\
             [tls]\ncertificate_file = \"{root}/cert.pem\"\nkey_file = \"{root}/key.pem\"\n{more}\n"
        );
        let config = Config::from_toml(&text).unwrap();
        let settings = Settings::new(&config).unwrap();
        let socket = settings.process.lmtp_socket.clone();
        let spool_dir = settings.process.spool_dir.clone();
        let (ctx, events) = Context::for_test(config, settings);
        let disk = durable::Disk::new();
        std::fs::create_dir_all(&spool_dir).unwrap();
        let spool = Spool::open(&disk, &spool_dir, Owner::Smtpd).unwrap();
        let directory = FakeDirectory::default();
        let app = Arc::new(App::new(ctx, directory.clone(), spool, None));
        Self {
            dir,
            app,
            directory,
            deliver: FakeDeliver::new(socket),
            events,
            certificate: pair.cert.der().clone(),
        }
    }

    /// Connects to a service; the banner is read.
    pub async fn connect(&self, service: &str) -> Dialogue {
        let mut dialogue = self.open(service);
        assert_eq!(dialogue.hear().await, "220 mx.test ESMTP Postrider\n");
        dialogue
    }

    /// Connects and reads nothing.
    pub fn open(&self, service: &str) -> Dialogue {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.serve(service, far);
        self.dialogue(Box::new(near))
    }

    /// The same over a socket.
    pub async fn open_tcp(&self, service: &str) -> Dialogue {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        near.set_nodelay(true).unwrap();
        let (far, _) = listener.accept().await.unwrap();
        far.set_nodelay(true).unwrap();
        self.serve(service, far);
        self.dialogue(Box::new(near))
    }

    fn serve(&self, service: &str, stream: impl Io + Sync + 'static) {
        let service = Arc::clone(&self.app.ctx.settings().services[service]);
        let client = Client {
            address: Some("192.0.2.1:1234".parse().unwrap()),
            local: Some("192.0.2.2:25".parse().unwrap()),
            exempt: false,
            stressed: false,
        };
        tokio::spawn(Session::new(Arc::clone(&self.app), service, stream, client).run());
    }

    fn dialogue(&self, stream: Box<dyn Io>) -> Dialogue {
        Dialogue {
            stream: Stream::Plain(stream),
            buffer: Vec::new(),
            certificate: self.certificate.clone(),
        }
    }

    /// Connects to submission, does STARTTLS and logs `user` in.
    pub async fn submission(&self, user: &str) -> Dialogue {
        let mut d = self.connect("submission").await;
        d.ask("EHLO c.test").await;
        d.starttls().await;
        d.ask("EHLO c.test").await;
        let response = format!("\0{user}\0secret");
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, response);
        assert_eq!(
            d.ask(&format!("AUTH PLAIN {encoded}")).await,
            "235 2.7.0 Authentication successful\n"
        );
        d
    }

    /// The messages in the spool.
    pub fn spooled(&self) -> Vec<StoredMessage> {
        let disk = durable::Disk::new();
        let spool = Spool::open(&disk, &self.dir.path().join("spool"), Owner::Qmgr).unwrap();
        let scan = spool.scan().unwrap();
        assert!(scan.strangers.is_empty() && scan.orphans.is_empty());
        scan.messages
            .iter()
            .map(|id| spool.open_message(*id).unwrap())
            .collect()
    }

    /// Files in smtpd's temporary directory.
    pub fn temporary(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("spool/tmp-smtpd"))
            .unwrap()
            .count()
    }

    /// The names of the events so far.
    pub fn event_names(&self) -> Vec<String> {
        self.events
            .all()
            .iter()
            .map(|event| {
                let value = serde_json::to_value(event).unwrap();
                value["event"].as_str().unwrap_or_default().to_owned()
            })
            .collect()
    }
}

/// The whole body of a stored message.
pub fn body(message: &StoredMessage) -> String {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut message.body(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

enum Stream {
    Plain(Box<dyn Io>),
    Tls(Box<tokio_rustls::client::TlsStream<Box<dyn Io>>>),
    Gone,
}

/// A stream of any kind.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The client's side.
pub struct Dialogue {
    stream: Stream,
    buffer: Vec<u8>,
    certificate: CertificateDer<'static>,
}

impl Dialogue {
    fn io(&mut self) -> &mut dyn Io {
        match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream,
            Stream::Gone => panic!("the stream is gone"),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that has closed already is seen at the next reply.
        let _ = self.io().write_all(bytes.as_ref()).await;
        let _ = self.io().flush().await;
    }

    /// Sends a line and hears the reply.
    pub async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.hear().await
    }

    /// One whole reply, lines ending in LF; `eof` where the server has closed.
    pub async fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            while let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let line = String::from_utf8(line).unwrap();
                reply.push_str(line.trim_end_matches("\r\n"));
                reply.push('\n');
                if line.as_bytes()[3] == b' ' {
                    return reply;
                }
            }
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(20), self.io().read(&mut piece)).await;
            match read.expect("no reply in time") {
                Ok(0) | Err(_) => return format!("{reply}eof"),
                Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// STARTTLS and the handshake.
    pub async fn starttls(&mut self) {
        assert_eq!(self.ask("STARTTLS").await, "220 2.0.0 Ready to start TLS\n");
        self.handshake().await;
    }

    /// The handshake alone.
    pub async fn handshake(&mut self) {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            panic!("TLS is active");
        };
        let name = ServerName::try_from("mx.test").unwrap();
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        self.stream = Stream::Tls(Box::new(tls));
    }

    /// MAIL and RCPT, all of them accepted.
    pub async fn envelope(&mut self, sender: &str, rcpts: &[&str]) {
        assert_eq!(self.ask(&format!("MAIL FROM:<{sender}>")).await, "250 2.1.0 Ok\n");
        for rcpt in rcpts {
            assert_eq!(
                self.ask(&format!("RCPT TO:<{rcpt}>")).await,
                "250 2.1.5 Ok\n",
                "{rcpt}"
            );
        }
    }

    /// DATA with this message (without its final dot).
    pub async fn data(&mut self, message: &str) -> String {
        assert!(self.ask("DATA").await.starts_with("354 "));
        self.send(message).await;
        self.ask(".").await
    }
}

/// The id at the end of `250 2.0.0 Ok: queued as ID`.
pub fn queued(reply: &str) -> MailId {
    let id = reply
        .strip_prefix("250 2.0.0 Ok: queued as ")
        .unwrap_or_else(|| panic!("{reply}"));
    id.trim_end().parse().unwrap()
}

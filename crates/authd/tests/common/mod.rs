//! An authd on a directory of its own.

// Each test file uses a part of it; clippy does not see that this is a test.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use auth_api::Role;
use auth_api::admin::{DomainRecord, NewMailbox};
use auth_api::client::Client;
use auth_api::sasl::{LoginContext, TlsState};
use authd::config::Settings;
use config::Config;
use daemon::{BoxError, CancellationToken, Context, Daemon as _};
use mail_types::{Address, Domain, Secret, SessionId};
use tokio::task::JoinHandle;

/// A running authd.
pub struct Authd {
    dir: Arc<tempfile::TempDir>,
    extra: String,
    stop: CancellationToken,
    /// Its decision log.
    pub events: events::Memory,
    running: JoinHandle<Result<(), BoxError>>,
}

impl Authd {
    /// On a new SQLite file.
    pub async fn start() -> Self {
        Self::configured("").await
    }

    /// With these lines of configuration too.
    pub async fn configured(extra: &str) -> Self {
        Self::in_dir(Arc::new(tempfile::tempdir().unwrap()), extra).await
    }

    async fn in_dir(dir: Arc<tempfile::TempDir>, extra: &str) -> Self {
        let config = Config::from_toml(&format!(
            "[general]\nmyhostname = \"mail.example.com\"\npostmaster_address = \"alice@example.com\"\n\
             run_dir = \"{dir}/run\"\nstate_dir = \"{dir}/state\"\n{extra}",
            dir = dir.path().display()
        ))
        .unwrap();
        let settings = Settings::new(&config).unwrap();
        let (ctx, events) = Context::for_test(config, settings);
        let stop = ctx.shutdown.clone();
        let running = tokio::spawn(authd::Authd::run(ctx));
        let authd = Self {
            dir,
            extra: extra.to_owned(),
            stop,
            events,
            running,
        };
        // The last socket is there when all are.
        while !authd.socket(Role::Admin).exists() {
            assert!(!authd.running.is_finished(), "authd did not start");
            tokio::task::yield_now().await;
        }
        authd
    }

    /// With example.com and alice, whose password is `correct horse`.
    pub async fn with_alice() -> Self {
        let authd = Self::start().await;
        authd.add_alice().await;
        authd
    }

    /// Adds them.
    pub async fn add_alice(&self) {
        let admin = self.client(Role::Admin);
        admin
            .create_domain(DomainRecord::new(domain("example.com")))
            .await
            .unwrap();
        let mut mailbox = NewMailbox::new(address("alice@example.com"), Secret::new("correct horse"));
        mailbox.name = "Alice".into();
        admin.create_mailbox(mailbox).await.unwrap();
    }

    fn socket(&self, role: Role) -> std::path::PathBuf {
        self.dir.path().join("run/authd").join(role.as_str()).join("sock")
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A client of a role.
    pub fn client(&self, role: Role) -> Client {
        Client::connect(self.socket(role))
    }

    /// Stops and starts it again.
    pub async fn restart(self) -> Self {
        let extra = self.extra.clone();
        let dir = self.stop_keeping().await;
        for role in Role::ALL {
            let _ = std::fs::remove_file(dir.path().join("run/authd").join(role.as_str()).join("sock"));
        }
        Self::in_dir(dir, &extra).await
    }

    /// Stops it and keeps its directory.
    pub async fn stop_keeping(self) -> Arc<tempfile::TempDir> {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.dir
    }

    /// Stops it.
    pub async fn stop(self) {
        self.stop_keeping().await;
    }
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn domain(text: &str) -> Domain {
    Domain::new(text).unwrap()
}

/// A PLAIN message.
pub fn plain(login: &str, password: &str) -> Secret {
    Secret::new(format!("\0{login}\0{password}"))
}

/// A connection with TLS.
pub fn context() -> LoginContext {
    LoginContext {
        service: "imap".into(),
        peer: "192.0.2.1:1234".parse().unwrap(),
        local: "192.0.2.2:143".parse().unwrap(),
        session: SessionId::new(1, 1),
        tls: Some(TlsState {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            tls_exporter: vec![],
            tls_server_end_point: vec![],
            client_names: vec![],
        }),
        trusted: false,
    }
}

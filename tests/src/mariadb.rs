//! Private MariaDB servers: one shared by all tests of a run, and separate ones for tests that stop theirs.
//!
//! The shared server is the one that `POSTRIDER_TEST_MYSQL` names (a socket path; `cargo xtask test` sets it), or it is
//! started by the first test process that needs one. Every process that uses it holds a shared lock on a file; a small
//! guard process ends the server when nobody has held the lock for a while, so nothing is left behind.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use nix::unistd::geteuid;

use crate::packages;
use crate::process::Process;
use crate::wait;

/// The account that authd uses on a private server; it may do everything there.
pub const USER: &str = "postrider";
/// Its password.
pub const PASSWORD: &str = "Db secret 1";

/// Where the shared server's socket is passed from xtask to the tests.
pub const SOCKET_VARIABLE: &str = "POSTRIDER_TEST_MYSQL";

/// A running server, or one that a test has stopped.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    process: Option<Process>,
}

impl Server {
    /// The server that all tests of this run share; started if need be.
    ///
    /// # Errors
    /// When MariaDB is neither installed nor installable, or does not start.
    pub fn shared() -> Result<Self> {
        if let Some(socket) = env::var_os(SOCKET_VARIABLE) {
            return Ok(Self {
                socket: socket.into(),
                process: None,
            });
        }
        static LEASE: OnceLock<File> = OnceLock::new();
        let place = shared_place()?;
        let start = File::create(place.join("start.lock"))?;
        start.lock().context("lock of the shared MariaDB")?;
        let users = File::create(place.join("users.lock"))?;
        users.lock_shared().context("lease of the shared MariaDB")?;
        let _ = LEASE.set(users);
        let server = Self {
            socket: place.join("sock"),
            process: None,
        };
        if server.ping().is_err() {
            start_shared(&place)?;
            wait::for_true("the shared MariaDB", wait::LONG, || Ok(server.ping().is_ok()))
                .with_context(|| fs::read_to_string(place.join("log")).unwrap_or_default())?;
        }
        Ok(server)
    }

    /// A server of one's own with its data in `directory`, which is made.
    ///
    /// # Errors
    /// When MariaDB is neither installed nor installable, or does not start.
    pub fn private(directory: &Path) -> Result<Self> {
        Self::private_with(directory, &[])
    }

    /// The same with more options of mariadbd, which win over the harness's.
    ///
    /// # Errors
    /// As [`Server::private`].
    pub fn private_with(directory: &Path, options: &[String]) -> Result<Self> {
        let program = prepare(directory)?;
        let mut arguments = arguments(directory, false)?;
        arguments.extend_from_slice(options);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::new("mariadbd", program, &arguments, None, directory.join("log"));
        let mut server = Self {
            socket: directory.join("sock"),
            process: Some(process),
        };
        server.start()?;
        Ok(server)
    }

    /// A server of one's own that listens on TCP too, on a free port of `127.0.0.1`, with these further arguments
    /// (TLS, read-only...).
    ///
    /// # Errors
    /// As [`Server::private`].
    pub fn with_network(directory: &Path, further: &[String]) -> Result<(Self, u16)> {
        let program = prepare(directory)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut arguments = arguments(directory, false)?;
        arguments.retain(|argument| argument != "--skip-networking");
        arguments.push("--bind-address=127.0.0.1".to_owned());
        arguments.push(format!("--port={port}"));
        arguments.extend_from_slice(further);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::new("mariadbd", program, &arguments, None, directory.join("log"));
        let mut server = Self {
            socket: directory.join("sock"),
            process: Some(process),
        };
        server.start()?;
        Ok((server, port))
    }

    /// The Unix socket that clients connect to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether other tests use this server too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.process.is_none()
    }

    /// The process of a private server, for signals.
    ///
    /// # Errors
    /// When the server is the shared one.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process
            .as_mut()
            .context("the shared MariaDB is not a test's to stop")
    }

    /// Starts a private server (again) and waits until it answers.
    ///
    /// # Errors
    /// When it does not; its log is in the error.
    pub fn start(&mut self) -> Result<()> {
        let process = self.process()?;
        process.start()?;
        let log = process.log_file().to_path_buf();
        wait::for_true("MariaDB", wait::LONG, || Ok(self.ping().is_ok()))
            .with_context(|| fs::read_to_string(log).unwrap_or_default())
    }

    /// Executes statements in a database (`""` for none).
    ///
    /// # Errors
    /// When one fails.
    pub fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.execute_within(wait::LONG, database, sql)
    }

    /// The same for work that takes its time.
    ///
    /// # Errors
    /// When a statement fails, or all of them together take longer.
    pub fn execute_within(&self, limit: Duration, database: &str, sql: &str) -> Result<()> {
        self.connected(limit, database, async |mut connection| {
            connection.query_drop(sql).await?;
            connection.disconnect().await
        })
    }

    /// The first column of the first row that a query finds.
    ///
    /// # Errors
    /// When it fails or finds nothing.
    pub fn text(&self, sql: &str) -> Result<String> {
        let text = self.connected(wait::LONG, "", async |mut connection| {
            let text: Option<String> = connection.query_first(sql).await?;
            connection.disconnect().await?;
            Ok(text)
        })?;
        text.with_context(|| format!("no row: {sql}"))
    }

    /// Executes statements; the rows of the first, the columns of each as text with `|` between them.
    ///
    /// # Errors
    /// When one fails.
    pub fn rows(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        self.connected(wait::LONG, database, async |mut connection| {
            let rows: Vec<mysql_async::Row> = connection.query(sql).await?;
            connection.disconnect().await?;
            Ok(rows.into_iter().map(text_of).collect())
        })
    }

    /// Does something with a connection of its own.
    fn connected<T>(
        &self,
        limit: Duration,
        database: &str,
        work: impl AsyncFnOnce(Conn) -> mysql_async::Result<T>,
    ) -> Result<T> {
        let database = (!database.is_empty()).then(|| database.to_owned());
        let options = OptsBuilder::default()
            .socket(Some(self.socket.display().to_string()))
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(database);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let work = async { work(Conn::new(options).await?).await };
            tokio::time::timeout(limit, work)
                .await
                .context("MariaDB does not answer")?
                .map_err(Into::into)
        })
    }

    fn ping(&self) -> Result<()> {
        self.execute("", "DO 1")
    }
}

/// The columns of a row; all of them are text in the protocol of queries.
fn text_of(row: mysql_async::Row) -> String {
    let text = |value| match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    };
    row.unwrap().into_iter().map(text).collect::<Vec<_>>().join("|")
}

/// The server program; as root on Debian its package is installed if need be.
fn program() -> Result<PathBuf> {
    packages::ensure(&[packages::MARIADB])?;
    packages::find(packages::MARIADB.programs).context("the MariaDB server has gone")
}

/// Where the shared server lives: below the temporary directory, because authd under another uid has to reach the socket.
fn shared_place() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let build = program.parent().context("the running program lies nowhere")?;
    let mut name = String::new();
    for part in build.components().rev().take(6).collect::<Vec<_>>().iter().rev() {
        name.push('-');
        name.extend(
            part.as_os_str()
                .to_string_lossy()
                .chars()
                .filter(char::is_ascii_alphanumeric),
        );
    }
    let place = env::temp_dir().join(format!("postrider-db-{}{name}", geteuid()));
    match fs::DirBuilder::new().mode(0o755).create(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let owner = fs::symlink_metadata(&place)?;
    ensure!(
        owner.is_dir() && owner.uid() == geteuid().as_raw(),
        "{} is somebody else's",
        place.display()
    );
    Ok(place)
}

/// Starts the shared server with its guard, both detached from this process.
fn start_shared(place: &Path) -> Result<()> {
    let data = place.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let program = prepare(place)?;
    let log = File::create(place.join("log"))?;
    let mut server = Command::new(program);
    server
        .args(arguments(place, true)?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    let server = server.process_group(0).spawn().context("start mariadbd")?;
    let guard = "while sleep 20; do kill -0 \"$1\" || exit; flock -n -x \"$2\" kill \"$1\" && exit; done";
    Command::new("sh")
        .args(["-c", guard, "guard", &server.id().to_string()])
        .arg(place.join("users.lock"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the guard of mariadbd")?;
    Ok(())
}

/// Puts an empty set of system tables into `directory/data`, from a template that is made once.
fn prepare(directory: &Path) -> Result<PathBuf> {
    let program = program()?;
    fs::create_dir_all(directory)?;
    let template = shared_place()?.join("template");
    let lock = File::create(shared_place()?.join("template.lock"))?;
    lock.lock().context("lock of MariaDB's template")?;
    if !template.join("ready").exists() {
        make_template(&template)?;
    }
    let data = directory.join("data");
    let status = Command::new("cp")
        .arg("-r")
        .arg(template.join("data"))
        .arg(&data)
        .status()?;
    ensure!(status.success(), "copy of MariaDB's template: {status}");
    let account = format!(
        "CREATE USER IF NOT EXISTS '{USER}'@'localhost' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO '{USER}'@'localhost' WITH GRANT OPTION;\n"
    );
    fs::write(directory.join("account.sql"), account)?;
    Ok(program)
}

fn make_template(template: &Path) -> Result<()> {
    if template.exists() {
        fs::remove_dir_all(template)?;
    }
    fs::create_dir_all(template)?;
    let mut install = Command::new("mariadb-install-db");
    install
        .arg("--no-defaults")
        .arg(format!("--datadir={}", template.join("data").display()))
        .args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=8M",
        ])
        .args(user_argument())
        .stdin(Stdio::null());
    let output = install.output().context("run mariadb-install-db")?;
    if !output.status.success() {
        bail!("mariadb-install-db: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(template.join("ready"), "")?;
    Ok(())
}

fn arguments(directory: &Path, shared: bool) -> Result<Vec<String>> {
    let data = directory.join("data");
    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--socket={}", directory.join("sock").display()),
        format!("--pid-file={}", directory.join("pid").display()),
        format!("--init-file={}", directory.join("account.sql").display()),
    ];
    let tuning = [
        "--skip-networking",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=8M",
        // The shared server is never killed. A private one is, and must not forget what it has acknowledged.
        if shared {
            "--innodb-flush-log-at-trx-commit=0"
        } else {
            "--innodb-flush-log-at-trx-commit=1"
        },
        "--performance-schema=0",
        "--max-connections=400",
    ];
    arguments.extend(tuning.map(str::to_owned));
    arguments.extend(user_argument());
    Ok(arguments)
}

/// mariadbd refuses to run as root unless it is told so by name.
fn user_argument() -> Option<String> {
    geteuid().is_root().then(|| "--user=root".to_owned())
}

/// How long an answer of a daemon may take when its database is away (robustness.md 2.3, A14).
pub const OUTAGE_LIMIT: Duration = Duration::from_secs(5);

/// The parts of a `mysql://user:password@host:port/database?socket=PATH` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address; not used where there is a socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket.
    pub socket: Option<String>,
    /// Account at the server.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The database.
    pub database: String,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one, or names no user or database.
    pub fn parse(url: &str) -> Result<Self> {
        let options = mysql_async::Opts::from_url(url).with_context(|| {
            format!("{url} is no database address; one looks like mysql://user:password@localhost/postfix")
        })?;
        Ok(Self {
            host: options.ip_or_hostname().to_owned(),
            port: options.tcp_port(),
            socket: options.socket().map(str::to_owned),
            user: options
                .user()
                .context("the database address names no user")?
                .to_owned(),
            password: options.pass().unwrap_or_default().to_owned(),
            database: options
                .db_name()
                .context("the database address names no database")?
                .to_owned(),
        })
    }
}

//! The description of a site, and its start.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{DAEMONS, Endpoints, PASSWORD, Ports, Settings, Site};
use crate::backend::{Backend, Database, Engine};
use crate::binaries::Binaries;
use crate::client::Tls;
use crate::dns::{self, Dns};
use crate::mariadb;
use crate::pki::Pki;
use crate::process::{Account, Process};
use crate::schema::{self, MailboxRow};

/// The host name of sites made for tests.
pub const HOST_NAME: &str = "mail.example.com";

/// What is to differ from the usual site.
#[derive(Debug)]
pub struct SiteBuilder {
    backend: Backend,
    own_server: Option<Vec<String>>,
    usual_accounts: bool,
    tables: bool,
    rows: String,
    settings: Settings,
    text: Vec<String>,
    daemons: Vec<&'static str>,
    environment: Vec<(String, String, String)>,
    wrappers: Vec<(String, Vec<String>)>,
    place: Option<(PathBuf, Ports)>,
    parent: Option<PathBuf>,
    host_name: String,
    binaries: Option<Binaries>,
}

impl SiteBuilder {
    pub(super) fn new() -> Self {
        Self {
            backend: Backend::SQLITE,
            own_server: None,
            usual_accounts: true,
            tables: true,
            rows: String::new(),
            settings: Settings::default(),
            text: Vec::new(),
            daemons: DAEMONS.to_vec(),
            environment: Vec::new(),
            wrappers: Vec::new(),
            place: None,
            parent: None,
            host_name: HOST_NAME.to_owned(),
            binaries: None,
        }
    }

    /// The database engine and schema form.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// A MariaDB server of the site's own, which the test may stop and kill.
    #[must_use]
    pub fn own_server(mut self) -> Self {
        if self.backend.engine == Engine::Sqlite {
            self.backend = Backend::MARIADB;
        }
        self.own_server.get_or_insert_default();
        self
    }

    /// The same with options of mariadbd, e.g. `--innodb-buffer-pool-size=1G`.
    #[must_use]
    pub fn server_options(self, options: &[&str]) -> Self {
        let mut builder = self.own_server();
        let list = builder.own_server.get_or_insert_default();
        list.extend(options.iter().map(|&option| option.to_owned()));
        builder
    }

    /// No `example.com` with `alice` and `bob`.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.usual_accounts = false;
        self
    }

    /// No tables at all: the test has them made by something else.
    #[must_use]
    pub fn without_tables(mut self) -> Self {
        self.usual_accounts = false;
        self.tables = false;
        self
    }

    /// Adds a domain of our own.
    #[must_use]
    pub fn domain(self, domain: &str) -> Self {
        let form = self.backend.form;
        self.sql(&schema::insert_domain(form, domain, "virtual", false))
    }

    /// Adds a mailbox with the usual password and layout (`DOMAIN/USER/`), and its alias row.
    #[must_use]
    pub fn account(self, address: &str) -> Self {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        let maildir = format!("{domain}/{local}/");
        let row = MailboxRow {
            address,
            password: &schema::password_column(self.backend.form, PASSWORD),
            maildir: &maildir,
        };
        let form = self.backend.form;
        self.sql(&schema::insert_mailbox(form, &row))
    }

    /// Adds an alias; `goto` is a comma list.
    #[must_use]
    pub fn alias(self, address: &str, goto: &str) -> Self {
        self.sql(&schema::insert_alias(address, goto))
    }

    /// Adds rows by SQL; the tables are there.
    #[must_use]
    pub fn sql(mut self, statements: &str) -> Self {
        self.rows.push_str(statements);
        self.rows.push('\n');
        self
    }

    /// Sets an option of the configuration, e.g. `smtpd.smtpd_timeout` to `"2s"`.
    #[must_use]
    pub fn set(mut self, option: &str, value: impl Into<toml::Value>) -> Self {
        self.settings.set(option, value);
        self
    }

    /// Adds options as TOML text.
    #[must_use]
    pub fn settings_text(mut self, text: &str) -> Self {
        self.text.push(text.to_owned());
        self
    }

    /// Lets qmgr ask this name server and connect to loopback on the port of the tests' sinks.
    #[must_use]
    pub fn world(self, dns: &Dns, smtp_port: u16) -> Self {
        self.set("qmgr.dns_servers", vec![dns.address().to_string()])
            .set("qmgr.smtp_port", i64::from(smtp_port))
            .set("qmgr.smtp_private_networks", vec!["127.0.0.0/8".to_owned()])
    }

    /// Starts only these daemons.
    #[must_use]
    pub fn only(mut self, daemons: &[&'static str]) -> Self {
        self.daemons = DAEMONS
            .into_iter()
            .filter(|name| daemons.contains(name))
            .collect();
        self
    }

    /// Gives a daemon an environment variable.
    #[must_use]
    pub fn environment(mut self, daemon: &str, name: &str, value: &str) -> Self {
        self.environment
            .push((daemon.to_owned(), name.to_owned(), value.to_owned()));
        self
    }

    /// Uses programs that have been built already.
    #[must_use]
    pub fn with_binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Runs a daemon through another program (`strace -D ...`) that ends by executing its last arguments.
    #[must_use]
    pub fn wrap(mut self, daemon: &str, command: &[&str]) -> Self {
        self.wrappers.push((
            daemon.to_owned(),
            command.iter().map(|&word| word.to_owned()).collect(),
        ));
        self
    }

    /// Uses this directory, which stays, and these ports of loopback, instead of a temporary one.
    #[must_use]
    pub fn directory(mut self, directory: &Path, ports: Ports) -> Self {
        self.place = Some((directory.to_path_buf(), ports));
        self
    }

    /// Makes the temporary directory below `parent`, e.g. on a file system of the test's own.
    #[must_use]
    pub fn below(mut self, parent: &Path) -> Self {
        self.parent = Some(parent.to_path_buf());
        self
    }

    /// The host's name in greetings and in the certificate.
    #[must_use]
    pub fn host_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.host_name);
        self
    }

    /// Starts the site, runs the test and ends the daemons in peace. An error of any of it gets the logs of all daemons.
    ///
    /// # Errors
    /// Those of the test, and a daemon that ended unasked or not with status 0.
    pub fn run(self, test: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
        let mut site = self.start()?;
        let outcome = test(&mut site)
            .and_then(|()| site.check_alive())
            .and_then(|()| site.shut_down());
        outcome.map_err(|error| error.context(format!("the site's logs:\n{}", site.logs())))
    }

    /// Starts the site on a database of the harness.
    ///
    /// # Errors
    /// When anything of it fails; the end of the log of the daemon is in the error.
    pub fn start(self) -> Result<Site> {
        let mut site = self.prepare()?;
        let names: Vec<String> = site
            .processes
            .iter()
            .map(|process| process.name().to_owned())
            .collect();
        for process in &mut site.processes {
            process.start()?;
        }
        for name in names {
            site.wait_ready(&name)?;
        }
        Ok(site)
    }

    /// Makes everything and starts nothing.
    ///
    /// # Errors
    /// When a file cannot be written, the programs do not build or the database does not start.
    pub fn prepare(mut self) -> Result<Site> {
        let binaries = self.binaries.take().map_or_else(Binaries::locate, Ok)?;
        let account = Account::unprivileged();
        let (directory, ports, temporary) = self.make_directory()?;
        ensure!(
            directory.as_os_str().len() <= 70,
            "{} is too long a path: the names of Unix sockets below it would exceed the system's 107 bytes",
            directory.display()
        );
        let (address, claim) = match temporary {
            Some(_) => dns::claim_address().map(|(address, claim)| (address, Some(claim)))?,
            None => (Ipv4Addr::LOCALHOST, None),
        };
        make_tree(&directory)?;
        binaries.install(&directory.join("bin"))?;
        let names = [
            self.host_name.clone(),
            "localhost".to_owned(),
            address.to_string(),
        ];
        let pki = Pki::create(&directory.join("etc/tls"), &names)?;
        let given = std::mem::take(&mut self.settings);
        self.write_settings(&directory, address, ports, &pki);
        let external = given.get("authd.backend").is_some();
        for (option, value) in flatten(&given)? {
            self.settings.set(&option, value);
        }
        for text in &self.text {
            self.settings.add_text(text)?;
        }
        let database = if external || temporary.is_none() {
            None
        } else {
            Some(self.make_database(&directory)?)
        };
        let endpoints = Endpoints {
            address: IpAddr::V4(address),
            ports,
            tls: Tls {
                config: pki.client_config()?,
                name: self.host_name.clone(),
            },
            lmtp_socket: directory.join("run/lmtp/sock"),
            mail_root: directory.join("mail"),
            ca_file: pki.ca_file.clone(),
        };
        let processes = self.processes(&directory, account);
        let site = Site {
            endpoints,
            directory,
            account,
            settings: self.settings,
            processes,
            database,
            _claim: claim,
            _temporary: temporary,
        };
        site.write_configuration()?;
        give_away(&site.directory, account)?;
        Ok(site)
    }

    fn make_directory(&self) -> Result<(PathBuf, Ports, Option<tempfile::TempDir>)> {
        if let Some((directory, ports)) = &self.place {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
            return Ok((fs::canonicalize(directory)?, *ports, None));
        }
        let parent = self.parent.clone().unwrap_or_else(std::env::temp_dir);
        let temporary = tempfile::Builder::new().prefix("postrider-").tempdir_in(parent)?;
        Ok((temporary.path().to_path_buf(), Ports::default(), Some(temporary)))
    }

    fn write_settings(&mut self, directory: &Path, address: Ipv4Addr, ports: Ports, pki: &Pki) {
        let at = |part: &str| directory.join(part).display().to_string();
        let on = |port: u16| vec![format!("{address}:{port}")];
        let (uid, gid) = Account::ids(Account::unprivileged());
        let settings = &mut self.settings;
        settings.set("general.myhostname", self.host_name.clone());
        for (option, part) in [
            ("run_dir", "run"),
            ("spool_dir", "spool"),
            ("state_dir", "state"),
            ("events_dir", "events"),
            ("virtual_mailbox_base", "mail"),
        ] {
            settings.set(&format!("general.{option}"), at(part));
        }
        settings.set("general.virtual_uid", i64::from(uid));
        settings.set("general.virtual_gid", i64::from(gid));
        settings.set(
            "general.smtpd_client_event_limit_exceptions",
            vec!["127.0.0.0/8".to_owned()],
        );
        settings.set("tls.certificate_file", pki.certificate_file.display().to_string());
        settings.set("tls.key_file", pki.key_file.display().to_string());
        settings.set("smtpd.service.mx.listen", on(ports.smtp));
        settings.set("smtpd.service.submission.listen", on(ports.submission));
        settings.set("smtpd.service.submissions.listen", on(ports.submissions));
        settings.set("imapd.listen", on(ports.imap));
        settings.set("imapd.listen_tls", on(ports.imaps));
        settings.set("pop3d.listen", on(ports.pop3));
        settings.set("pop3d.listen_tls", on(ports.pop3s));
    }

    fn make_database(&mut self, directory: &Path) -> Result<Database> {
        let database = Database::create_on(
            self.backend.engine,
            &directory.join("state"),
            self.own_server.as_deref(),
        )?;
        match &database {
            Database::Sqlite { path } => {
                self.settings.set("authd.backend", "sqlite");
                self.settings.set("authd.sqlite_file", path.display().to_string());
            }
            Database::MariaDb { server, name } => {
                let password_file = directory.join("etc/db-password");
                fs::write(&password_file, format!("{}\n", mariadb::PASSWORD))?;
                fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
                self.settings.set("authd.backend", "mysql");
                let host = format!("unix:{}", server.socket().display());
                self.settings.set("authd.mysql.hosts", vec![host]);
                self.settings.set("authd.mysql.user", mariadb::USER);
                self.settings
                    .set("authd.mysql.password_file", password_file.display().to_string());
                self.settings.set("authd.mysql.database", name.clone());
            }
        }
        if self.tables {
            database.load(self.backend)?;
        }
        if self.usual_accounts {
            let rows = std::mem::take(&mut self.rows);
            let with_accounts = SiteBuilder {
                rows: String::new(),
                backend: self.backend,
                ..SiteBuilder::new()
            }
            .domain("example.com")
            .account("alice@example.com")
            .account("bob@example.com");
            self.rows = with_accounts.rows + &rows;
        }
        if !self.rows.trim().is_empty() {
            database.execute(&self.rows)?;
        }
        Ok(database)
    }

    fn processes(&self, directory: &Path, account: Option<Account>) -> Vec<Process> {
        let config = directory.join("etc/postrider.toml").display().to_string();
        let mut processes = Vec::new();
        for &name in &self.daemons {
            let program = directory.join("bin").join(name);
            let log = directory.join("log").join(format!("{name}.log"));
            let wrapper = self.wrappers.iter().find(|(daemon, _)| daemon == name);
            let mut process = match wrapper {
                Some((_, words)) => {
                    let program = program.display().to_string();
                    let mut arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
                    arguments.extend([program.as_str(), "--config", config.as_str()]);
                    Process::new(name, PathBuf::from(&words[0]), &arguments, account, log)
                }
                None => Process::new(name, program, &["--config", &config], account, log),
            };
            for (daemon, variable, value) in &self.environment {
                if daemon == name {
                    process.set_environment(variable, value);
                }
            }
            processes.push(process);
        }
        processes
    }
}

/// The directories of a site; traversable by everybody, because real clients read the authority's file.
fn make_tree(directory: &Path) -> Result<()> {
    for part in [
        "", "bin", "etc", "etc/tls", "run", "spool", "state", "events", "mail", "log",
    ] {
        let path = directory.join(part);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Gives the site's files to its account; programs and the database server's files stay with the caller.
fn give_away(directory: &Path, account: Option<Account>) -> Result<()> {
    for part in ["etc", "run", "spool", "events", "mail", "log"] {
        Account::give(account, &directory.join(part))?;
    }
    let state = directory.join("state");
    if let Some(account) = account {
        std::os::unix::fs::chown(&state, Some(account.uid), Some(account.gid))?;
    }
    for entry in fs::read_dir(&state)? {
        let path = entry?.path();
        if !path.ends_with("mariadb") {
            Account::give(account, &path)?;
        }
    }
    Ok(())
}

/// All options of a tree with their dotted names.
fn flatten(settings: &Settings) -> Result<Vec<(String, toml::Value)>> {
    fn walk(prefix: &str, value: toml::Value, out: &mut Vec<(String, toml::Value)>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let name = if prefix.is_empty() {
                        key
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(&name, value, out);
                }
            }
            value => out.push((prefix.to_owned(), value)),
        }
    }
    let table: toml::Table = settings.to_toml()?.parse()?;
    let mut out = Vec::new();
    walk("", toml::Value::Table(table), &mut out);
    Ok(out)
}

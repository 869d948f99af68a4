//! PostfixAdmin itself, from Debian's package, on a site's MariaDB: its upgrade page, its command line and its web pages.
//!
//! The package is unpacked into a directory of the test, not installed: its installation wants a web server and asks for a
//! database. PHP's own server shows the pages.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::backend::Database;
use crate::mariadb;
use crate::packages::{self, Needed};
use crate::process::Process;
use crate::site::Site;
use crate::wait;

/// What it needs beside itself.
pub const NEEDED: [Needed; 4] = [
    packages::CURL,
    packages::PHP,
    packages::PHP_MYSQL,
    packages::PHP_MBSTRING,
];

/// The domain of automatic replies in the panel's settings.
pub const VACATION_DOMAIN: &str = "autoreply.test";

/// The port of its web pages, on the site's own address.
const PORT: u16 = 8088;

/// A panel beside a site.
#[derive(Debug)]
pub struct Panel {
    root: PathBuf,
    directory: PathBuf,
    address: IpAddr,
    socket: PathBuf,
    database: String,
    web: Option<Process>,
}

impl Panel {
    /// Unpacks PostfixAdmin and sets it up for the database of a site; `encrypt` is its setting of that name.
    ///
    /// # Errors
    /// When PHP or the package cannot be had, or the site's database is no MariaDB.
    pub fn install(site: &mut Site, encrypt: &str) -> Result<Self> {
        packages::ensure(&NEEDED)?;
        let directory = site.directory().join("panel");
        packages::unpack("postfixadmin", &directory)?;
        let address = site.endpoints().address;
        let Database::MariaDb { server, name } = site.database()? else {
            bail!("the panel needs a site on MariaDB");
        };
        let panel = Self {
            root: directory.join("usr/share/postfixadmin"),
            address,
            socket: server.socket().to_path_buf(),
            database: name.clone(),
            directory,
            web: None,
        };
        // Debian's files lead to places of the system.
        for name in ["config.inc.php", "config.local.php", "templates_c"] {
            fs::remove_file(panel.root.join(name)).with_context(|| name.to_owned())?;
        }
        fs::create_dir(panel.root.join("templates_c"))?;
        let settings = panel.directory.join("etc/postfixadmin/config.inc.php");
        fs::copy(settings, panel.root.join("config.inc.php"))?;
        panel.configure(encrypt)?;
        Ok(panel)
    }

    /// Writes its settings.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn configure(&self, encrypt: &str) -> Result<()> {
        let database = format!(
            "<?php\n$dbtype = 'mysqli'; $dbserver = 'localhost'; $dbuser = '{}'; $dbpass = '{}'; $dbname = '{}';\n",
            mariadb::USER,
            mariadb::PASSWORD,
            self.database
        );
        fs::write(self.root.join("dbconfig.inc.php"), database)?;
        let settings = [
            ("database_socket", self.socket.display().to_string()),
            ("encrypt", encrypt.to_owned()),
            ("emailcheck_resolve_domain", "NO".to_owned()),
            ("vacation", "YES".to_owned()),
            ("vacation_domain", VACATION_DOMAIN.to_owned()),
            ("quota", "YES".to_owned()),
            ("transport", "YES".to_owned()),
            ("show_status", "NO".to_owned()),
            ("page_size", "100".to_owned()),
        ];
        let lines: String = settings
            .iter()
            .map(|(name, value)| format!("$CONF['{name}'] = '{value}';\n"))
            .collect();
        fs::write(self.root.join("config.local.php"), format!("<?php\n{lines}"))?;
        Ok(())
    }

    /// Makes or upgrades the tables, as the page of that name does.
    ///
    /// # Errors
    /// When it does not get to the end.
    pub fn upgrade(&self) -> Result<()> {
        let output = self.php(&["public/upgrade.php"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains("updating to version 1847"),
            "upgrade.php: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn php(&self, arguments: &[&str]) -> Result<Output> {
        let php = packages::find(packages::PHP.programs).context("PHP has gone")?;
        let mut command = Command::new(php);
        command
            .current_dir(&self.root)
            .args(["-d", "display_errors=stderr", "-d", "date.timezone=UTC"])
            .args(arguments)
            .stdin(Stdio::null());
        command.output().context("run php")
    }

    /// Its command line: `["mailbox", "add", "alice@example.com", "--password", ...]`. What it printed.
    ///
    /// # Errors
    /// When it cannot be run, or says that it failed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self.php(&[&["scripts/postfixadmin-cli.php"], arguments].concat())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && !text.contains("Error:") && !errors.contains("Error:"),
            "postfixadmin-cli {}: {text}{errors}",
            arguments.join(" ")
        );
        Ok(text)
    }

    /// Makes a domain with so many mailboxes at most (0: any number).
    ///
    /// # Errors
    /// As [`Panel::cli`].
    pub fn add_domain(&self, domain: &str, mailboxes: u32) -> Result<()> {
        let mailboxes = mailboxes.to_string();
        let limits = ["--mailboxes", &mailboxes, "--maxquota", "0", "--quota", "0"];
        self.cli(&[&["domain", "add", domain, "--default_aliases", "0"], &limits[..]].concat())?;
        Ok(())
    }

    /// Makes a mailbox with a password on its command line.
    ///
    /// # Errors
    /// As [`Panel::cli`].
    pub fn add_mailbox(&self, address: &str, password: &str) -> Result<()> {
        let both = ["--password", password, "--password2", password];
        let rest = [
            "--name",
            "From Panel",
            "--quota",
            "0",
            "--active",
            "1",
            "--welcome_mail",
            "0",
        ];
        self.cli(&[&["mailbox", "add", address][..], &both, &rest].concat())?;
        Ok(())
    }

    /// Starts PHP's own web server with its pages.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn serve(&mut self) -> Result<()> {
        let php = packages::find(packages::PHP.programs).context("PHP has gone")?;
        let at = format!("{}:{PORT}", self.address);
        let public = self.root.join("public").display().to_string();
        let sessions = self.directory.join("sessions");
        fs::create_dir_all(&sessions)?;
        let save = format!("session.save_path={}", sessions.display());
        let arguments = ["-d", "date.timezone=UTC", "-d", &save, "-S", &at, "-t", &public];
        let log = self.directory.join("web.log");
        let mut process = Process::new("php", php, &arguments, None, log);
        process.start()?;
        self.web = Some(process);
        wait::for_true("the panel's pages", wait::LONG, || {
            Ok(std::net::TcpStream::connect((self.address, PORT)).is_ok())
        })
    }

    /// A browser, as yet nobody's; `name` keeps it apart from others.
    #[must_use]
    pub fn browser(&self, name: &str) -> Browser {
        Browser {
            base: format!("http://{}:{PORT}", self.address),
            cookies: self.directory.join(format!("{name}.cookies")),
        }
    }
}

/// Somebody who reads its pages.
#[derive(Debug)]
pub struct Browser {
    base: String,
    cookies: PathBuf,
}

impl Browser {
    /// Reads a page, following redirections.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn get(&self, path: &str) -> Result<String> {
        self.curl(path, &[])
    }

    /// Fills in the form of a page and sends it; the page that follows.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Result<String> {
        let page = self.get(path)?;
        let token = page
            .split_once("name=\"token\" value=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(token, _)| format!("token={token}"));
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain(token)
            .collect();
        self.curl(path, &fields)
    }

    fn curl(&self, path: &str, fields: &[String]) -> Result<String> {
        let curl = packages::find(packages::CURL.programs).context("curl has gone")?;
        let mut command = Command::new(curl);
        command
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--location",
                "--max-time",
                "30",
            ])
            .arg("--cookie")
            .arg(&self.cookies)
            .arg("--cookie-jar")
            .arg(&self.cookies)
            .stdin(Stdio::null());
        for field in fields {
            command.args(["--data-urlencode", field]);
        }
        let output = command
            .arg(format!("{}/{path}", self.base))
            .output()
            .context("run curl")?;
        ensure!(
            output.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Logs in at the page for administrators; whether it worked.
    ///
    /// # Errors
    /// As [`Browser::get`].
    pub fn admin_login(&self, user: &str, password: &str) -> Result<bool> {
        self.login("login.php", user, password)
    }

    /// Logs in at the page for mailboxes; whether it worked.
    ///
    /// # Errors
    /// As [`Browser::get`].
    pub fn user_login(&self, user: &str, password: &str) -> Result<bool> {
        self.login("users/login.php", user, password)
    }

    fn login(&self, path: &str, user: &str, password: &str) -> Result<bool> {
        let fields = [("fUsername", user), ("fPassword", password), ("lang", "en")];
        let page = self.submit(path, &fields)?;
        // The form is shown again to whom it does not know.
        Ok(!page.contains("name=\"fPassword\"") && page.contains("ogout"))
    }
}

/// A page without its tags, one line for each text of it.
#[must_use]
pub fn texts(page: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for piece in page.split('<') {
        let text = piece.split_once('>').map_or(piece, |(_, text)| text).trim();
        if !text.is_empty() {
            texts.push(text.to_owned());
        }
    }
    texts
}

//! Servers of others that do authd's work, on the database of a site: Courier's authdaemond and Postfix's proxymap.
//!
//! Both are Debian's, run from a directory of their own, and need root: Courier's daemon has its paths compiled in, so it
//! gets a mount namespace; Postfix's master drops privileges by itself.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

use crate::mariadb;
use crate::packages;
use crate::process::Process;
use crate::wait;

/// Where the rows are: PostfixAdmin's tables.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// The server's socket.
    pub socket: &'a Path,
    /// The database.
    pub database: &'a str,
}

/// Courier's authdaemond with the module authmysql.
#[derive(Debug)]
pub struct Authdaemond {
    socket: PathBuf,
    // Ends with the value.
    _process: Process,
}

const AUTHDAEMOND: &str = "/usr/lib/courier/courier-authlib/authdaemond";

impl Authdaemond {
    /// Starts it with its files in `directory`, which is made, and so many processes that answer.
    ///
    /// # Errors
    /// When it is neither installed nor installable, the caller is not root, or it does not start.
    pub fn start(directory: &Path, rows: &Rows<'_>, processes: usize) -> Result<Self> {
        packages::ensure(&packages::COURIER)?;
        ensure!(
            geteuid().is_root(),
            "authdaemond needs a mount namespace, and that root"
        );
        let (etc, run) = (directory.join("etc"), directory.join("run"));
        for part in [&etc, &run] {
            fs::create_dir_all(part)?;
        }
        let daemon = format!(
            "authmodulelist=\"authmysql\"\nauthmodulelistorig=\"authmysql\"\ndaemons={processes}\n\
             authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\"\"\nLOGGEROPTS=\"\"\n"
        );
        fs::write(etc.join("authdaemonrc"), daemon)?;
        // Without the mark the module takes the file for one of an older version.
        let module = format!(
            "##NAME: MARKER:0\nMYSQL_SERVER\tlocalhost\nMYSQL_SOCKET\t{}\nMYSQL_PORT\t0\nMYSQL_OPT\t0\n\
             MYSQL_USERNAME\t{}\nMYSQL_PASSWORD\t{}\nMYSQL_DATABASE\t{}\nMYSQL_USER_TABLE\tmailbox\n\
             MYSQL_CRYPT_PWFIELD\tpassword\nMYSQL_UID_FIELD\t5000\nMYSQL_GID_FIELD\t5000\nMYSQL_LOGIN_FIELD\tusername\n\
             MYSQL_HOME_FIELD\t'/var/vmail'\nMYSQL_NAME_FIELD\tname\nMYSQL_MAILDIR_FIELD\tmaildir\n\
             MYSQL_QUOTA_FIELD\tquota\nMYSQL_WHERE_CLAUSE\tactive = 1\n",
            rows.socket.display(),
            mariadb::USER,
            mariadb::PASSWORD,
            rows.database,
        );
        fs::write(etc.join("authmysqlrc"), module)?;
        let script = format!(
            "mount --bind {} /etc/courier && mount --bind {} /run/courier/authdaemon && exec {AUTHDAEMOND}",
            etc.display(),
            run.display(),
        );
        let arguments = ["-m", "--", "sh", "-c", &script];
        let log = directory.join("log");
        let mut process = Process::new("authdaemond", "unshare".into(), &arguments, None, log);
        process.start()?;
        let peer = Self {
            socket: run.join("socket"),
            _process: process,
        };
        wait::for_true("authdaemond", wait::LONG, || {
            Ok(peer.connect().ask("PRE . imap nobody@nowhere.test\n").is_ok())
        })
        .with_context(|| peer._process.log_tail(20))?;
        Ok(peer)
    }

    /// A client.
    #[must_use]
    pub fn connect(&self) -> AuthdaemondClient {
        AuthdaemondClient {
            socket: self.socket.clone(),
        }
    }
}

/// Asks authdaemond as Courier's library does: a connection for each question.
#[derive(Debug, Clone)]
pub struct AuthdaemondClient {
    socket: PathBuf,
}

impl AuthdaemondClient {
    /// Whether a login and password fit.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn login(&self, user: &str, password: &str) -> Result<bool> {
        let body = format!("imap\nlogin\n{user}\n{password}\n");
        let answer = self.ask(&format!("AUTH {}\n{body}", body.len()))?;
        Ok(answer.contains(&format!("ADDRESS={user}\n")))
    }

    /// Whether there is such an account.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn lookup(&self, user: &str) -> Result<bool> {
        let answer = self.ask(&format!("PRE . imap {user}\n"))?;
        Ok(answer.contains(&format!("ADDRESS={user}\n")))
    }

    fn ask(&self, question: &str) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(wait::LONG))?;
        stream.write_all(question.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(!answer.is_empty(), "authdaemond has trouble with its database");
        Ok(answer)
    }
}

/// Postfix's proxymap under a master of its own.
#[derive(Debug)]
pub struct Proxymap {
    directory: PathBuf,
}

/// The maps that Postfix asks about a recipient, with their queries on PostfixAdmin's tables.
const MAPS: [(&str, &str); 3] = [
    (
        "virtual_mailbox_domains",
        "SELECT domain FROM domain WHERE domain = '%s' AND active = 1",
    ),
    (
        "virtual_alias_maps",
        "SELECT goto FROM alias WHERE address = '%s' AND active = 1",
    ),
    (
        "virtual_mailbox_maps",
        "SELECT maildir FROM mailbox WHERE username = '%s' AND active = 1",
    ),
];

impl Proxymap {
    /// Starts it with its files in `directory`, which is made.
    ///
    /// # Errors
    /// When it is neither installed nor installable, the caller is not root, or it does not start.
    pub fn start(directory: &Path, rows: &Rows<'_>) -> Result<Self> {
        packages::ensure(&packages::POSTFIX)?;
        ensure!(geteuid().is_root(), "Postfix's master needs root");
        for part in ["etc", "queue", "data"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let owned = Command::new("chown")
            .arg("postfix")
            .arg(directory.join("data"))
            .status()?;
        ensure!(owned.success(), "chown of Postfix's data directory: {owned}");
        let at = directory.display();
        let mut main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\nmaillog_file =\n\
             inet_interfaces = loopback-only\n"
        );
        for (map, query) in MAPS {
            main.push_str(&format!("{map} = proxy:mysql:{at}/etc/{map}\n"));
            let source = format!(
                "hosts = unix:{}\nuser = {}\npassword = {}\ndbname = {}\nquery = {query}\n",
                rows.socket.display(),
                mariadb::USER,
                mariadb::PASSWORD,
                rows.database,
            );
            fs::write(directory.join("etc").join(map), source)?;
        }
        fs::write(directory.join("etc/main.cf"), main)?;
        fs::write(
            directory.join("etc/master.cf"),
            "proxymap unix - - n - - proxymap\n",
        )?;
        let peer = Self {
            directory: directory.to_path_buf(),
        };
        peer.postfix("start")?;
        wait::for_true("proxymap", wait::LONG, || Ok(peer.connect().is_ok()))?;
        Ok(peer)
    }

    fn postfix(&self, command: &str) -> Result<()> {
        let output = Command::new("postfix")
            .arg("-c")
            .arg(self.directory.join("etc"))
            .arg(command)
            .output()
            .context("run postfix")?;
        ensure!(
            output.status.success(),
            "postfix {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// A client with its connection.
    ///
    /// # Errors
    /// When proxymap does not greet.
    pub fn connect(&self) -> Result<ProxymapClient> {
        let stream = UnixStream::connect(self.directory.join("queue/private/proxymap"))?;
        stream.set_read_timeout(Some(wait::LONG))?;
        let mut client = ProxymapClient {
            stream,
            maps: MAPS.map(|(map, _)| format!("mysql:{}", self.directory.join("etc").join(map).display())),
        };
        let greeting = client.read()?;
        ensure!(greeting.contains("proxymap_protocol"), "greeting: {greeting:?}");
        Ok(client)
    }
}

impl Drop for Proxymap {
    fn drop(&mut self) {
        // Nothing can be done about a master that does not end.
        let _ = self.postfix("stop");
    }
}

/// One connection, as a process of Postfix has it.
#[derive(Debug)]
pub struct ProxymapClient {
    stream: UnixStream,
    maps: [String; 3],
}

impl ProxymapClient {
    /// One lookup, that of the mailbox.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn mailbox(&mut self, address: &str) -> Result<bool> {
        self.lookup(2, address)
    }

    /// What Postfix has to look up before it accepts a recipient: the domain, the alias, the mailbox.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn recipient(&mut self, address: &str) -> Result<bool> {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let domain = self.lookup(0, domain)?;
        let alias = self.lookup(1, address)?;
        let mailbox = self.lookup(2, address)?;
        Ok(domain && (alias || mailbox))
    }

    fn lookup(&mut self, map: usize, key: &str) -> Result<bool> {
        // Names and values, each ended by NUL, and a NUL at the end; the flags are those of postmap -q.
        let request = format!(
            "request\0lookup\0table\0{}\0flags\0524353\0key\0{key}\0\0",
            self.maps[map]
        );
        self.stream.write_all(request.as_bytes())?;
        let answer = self.read()?;
        let status = answer.split('\0').nth(1).context("no status")?;
        ensure!(matches!(status, "0" | "1"), "proxymap: {answer:?}");
        Ok(status == "0")
    }

    /// One message: up to the NUL that ends no name or value.
    fn read(&mut self) -> Result<String> {
        let mut message = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.stream.read(&mut piece)?;
            ensure!(read > 0, "proxymap closed the connection");
            message.extend_from_slice(&piece[..read]);
            if ended(&message) {
                return Ok(String::from_utf8(message)?);
            }
        }
    }
}

/// Whether a message is whole: pairs of strings, then an empty name.
fn ended(message: &[u8]) -> bool {
    let mut rest = message;
    loop {
        let Some(name) = rest.iter().position(|byte| *byte == 0) else {
            return false;
        };
        if name == 0 {
            return true;
        }
        rest = &rest[name + 1..];
        let Some(value) = rest.iter().position(|byte| *byte == 0) else {
            return false;
        };
        rest = &rest[value + 1..];
    }
}

//! Where a site listens, and clients for it; can be cloned into the threads of a load.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::client::{Imap, Line, Pop3, Smtp, Tls};

/// The port of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// SMTP from other hosts.
    pub smtp: u16,
    /// Submission with STARTTLS.
    pub submission: u16,
    /// Submission under TLS.
    pub submissions: u16,
    /// IMAP with STARTTLS.
    pub imap: u16,
    /// IMAP under TLS.
    pub imaps: u16,
    /// POP3 with STLS.
    pub pop3: u16,
    /// POP3 under TLS.
    pub pop3s: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            smtp: 2525,
            submission: 2587,
            submissions: 2465,
            imap: 2143,
            imaps: 2993,
            pop3: 2110,
            pop3s: 2995,
        }
    }
}

impl Ports {
    /// The port of a service: `mx`, `submission`, `submissions`, `imap`, `imaps`, `pop3` or `pop3s`.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn of(&self, service: &str) -> Result<u16> {
        Ok(match service {
            "mx" | "smtp" => self.smtp,
            "submission" => self.submission,
            "submissions" => self.submissions,
            "imap" => self.imap,
            "imaps" => self.imaps,
            "pop3" => self.pop3,
            "pop3s" => self.pop3s,
            _ => bail!("there is no service {service}"),
        })
    }

    /// All ports.
    #[must_use]
    pub fn all(&self) -> [u16; 7] {
        [
            self.smtp,
            self.submission,
            self.submissions,
            self.imap,
            self.imaps,
            self.pop3,
            self.pop3s,
        ]
    }
}

/// Addresses of a site and what a client needs to trust it.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The address that all services listen on.
    pub address: IpAddr,
    /// Their ports.
    pub ports: Ports,
    /// Whom clients trust and the name that they verify.
    pub tls: Tls,
    /// deliver's LMTP socket.
    pub lmtp_socket: PathBuf,
    /// The directory of all Maildirs.
    pub mail_root: PathBuf,
    /// The authority's certificate.
    pub ca_file: PathBuf,
}

impl Endpoints {
    /// The socket address of a service.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn socket_address(&self, service: &str) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.address, self.ports.of(service)?))
    }

    /// A connection to a service from which nothing has been read; under TLS where the service is, LMTP as `lmtp`.
    ///
    /// # Errors
    /// When nobody listens there or the certificate does not verify.
    pub fn line(&self, service: &str) -> Result<Line> {
        if service == "lmtp" {
            return Line::unix(&self.lmtp_socket);
        }
        let mut line = Line::tcp(self.socket_address(service)?)?;
        if matches!(service, "submissions" | "imaps" | "pop3s") {
            line.start_tls(&self.tls)?;
        }
        Ok(line)
    }

    /// An SMTP connection that has read the greeting and said EHLO.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn smtp(&self, service: &str) -> Result<Smtp> {
        let mut smtp = Smtp::greet(self.line(service)?)?;
        smtp.ehlo()?;
        Ok(smtp)
    }

    /// An LMTP connection that has read the greeting and said LHLO.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn lmtp(&self) -> Result<Smtp> {
        let mut lmtp = Smtp::greet(self.line("lmtp")?)?;
        lmtp.lhlo()?;
        Ok(lmtp)
    }

    /// A connection on the submission port with STARTTLS and AUTH done.
    ///
    /// # Errors
    /// When any step fails.
    pub fn submit_as(&self, address: &str, password: &str) -> Result<Smtp> {
        let mut smtp = self.smtp("submission")?;
        smtp.start_tls(&self.tls)?;
        smtp.login(address, password)?;
        Ok(smtp)
    }

    /// An IMAP connection under TLS that has read the greeting.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn imaps(&self) -> Result<Imap> {
        Imap::greet(self.line("imaps")?)
    }

    /// An IMAP session under TLS, logged in.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn imap_as(&self, address: &str, password: &str) -> Result<Imap> {
        let mut imap = self.imaps()?;
        imap.login(address, password)?;
        Ok(imap)
    }

    /// A POP3 connection under TLS that has read the greeting.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn pop3s(&self) -> Result<Pop3> {
        Pop3::greet(self.line("pop3s")?)
    }

    /// A POP3 session under TLS, logged in.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn pop3_as(&self, address: &str, password: &str) -> Result<Pop3> {
        let mut pop3 = self.pop3s()?;
        pop3.login(address, password)?;
        Ok(pop3)
    }
}

/// Whether a daemon answers on all that it listens on.
pub(super) fn answers(endpoints: &Endpoints, run: &Path, daemon: &str) -> bool {
    let sockets: &[&str] = match daemon {
        "authd" => &[
            "authd/smtpd",
            "authd/qmgr",
            "authd/deliver",
            "authd/imapd",
            "authd/pop3d",
            "authd/admin",
        ],
        "qmgr" => &["qmgr/hint", "qmgr/admin"],
        _ => &[],
    };
    let services: &[&str] = match daemon {
        "smtpd" => &["mx", "submission", "submissions"],
        "imapd" => &["imap", "imaps"],
        "pop3d" => &["pop3", "pop3s"],
        "deliver" => &["lmtp"],
        _ => &[],
    };
    sockets
        .iter()
        .all(|socket| UnixStream::connect(run.join(socket).join("sock")).is_ok())
        && services.iter().all(|service| greets(endpoints, service))
}

/// Whether a service says its first line.
fn greets(endpoints: &Endpoints, service: &str) -> bool {
    let greeting = endpoints.line(service).and_then(|mut line| {
        line.set_patience(Duration::from_secs(2));
        line.line()
    });
    greeting.is_ok_and(|line| line.is_some())
}

//! Many rows at once, and logins that come from everywhere.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use auth_api::sasl::{LoginContext, TlsState};
use mail_types::{Address, Secret, SessionId};
use tests::Site;

/// The password of all.
pub const PASSWORD: &str = "secret";
/// `PASSWORD` as md5-crypt, of `openssl passwd -1 -salt abcdefgh`.
pub const MD5_CRYPT: &str = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";

/// How long the making of rows may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// A directory: `domains` domains, mailboxes `u0`, `u1`, ... and as many aliases `a0`, `a1`, ... that lead to them, spread
/// evenly. Every mailbox has an alias row of its own name too, as PostfixAdmin makes them.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    /// How many domains.
    pub domains: usize,
    /// How many mailboxes, and as many aliases.
    pub mailboxes: usize,
}

impl Directory {
    /// Makes the rows, every password the same, by one statement for each table.
    pub fn fill(self, site: &mut Site, password: &str) -> Result<()> {
        let domains = self.domains;
        let (last_domain, last) = (domains - 1, self.mailboxes - 1);
        let mut sql = String::new();
        // Writing into a String cannot fail.
        let _ = write!(
            sql,
            "INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, quota, transport, backupmx, active) \
             SELECT CONCAT('d', seq, '.test'), '', 0, 0, 0, 0, 'virtual', 0, 1 FROM seq_0_to_{last_domain};\n\
             INSERT INTO mailbox (username, password, name, maildir, quota, domain, active, local_part) \
             SELECT CONCAT('u', seq, '@d', seq MOD {domains}, '.test'), '{password}', 'A Name', \
             CONCAT('d', seq MOD {domains}, '.test/u', seq, '/'), 0, CONCAT('d', seq MOD {domains}, '.test'), 1, \
             CONCAT('u', seq) FROM seq_0_to_{last};\n\
             INSERT INTO alias (address, goto, domain, active) \
             SELECT CONCAT('a', seq, '@d', seq MOD {domains}, '.test'), CONCAT('u', seq, '@d', seq MOD {domains}, '.test'), \
             CONCAT('d', seq MOD {domains}, '.test'), 1 FROM seq_0_to_{last};\n\
             INSERT INTO alias (address, goto, domain, active) SELECT username, username, domain, 1 FROM mailbox;\n\
             ANALYZE TABLE domain, mailbox, alias;"
        );
        let (server, name) = site.database()?.on_server()?;
        server
            .execute_within(LIMIT, name, &sql)
            .context("rows of the benchmark")
    }

    /// The address of a mailbox, counted round.
    pub fn mailbox(self, number: usize) -> String {
        let number = number % self.mailboxes;
        format!("u{number}@d{}.test", number % self.domains)
    }

    /// The address of an alias, counted round.
    pub fn alias(self, number: usize) -> String {
        let number = number % self.mailboxes;
        format!("a{number}@d{}.test", number % self.domains)
    }
}

/// A connection with TLS, from an address that is the number's own.
pub fn context(service: &str, number: usize) -> LoginContext {
    let number = u32::try_from(number % 0x00ff_ffff).unwrap_or_default();
    let ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + number));
    LoginContext {
        service: service.to_owned(),
        peer: SocketAddr::new(ip, 40_000),
        local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 143),
        session: SessionId::new(u64::from(number), 1),
        tls: Some(TlsState {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            tls_exporter: vec![7; 32],
            tls_server_end_point: vec![8; 32],
            client_names: vec![],
        }),
        trusted: false,
    }
}

/// The message of PLAIN.
pub fn plain(login: &str, password: &str) -> Secret {
    Secret::new(format!("\0{login}\0{password}"))
}

/// An address that the benchmark made itself.
pub fn address(text: &str) -> Result<Address> {
    Address::parse(text).map_err(|error| anyhow::anyhow!("{text}: {error}"))
}

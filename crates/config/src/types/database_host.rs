//! Where a database server is, in the forms of Postfix's mysql_table(5).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::text_option;

/// The port of a server that names none.
const PORT: u16 = 3306;
/// Where servers are found that are asked for as `localhost`; the first that exists is used.
const SOCKETS: [&str; 3] = [
    "/run/mysqld/mysqld.sock",
    "/var/lib/mysql/mysql.sock",
    "/tmp/mysql.sock",
];

/// A database server: `unix:/path`, `inet:host:port`, `host:port`, `host`; `localhost` is the default socket,
/// as MySQL's own clients have it, `127.0.0.1` is TCP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatabaseHost {
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Socket(PathBuf),
    DefaultSocket,
    Tcp { host: String, port: u16 },
}

/// How a database server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DatabasePlace {
    /// A Unix socket.
    Socket(PathBuf),
    /// TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl DatabaseHost {
    /// The default socket.
    pub fn localhost() -> Self {
        Self {
            place: Place::DefaultSocket,
        }
    }

    /// How to reach it. Looks which of the usual sockets there is.
    pub fn place(&self) -> DatabasePlace {
        match &self.place {
            Place::Socket(path) => DatabasePlace::Socket(path.clone()),
            Place::DefaultSocket => {
                let paths = || SOCKETS.iter().map(PathBuf::from);
                let there = paths().find(|path| path.exists());
                DatabasePlace::Socket(there.or_else(|| paths().next()).unwrap_or_default())
            }
            Place::Tcp { host, port } => DatabasePlace::Tcp {
                host: host.clone(),
                port: *port,
            },
        }
    }
}

impl FromStr for DatabaseHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no database server; write unix:/path/of/socket, host, host:port or [::1]:port"
            )
        };
        let place = if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(wrong());
            }
            Place::Socket(path.into())
        } else {
            let (host, port) = host_and_port(text.strip_prefix("inet:").unwrap_or(text)).ok_or_else(wrong)?;
            match host {
                "localhost" => Place::DefaultSocket,
                _ => Place::Tcp {
                    host: host.to_owned(),
                    port,
                },
            }
        };
        Ok(Self { place })
    }
}

/// `host`, `host:port`, `[address]:port`, `address`; an IPv6 address without brackets has no port.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, rest)
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, ""),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(in_name)).then_some((host, port))
}

impl fmt::Display for DatabaseHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
            Place::DefaultSocket => f.write_str("localhost"),
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

text_option!(
    DatabaseHost,
    "DatabaseHost",
    "a database server in quotes, like \"unix:/run/mysqld/mysqld.sock\" or \"db1.example.com:3306\"",
    { "type": "string", "x-type": "database server" }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_postfix() {
        let tcp = |host: &str, port| DatabasePlace::Tcp {
            host: host.into(),
            port,
        };
        for (text, place, shown) in [
            ("inet:db1:3307", tcp("db1", 3307), "db1:3307"),
            ("db2", tcp("db2", 3306), "db2:3306"),
            (
                "inet:db_3.example.com",
                tcp("db_3.example.com", 3306),
                "db_3.example.com:3306",
            ),
            ("127.0.0.1:3310", tcp("127.0.0.1", 3310), "127.0.0.1:3310"),
            ("[::1]:3310", tcp("::1", 3310), "[::1]:3310"),
            ("::1", tcp("::1", 3306), "[::1]:3306"),
            (
                "unix:/run/m.sock",
                DatabasePlace::Socket("/run/m.sock".into()),
                "unix:/run/m.sock",
            ),
        ] {
            let host: DatabaseHost = text.parse().unwrap();
            assert_eq!(
                (host.place(), host.to_string().as_str()),
                (place, shown),
                "{text}"
            );
            assert_eq!(shown.parse::<DatabaseHost>().unwrap(), host);
        }
    }

    #[test]
    fn localhost_is_the_default_socket_in_every_form() {
        for text in ["localhost", "inet:localhost", "localhost:3306"] {
            let host: DatabaseHost = text.parse().unwrap();
            assert_eq!(host.to_string(), "localhost");
            assert!(matches!(host.place(), DatabasePlace::Socket(_)));
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "", "unix:", "unix:run", "db:", "db:0", "db:x", "db:99999", "[::1", "[x]:1", "a b", "a/b",
            ":3306",
        ] {
            assert!(text.parse::<DatabaseHost>().is_err(), "{text:?}");
        }
    }
}

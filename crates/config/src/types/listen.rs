//! Where a daemon listens: a TCP address and port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::text_option;

/// A place to listen: `192.0.2.1:25`, `[2001:db8::1]:25`, `0.0.0.0:25`, `[::]:25` or `unix:/path`.
///
/// `[::]` listens on IPv6 only; name both wildcards for both families.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !Path::new(path).is_absolute() {
                return Err(format!("{text:?}: the path of a Unix socket has to start with /"));
            }
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "{text:?} is not an address and port; write \"0.0.0.0:25\", \"[::]:25\" or \"unix:/path\""
            )
        })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

text_option!(
    ListenAddr,
    "ListenAddr",
    "an address and port in quotes, like \"0.0.0.0:25\"",
    { "type": "string", "x-type": "address and port" }
);

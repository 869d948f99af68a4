//! Which addresses a next hop has, in the order in which they are tried (RFC 5321 5.1, RFC 7505), and which
//! of them are never connected to. The rules are here; the questions go through [`Dns`].

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use auth_api::directory::NextHop;
use config::Networks;
use mail_types::{EnhancedStatus, Reply};

/// Most addresses that are tried for one message (robustness.md Q04).
const MAX_ADDRESSES: usize = 5;
/// Most MX records that are looked at.
const MAX_EXCHANGES: usize = 20;

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The server's name; the address in brackets for a literal.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// The preference of its MX record; 0 where there is none.
    pub preference: u16,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist.
    #[error("the name does not exist")]
    NoSuchName,
    /// SERVFAIL, a timeout, an answer that makes no sense: nothing is known.
    #[error("{0}")]
    Failed(String),
}

/// The questions that are asked of the DNS. An empty list is: the name exists without such records.
pub trait Dns: Send + Sync {
    /// MX records: preference and exchange, the root as the empty text.
    fn mx(&self, domain: &str) -> impl Future<Output = Result<Vec<(u16, String)>, DnsError>> + Send;
    /// A and AAAA records.
    fn addresses(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, DnsError>> + Send;
}

/// Looks next hops up.
#[derive(Debug, Clone)]
pub struct Lookup<D> {
    dns: D,
    hostname: String,
    private_networks: Networks,
}

impl<D: Dns> Lookup<D> {
    /// `hostname` is our own name.
    pub fn new(dns: D, hostname: String, private_networks: Networks) -> Self {
        Self {
            dns,
            hostname,
            private_networks,
        }
    }

    /// The addresses of a next hop. The error says whether to try again (4xx) or not (5xx). `shuffle` is a
    /// random number that orders exchanges of equal preference.
    pub async fn hosts(&self, hop: &NextHop, shuffle: u64) -> Result<Vec<Host>, Reply> {
        if let Ok(address) = hop.host.parse::<IpAddr>() {
            // The administrator named it.
            return Ok(vec![Host {
                name: format!("[{address}]"),
                address,
                preference: 0,
            }]);
        }
        if !hop.use_mx {
            return self.collect(hop, &[(0, hop.host.clone())]).await;
        }
        let exchanges = self.exchanges(&hop.host, shuffle).await?;
        self.collect(hop, &exchanges).await
    }

    /// The exchanges of a domain, best first; those that are not better than ourselves left out.
    async fn exchanges(&self, domain: &str, shuffle: u64) -> Result<Vec<(u16, String)>, Reply> {
        let mut exchanges = match self.dns.mx(domain).await {
            Ok(exchanges) => exchanges,
            Err(DnsError::NoSuchName) => return Err(not_found(domain)),
            Err(DnsError::Failed(why)) => return Err(lookup_failed(domain, &why)),
        };
        if exchanges.is_empty() {
            // RFC 5321 5.1: the domain is its own exchange.
            return Ok(vec![(0, domain.to_owned())]);
        }
        if exchanges.iter().all(|(_, name)| name.is_empty()) {
            let text = format!("The domain {domain} does not accept mail (null MX)");
            return Err(Reply::new(556, EnhancedStatus::new(5, 1, 10), text));
        }
        exchanges.retain(|(_, name)| !name.is_empty());
        exchanges.sort_by_key(|(preference, name)| (*preference, spread(name, shuffle)));
        if let Some(own) = exchanges
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(&self.hostname))
        {
            let limit = own.0;
            exchanges.retain(|(preference, _)| *preference < limit);
            if exchanges.is_empty() {
                return Err(loops_back(domain));
            }
        }
        exchanges.truncate(MAX_EXCHANGES);
        Ok(exchanges)
    }

    async fn collect(&self, hop: &NextHop, exchanges: &[(u16, String)]) -> Result<Vec<Host>, Reply> {
        let mut hosts = Vec::new();
        let mut failed = None;
        let mut refused = None;
        for (preference, name) in exchanges {
            match self.dns.addresses(name).await {
                Ok(addresses) => {
                    for address in addresses {
                        match self.verdict(hop, address) {
                            None => hosts.push(Host {
                                name: name.clone(),
                                address,
                                preference: *preference,
                            }),
                            Some(refusal) => refused = Some(refused.unwrap_or(refusal)),
                        }
                    }
                }
                Err(DnsError::NoSuchName) => {}
                Err(DnsError::Failed(why)) => failed = Some(lookup_failed(name, &why)),
            }
            if hosts.len() >= MAX_ADDRESSES {
                break;
            }
        }
        hosts.truncate(MAX_ADDRESSES);
        if !hosts.is_empty() {
            return Ok(hosts);
        }
        Err(match (failed, refused) {
            (Some(reply), _) => reply,
            (None, Some(Refusal::Loop)) => loops_back(&hop.host),
            (None, Some(Refusal::Private)) => Reply::new(
                550,
                EnhancedStatus::new(5, 4, 4),
                format!(
                    "Mail for {} would go to a private address, which is not allowed",
                    hop.host
                ),
            ),
            (None, None) => not_found(&hop.host),
        })
    }

    /// Why an address that came out of the DNS is not used; none where it is.
    fn verdict(&self, hop: &NextHop, address: IpAddr) -> Option<Refusal> {
        let address = address.to_canonical();
        if self.private_networks.contains(address) {
            return None;
        }
        // `[host]` in a transport or relayhost: the administrator chose it, and may mean his own network.
        let chosen = hop.explicit && !hop.use_mx;
        match address {
            a if a.is_loopback() || a.is_unspecified() || is_own(a) => Some(Refusal::Loop),
            a if !chosen && is_private(a) => Some(Refusal::Private),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Loop,
    Private,
}

/// Addresses that are not of the public Internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            a.is_private()
                || a.is_link_local()
                || a.is_multicast()
                || a.is_broadcast()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(a) => {
            let first = a.segments()[0];
            a.is_multicast() || first & 0xffc0 == 0xfe80 || first & 0xfe00 == 0xfc00 || embeds_private(a)
        }
    }
}

/// IPv4 addresses inside of IPv6 ones: `::a.b.c.d` and 64:ff9b::/96 (NAT64).
fn embeds_private(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let inner = match segments {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            std::net::Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
        }
        _ => return false,
    };
    inner.is_loopback() || inner.is_unspecified() || is_private(IpAddr::V4(inner))
}

/// Whether an address belongs to an interface of this host: then the way there starts with itself. Nothing is
/// sent for this question.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    // Where there is no way to it, the connection will say so.
    local().is_ok_and(|ip| ip == address)
}

/// A number that orders equal exchanges differently with each `shuffle`.
fn spread(name: &str, shuffle: u64) -> u64 {
    name.bytes().fold(shuffle ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(17)
    })
}

fn loops_back(domain: &str) -> Reply {
    Reply::new(
        550,
        EnhancedStatus::new(5, 4, 6),
        format!("mail for {domain} loops back to myself"),
    )
}

fn not_found(domain: &str) -> Reply {
    let text = format!("Host or domain name not found: {domain}");
    Reply::new(550, EnhancedStatus::new(5, 4, 4), text)
}

fn lookup_failed(name: &str, why: &str) -> Reply {
    Reply::new(
        450,
        EnhancedStatus::new(4, 4, 3),
        format!("Name service error for {name}: {why}"),
    )
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;

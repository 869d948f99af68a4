//! The DNS through hickory-resolver, with the configured servers or the system's.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{Resolver, TokioResolver};

use super::addresses::{Dns, DnsError};

/// Asks real name servers.
#[derive(Clone)]
pub struct SystemDns {
    resolver: TokioResolver,
}

impl SystemDns {
    /// Uses these servers, over UDP and TCP; those of /etc/resolv.conf where there are none.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError::Failed(error.to_string());
        let mut builder = if servers.is_empty() {
            Resolver::builder_tokio().map_err(failed)?
        } else {
            let servers = servers.iter().map(|server| {
                let port = |protocol| {
                    let mut connection = ConnectionConfig::new(protocol);
                    connection.port = server.port();
                    connection
                };
                let connections = vec![port(ProtocolConfig::Udp), port(ProtocolConfig::Tcp)];
                NameServerConfig::new(server.ip(), true, connections)
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = Duration::from_secs(5);
        options.attempts = 2;
        // A mail domain is what the DNS says, not what /etc/hosts says.
        options.use_hosts_file = ResolveHosts::Never;
        options.positive_max_ttl = Some(Duration::from_secs(300));
        options.negative_max_ttl = Some(Duration::from_secs(30));
        Ok(Self {
            resolver: builder.build().map_err(failed)?,
        })
    }
}

/// `NoRecordsFound` covers both "no such name" and "no such record".
fn empty_or_error<T>(error: &NetError) -> Result<Vec<T>, DnsError> {
    if error.is_nx_domain() {
        Err(DnsError::NoSuchName)
    } else if error.is_no_records_found() {
        Ok(Vec::new())
    } else {
        Err(DnsError::Failed(error.to_string()))
    }
}

/// The name with a final dot, so that no search domain is tried.
fn absolute(name: &str) -> Result<Name, DnsError> {
    let mut name = Name::from_ascii(name).map_err(|e| DnsError::Failed(e.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

impl Dns for SystemDns {
    async fn mx(&self, domain: &str) -> Result<Vec<(u16, String)>, DnsError> {
        let answer = match self.resolver.mx_lookup(absolute(domain)?).await {
            Ok(answer) => answer,
            Err(error) => return empty_or_error(&error),
        };
        let found: Vec<(u16, String)> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => {
                    let name = mx.exchange.to_ascii();
                    Some((mx.preference, name.trim_end_matches('.').to_ascii_lowercase()))
                }
                _ => None,
            })
            .collect();
        Ok(found)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let name = absolute(host)?;
        let (four, six) = tokio::join!(
            self.resolver.ipv4_lookup(name.clone()),
            self.resolver.ipv6_lookup(name)
        );
        let mut found = Vec::new();
        let mut error = None;
        for answer in [four, six] {
            match answer {
                Ok(answer) => found.extend(answer.answers().iter().filter_map(|record| match &record.data {
                    RData::A(a) => Some(IpAddr::V4(a.0)),
                    RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                    _ => None,
                })),
                Err(e) => match empty_or_error::<IpAddr>(&e) {
                    Ok(_) => {}
                    // A failure weighs more than "no such name": with it, nothing is known.
                    Err(e @ DnsError::Failed(_)) => error = Some(e),
                    Err(e) => error = error.or(Some(e)),
                },
            }
        }
        match error {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

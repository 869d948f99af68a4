//! Networks in CIDR notation, IPv4-mapped IPv6 addresses folded to IPv4 on both sides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text_option;

/// One network: `192.0.2.0/24`, `2001:db8::/32`, `[2001:db8::]/32`, or a single address.
///
/// `::ffff:127.0.0.0/104` is the same as `127.0.0.0/8` (compat.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the network holds `ip`; an IPv4-mapped address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => mask_v4(ip, self.prefix) == network,
            (IpAddr::V6(network), IpAddr::V6(ip)) => mask_v6(ip, self.prefix) == network,
            _ => false,
        }
    }
}

fn mask_v4(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from_bits(ip.to_bits() & mask)
}

fn mask_v6(ip: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(ip.to_bits() & mask)
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .map_or(Some(address), |rest| rest.strip_suffix(']'))
            .ok_or_else(|| format!("{text:?}: a ] is missing"))?;
        let address: IpAddr = bare
            .parse()
            .map_err(|_| format!("{text:?} is not a network; write it like 192.0.2.0/24 or 2001:db8::/32"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            None => width,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|p| *p <= width)
                .ok_or_else(|| format!("{text:?}: the number after / has to be 0 to {width}"))?,
        };
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix >= 96 => (IpAddr::V4(mapped), prefix - 96),
            _ => (address, prefix),
        };
        let masked = match address {
            IpAddr::V4(ip) => IpAddr::V4(mask_v4(ip, prefix)),
            IpAddr::V6(ip) => IpAddr::V6(mask_v6(ip, prefix)),
        };
        if masked != address {
            return Err(format!(
                "{text:?} has bits set behind the prefix; did you mean {masked}/{prefix}?"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

text_option!(
    Network,
    "Network",
    "a network in quotes, like \"192.0.2.0/24\"",
    { "type": "string", "x-type": "network" }
);

/// A list of networks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Makes a list.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether one of the networks holds `ip`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! The text of a transport, from `domain.transport` or a table: `transport:nexthop` as in transport(5).

use std::net::{IpAddr, Ipv6Addr};

use auth_api::directory::{LmtpHop, NextHop};
use mail_types::EnhancedStatus;

/// What a transport text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Nothing special: the class of the domain decides (`virtual`, empty, `:`).
    Class,
    /// The class of the domain decides, and mail that leaves this host goes to this hop (`:nexthop`).
    ClassVia(NextHop),
    /// SMTP to the recipient's domain by its MX records (`smtp:`, `relay:`).
    SmtpToDomain,
    /// SMTP to a named hop.
    Smtp(NextHop),
    /// LMTP to another server.
    Lmtp(LmtpHop),
    /// Everything is refused with this status and text.
    Error(EnhancedStatus, String),
    /// Everything is deferred with this text.
    Retry(String),
    /// Everything is dropped.
    Discard,
    /// Delivery on this host (`local:`): what a domain of alias_maps has.
    Local,
    /// Absence replies (`vacation:`), which deliver writes by itself.
    Vacation,
    /// Something that we cannot do; the reason.
    Unsupported(String),
}

impl Transport {
    /// Why `local:` cannot be used for a domain with mailboxes.
    pub const NO_LOCAL: &str = "the transport local: delivers to system users, which is not supported";

    /// Reads it.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (name, hop) = text.split_once(':').unwrap_or((text, ""));
        let (name, hop) = (name.trim(), hop.trim());
        match name.to_ascii_lowercase().as_str() {
            // maildrop and dovecot are delivery agents for the same Maildirs: deliver does their work. With
            // `virtual` a next hop means nothing.
            "virtual" | "maildrop" | "dovecot" => Self::Class,
            "" if hop.is_empty() => Self::Class,
            "" => match smtp(hop) {
                Self::Smtp(hop) => Self::ClassVia(hop),
                other => other,
            },
            "smtp" | "relay" if hop.is_empty() => Self::SmtpToDomain,
            "smtp" | "relay" => smtp(hop),
            "lmtp" => lmtp(hop),
            "error" => {
                let (status, text) = split_status(hop);
                Self::Error(status, text)
            }
            "retry" => Self::Retry(or(hop, "mail is held for this domain")),
            "discard" => Self::Discard,
            "local" => Self::Local,
            "vacation" => Self::Vacation,
            _ => Self::Unsupported(format!("the transport {text:?} is not supported")),
        }
    }

    /// Whether recipients are checked by the other side, so that the domain counts as a relay domain
    /// (compat.md 1.5: `transport LIKE 'smtp%' OR 'relay%'`).
    pub fn relays(&self) -> bool {
        matches!(self, Self::SmtpToDomain | Self::Smtp(_))
    }
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}

fn unsupported(kind: &str, hop: &str) -> Transport {
    Transport::Unsupported(format!("the transport {kind}:{hop} names no next hop"))
}

/// `host`, `[host]`, either with `:port`; `inet:` in front is tolerated.
fn smtp(hop: &str) -> Transport {
    let bare = hop.strip_prefix("inet:").unwrap_or(hop);
    match host_port(bare) {
        Some((host, port, use_mx)) => Transport::Smtp(NextHop {
            host,
            port,
            use_mx,
            explicit: true,
        }),
        None => unsupported("smtp", hop),
    }
}

fn lmtp(hop: &str) -> Transport {
    if let Some(path) = hop.strip_prefix("unix:") {
        let usable = path.starts_with('/') && !path.chars().any(char::is_control);
        return if usable {
            Transport::Lmtp(LmtpHop::Unix(path.to_owned()))
        } else {
            unsupported("lmtp", hop)
        };
    }
    let bare = hop.strip_prefix("inet:").unwrap_or(hop);
    match host_port(bare) {
        Some((host, port, _)) => Transport::Lmtp(LmtpHop::Tcp {
            host,
            port: port.unwrap_or(24),
        }),
        None => unsupported("lmtp", hop),
    }
}

/// Host, port, and whether MX records apply.
fn host_port(text: &str) -> Option<(String, Option<u16>, bool)> {
    let (host, rest, bracketed) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, rest, true)
        }
        None => match text.split_once(':') {
            Some((host, _)) => (host, &text[host.len()..], false),
            None => (text, "", false),
        },
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(service(port)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    let address = host.strip_prefix("IPv6:").or_else(|| host.strip_prefix("ipv6:"));
    let address = match address {
        Some(v6) => Some(IpAddr::V6(v6.parse::<Ipv6Addr>().ok()?)),
        None => host.parse::<IpAddr>().ok(),
    };
    match address {
        // An address has no MX records, with brackets or without.
        Some(address) => Some((address.to_string(), port, false)),
        None => {
            let name = mail_types::Domain::new(host).ok()?;
            Some((name.to_string(), port, !bracketed))
        }
    }
}

/// A port number, or one of the names that master.cf and transport tables use.
fn service(text: &str) -> Option<u16> {
    match text {
        "smtp" => Some(25),
        "submission" => Some(587),
        "lmtp" => Some(24),
        digits => digits.parse().ok().filter(|port| *port != 0),
    }
}

/// `5.7.1 text` or just a text, which gets 5.0.0.
fn split_status(hop: &str) -> (EnhancedStatus, String) {
    let default = EnhancedStatus::new(5, 0, 0);
    let (first, rest) = hop.split_once(char::is_whitespace).unwrap_or((hop, ""));
    match first.parse::<EnhancedStatus>() {
        Ok(status) if status.class == 5 => (status, or(rest.trim(), "mail for this domain is refused")),
        _ => (default, or(hop, "mail for this domain is refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(host: &str, port: Option<u16>, use_mx: bool) -> Transport {
        Transport::Smtp(NextHop {
            host: host.into(),
            port,
            use_mx,
            explicit: true,
        })
    }

    #[test]
    fn the_forms_of_transport_5() {
        let tcp = |host: &str, port| {
            Transport::Lmtp(LmtpHop::Tcp {
                host: host.into(),
                port,
            })
        };
        let cases = [
            ("", Transport::Class),
            (":", Transport::Class),
            ("virtual", Transport::Class),
            ("virtual:", Transport::Class),
            ("smtp", Transport::SmtpToDomain),
            ("smtp:", Transport::SmtpToDomain),
            ("relay:", Transport::SmtpToDomain),
            ("smtp:example.com", hop("example.com", None, true)),
            ("smtp:[mx.example.com]", hop("mx.example.com", None, false)),
            (
                "SMTP:[mx.example.com]:2525",
                hop("mx.example.com", Some(2525), false),
            ),
            ("relay:mx.example.com:26", hop("mx.example.com", Some(26), true)),
            (
                ":[192.0.2.1]:25",
                match hop("192.0.2.1", Some(25), false) {
                    Transport::Smtp(hop) => Transport::ClassVia(hop),
                    other => other,
                },
            ),
            ("smtp:192.0.2.1", hop("192.0.2.1", None, false)),
            ("smtp:[IPv6:2001:db8::1]:26", hop("2001:db8::1", Some(26), false)),
            ("smtp:[2001:db8::1]", hop("2001:db8::1", None, false)),
            (
                "lmtp:unix:/run/other/lmtp",
                Transport::Lmtp(LmtpHop::Unix("/run/other/lmtp".into())),
            ),
            ("lmtp:inet:mail.test:2003", tcp("mail.test", 2003)),
            ("lmtp:[127.0.0.1]", tcp("127.0.0.1", 24)),
            ("discard:", Transport::Discard),
            (
                "error:gone",
                Transport::Error(EnhancedStatus::new(5, 0, 0), "gone".into()),
            ),
            (
                "error:5.1.6 moved away",
                Transport::Error(EnhancedStatus::new(5, 1, 6), "moved away".into()),
            ),
            ("retry:later", Transport::Retry("later".into())),
            ("local:", Transport::Local),
            ("vacation:", Transport::Vacation),
        ];
        for (text, transport) in cases {
            assert_eq!(Transport::parse(text), transport, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for text in [
            "uucp:x",
            "smtp:[mx",
            "smtp:mx:0",
            "smtp:a b",
            "lmtp:unix:rel",
            "smtp:[mx]x",
        ] {
            assert!(
                matches!(Transport::parse(text), Transport::Unsupported(_)),
                "{text}"
            );
        }
    }
}

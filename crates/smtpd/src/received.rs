//! The Received field (RFC 5321 4.4, compat.md 5.3).

use std::net::IpAddr;
use std::time::SystemTime;

use daemon::TlsInfo;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use mail_types::{Address, MailId};
use smtp_proto::command::{Hello, HelloKind};

/// What a Received field says.
#[derive(Debug)]
pub struct Received<'a> {
    /// The client's greeting.
    pub hello: &'a Hello,
    /// The client's address; none on a Unix socket.
    pub ip: Option<IpAddr>,
    /// TLS, where it is active.
    pub tls: Option<&'a TlsInfo>,
    /// Whether the client has logged in.
    pub authenticated: bool,
    /// Whether SMTPUTF8 was given.
    pub smtputf8: bool,
    /// Our name.
    pub hostname: &'a str,
    /// The message's id.
    pub id: MailId,
    /// The recipient as typed, where there is only one.
    pub only_recipient: Option<&'a Address>,
    /// Now.
    pub time: SystemTime,
}

impl Received<'_> {
    /// The field with its CRLF. The greeting's name cannot break out of it: see [`Hello`].
    pub fn field(&self) -> String {
        let mut field = format!("Received: from {} ({})\r\n", self.hello.name, self.client());
        if let Some(tls) = self.tls {
            field.push_str(&format!(
                "\t(using {} with cipher {} ({bits}/{bits} bits))\r\n",
                tls.version,
                tls.cipher,
                bits = tls.bits
            ));
        }
        field.push_str(&format!(
            "\tby {} (Postrider) with {} id {}",
            self.hostname,
            self.protocol(),
            self.id
        ));
        if let Some(recipient) = self.only_recipient {
            field.push_str(&format!("\r\n\tfor <{recipient}>"));
        }
        field.push_str(&format!("; {}\r\n", date(self.time)));
        field
    }

    fn client(&self) -> String {
        match self.ip {
            Some(IpAddr::V6(ip)) => format!("unknown [IPv6:{ip}]"),
            Some(ip) => format!("unknown [{ip}]"),
            None => "local socket".to_owned(),
        }
    }

    /// SMTP, ESMTP, UTF8SMTP, with S for TLS and A for a login (RFC 3848, RFC 6531 4.3).
    fn protocol(&self) -> String {
        let mut name = match self.hello.kind {
            HelloKind::Helo => return "SMTP".to_owned(),
            _ if self.smtputf8 => "UTF8SMTP".to_owned(),
            _ => "ESMTP".to_owned(),
        };
        if self.tls.is_some() {
            name.push('S');
        }
        if self.authenticated {
            name.push('A');
        }
        name
    }
}

/// A date as RFC 5322 3.3 wants it, in the system's time zone.
pub fn date(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    let zoned = timestamp.to_zoned(TimeZone::system());
    // Years outside 0 to 9999 cannot be written; no clock shows them.
    DateTimePrinter::new()
        .zoned_to_string(&zoned)
        .unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_it_came() {
        let hello = Hello {
            kind: HelloKind::Ehlo,
            name: "mx.a.test".into(),
        };
        let tls = TlsInfo {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            bits: 256,
            tls_exporter: Vec::new(),
            server_end_point: Vec::new(),
            sni: None,
            client_names: Vec::new(),
        };
        let recipient: Address = "u@local.test".parse().unwrap();
        let mut received = Received {
            hello: &hello,
            ip: Some("192.0.2.1".parse().unwrap()),
            tls: Some(&tls),
            authenticated: true,
            smtputf8: false,
            hostname: "mx.test",
            id: MailId::new(1, 2),
            only_recipient: Some(&recipient),
            time: SystemTime::UNIX_EPOCH,
        };
        let field = received.field();
        let (head, date) = field.rsplit_once("; ").unwrap();
        assert_eq!(
            head,
            "Received: from mx.a.test (unknown [192.0.2.1])\r\n\
             \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\
             \tby mx.test (Postrider) with ESMTPSA id 00000001000000000002\r\n\
             \tfor <u@local.test>"
        );
        assert!(date.contains("1970") && date.ends_with("\r\n"), "{date}");
        received.only_recipient = None;
        received.tls = None;
        received.authenticated = false;
        received.smtputf8 = true;
        let field = received.field();
        assert!(
            field.contains("with UTF8SMTP id") && !field.contains("for <"),
            "{field}"
        );
    }
}

//! How often a client may do something within 60 seconds.

use std::net::IpAddr;
use std::time::Instant;

use config::SmtpdOptions;
use daemon::limits::Rates;
use mail_types::Reply;

use crate::error;

/// The counters of the process, one for each thing that is counted. (Connections are counted by the listener.)
#[derive(Debug, Default)]
pub struct ClientRates {
    messages: Rates,
    recipients: Rates,
    logins: Rates,
    handshakes: Rates,
}

/// A thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// MAIL.
    Message,
    /// RCPT.
    Recipient,
    /// AUTH.
    Login,
    /// A TLS handshake.
    Handshake,
}

impl ClientRates {
    /// Counts one for `ip`, or says why it is one too many. Who has no address, or is exempt (`None`), is not
    /// counted.
    pub fn check(
        &self,
        what: Counted,
        ip: Option<IpAddr>,
        options: &SmtpdOptions,
        now: Instant,
    ) -> Result<(), Reply> {
        let Some(client) = ip else { return Ok(()) };
        let (rates, limit, text) = match what {
            Counted::Message => (
                &self.messages,
                options.smtpd_client_message_rate_limit,
                "too much mail",
            ),
            Counted::Recipient => (
                &self.recipients,
                options.smtpd_client_recipient_rate_limit,
                "too many recipients",
            ),
            Counted::Login => (
                &self.logins,
                options.smtpd_client_auth_rate_limit,
                "too many AUTH commands",
            ),
            Counted::Handshake => (
                &self.handshakes,
                options.smtpd_client_new_tls_session_rate_limit,
                "too many new TLS sessions",
            ),
        };
        if rates.allow(client.into(), limit, now) {
            Ok(())
        } else {
            Err(error::rate(text, ip))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_apart_and_not_the_exempt() {
        let rates = ClientRates::default();
        let options = SmtpdOptions {
            smtpd_client_message_rate_limit: 1,
            smtpd_client_recipient_rate_limit: 1,
            ..SmtpdOptions::default()
        };
        let now = Instant::now();
        let ip = Some("192.0.2.1".parse().unwrap());
        assert!(rates.check(Counted::Message, ip, &options, now).is_ok());
        assert!(rates.check(Counted::Recipient, ip, &options, now).is_ok());
        let refusal = rates.check(Counted::Message, ip, &options, now).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "450 4.7.1 Error: too much mail from 192.0.2.1"
        );
        assert!(rates.check(Counted::Message, None, &options, now).is_ok());
        let later = now + 2 * Rates::WINDOW;
        assert!(rates.check(Counted::Message, ip, &options, later).is_ok());
    }
}

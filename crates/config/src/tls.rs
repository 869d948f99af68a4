//! `[tls]`: the certificate that smtpd, imapd and pop3d show.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section};
use crate::types::{DurationText, FileName, SecretFile};

/// The certificate that smtpd, imapd and pop3d show. TLS 1.2 and 1.3 with forward secrecy only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and, behind it, the intermediate ones.
    pub certificate_file: Option<FileName>,
    /// PEM file with the private key; only its owner may be able to read it. `credential:NAME` is the file that
    /// systemd hands over with `LoadCredential=NAME:PATH`, so that three accounts can use one key. Default: the
    /// key is in `certificate_file`.
    pub key_file: Option<SecretFile>,
    /// PEM file with the authorities that sign certificates of users. Clients of smtpd (where it offers AUTH), imapd
    /// and pop3d are then asked for one; it has to be good, and its e-mail addresses (subjectAltName rfc822Name)
    /// are the mailboxes that may log in with it (EXTERNAL). Clients without one log in as before.
    pub client_ca_file: Option<FileName>,
    /// How long a client may take for its TLS handshake.
    #[schemars(extend("x-min" = "1s", "x-max" = "5m"))]
    pub handshake_timeout: DurationText,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            client_ca_file: None,
            handshake_timeout: DurationText::from_secs(30),
        }
    }
}

impl Tls {
    /// The certificate file and the key file, where TLS is configured.
    pub fn files(&self) -> Option<(FileName, SecretFile)> {
        let certificate = self.certificate_file.clone()?;
        let key = self
            .key_file
            .clone()
            .unwrap_or_else(|| certificate.clone().into());
        Some((certificate, key))
    }
}

impl Section for Tls {
    const NAME: &'static str = "tls";

    fn check(&self, checks: &mut Checks<'_>) {
        if self.key_file.is_some() && self.certificate_file.is_none() {
            checks.add(
                "key_file",
                "a key without a certificate".to_owned(),
                "set certificate_file too",
            );
        }
        if self.client_ca_file.is_some() && self.certificate_file.is_none() {
            checks.add(
                "client_ca_file",
                "there is no TLS in which a client could show a certificate".to_owned(),
                "set certificate_file too",
            );
        }
    }
}

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
    /// How long a client may take for its TLS handshake.
    #[schemars(extend("x-min" = "1s", "x-max" = "5m"))]
    pub handshake_timeout: DurationText,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
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
    }
}

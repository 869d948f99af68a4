//! TLS for the servers: one certificate, loaded and checked whole, replaced whole at a reload.
//!
//! TLS 1.2 and 1.3 with ECDHE and AEAD only (robustness.md 5.3), no early data. Certificates of clients are
//! asked for where the site names their authorities, and never between mail servers, which may show any. A
//! client that offers ALPN has to offer our protocol, which rules out attacks across protocols (ALPACA).

mod certificate;
mod client;
mod pem;

use std::sync::Arc;
use std::time::Duration;

use config::{Config, FileName, SecretFileError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use certificate::Facts;

/// What is spoken inside of TLS; decides the ALPN name and whose session tickets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP with AUTH.
    Smtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// SMTP without AUTH: as [`Protocol::Smtp`], but no certificate is asked for.
    SmtpRelay,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Smtp, Self::Imap, Self::Pop3, Self::SmtpRelay];

    /// The name in ALPN.
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Smtp | Self::SmtpRelay => b"smtp",
            Self::Imap => b"imap",
            Self::Pop3 => b"pop3",
        }
    }
}

/// A certificate ready for use. Sessions take it once from the context and keep it.
pub struct Tls {
    configs: [Arc<ServerConfig>; 4],
    facts: Facts,
    server_end_point: Vec<u8>,
    file: FileName,
    pub(crate) handshake_timeout: Duration,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsLoadError {
    /// The certificate file cannot be read.
    #[error("cannot read the certificate file {file}")]
    Certificate {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The key file cannot be read, or by too many.
    #[error("the key file cannot be used")]
    Key(#[from] SecretFileError),
    /// There is no PEM block of that kind in the file, or it is damaged.
    #[error("{file} holds no {what} in PEM form, or is cut short")]
    Pem {
        /// The file.
        file: String,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The authorities of clients cannot be used.
    #[error("the client_ca_file {file} cannot be used")]
    ClientAuthorities {
        /// The file.
        file: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate is no certificate.
    #[error("{file} does not hold a certificate that can be read")]
    Damaged {
        /// The file.
        file: String,
    },
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used together; is {key} the key of {file}?")]
    Unusable {
        /// The certificate file.
        file: String,
        /// The key file.
        key: String,
        /// The cause.
        source: rustls::Error,
    },
    /// The certificate's time is over (found at a reload only: a start with it is better than none).
    #[error("the certificate in {file} expired at {not_after}")]
    Expired {
        /// The file.
        file: String,
        /// End of its validity.
        not_after: String,
    },
}

/// Why a handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TlsAcceptError {
    /// The client took too long.
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
    /// The client spoke no TLS, or none that we accept, or went away.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
}

/// What a session knows of its TLS layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// e.g. `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Strength of the cipher in bits.
    pub bits: u16,
    /// The channel binding tls-exporter (RFC 9266). Empty under TLS 1.2, where it needs the extended master
    /// secret and rustls does not say whether that was used.
    pub tls_exporter: Vec<u8>,
    /// The channel binding tls-server-end-point (RFC 5929 4.1); empty where the signature of our certificate
    /// has no hash of its own (Ed25519).
    pub server_end_point: Vec<u8>,
    /// The name that the client asked for.
    pub sni: Option<String>,
    /// The e-mail addresses of the certificate that the client showed and that was verified.
    pub client_names: Vec<String>,
}

impl Tls {
    /// Loads what `[tls]` names; None where it names nothing.
    pub fn load(config: &Config) -> Result<Option<Self>, TlsLoadError> {
        let Some((file, key_file)) = config.tls.files() else {
            return Ok(None);
        };
        let pem = file
            .path()
            .and_then(std::fs::read)
            .map_err(|source| TlsLoadError::Certificate {
                file: file.to_string(),
                source,
            })?;
        let chain = pem::certificates(&pem).ok_or_else(|| TlsLoadError::Pem {
            file: file.to_string(),
            what: "certificate",
        })?;
        let key = pem::private_key(key_file.read()?.expose()).ok_or_else(|| TlsLoadError::Pem {
            file: key_file.to_string(),
            what: "private key",
        })?;
        let first = chain.first().and_then(|certificate| Facts::read(certificate));
        let facts = first.ok_or_else(|| TlsLoadError::Damaged {
            file: file.to_string(),
        })?;
        let server_end_point = chain
            .first()
            .map(|first| facts.end_point_hash(first))
            .unwrap_or_default();
        let verifier = client::verifier(config.tls.client_ca_file.as_ref())?;
        let mut configs = Vec::new();
        for protocol in Protocol::ALL {
            let verifier = match protocol {
                Protocol::SmtpRelay => WebPkiClientVerifier::no_client_auth(),
                _ => Arc::clone(&verifier),
            };
            let config = server_config(chain.clone(), key.clone_key(), protocol, verifier);
            configs.push(Arc::new(config.map_err(|source| TlsLoadError::Unusable {
                file: file.to_string(),
                key: key_file.to_string(),
                source,
            })?));
        }
        let configs = <[Arc<ServerConfig>; 4]>::try_from(configs).map_err(|_| TlsLoadError::Damaged {
            file: file.to_string(),
        })?;
        Ok(Some(Self {
            configs,
            facts,
            server_end_point,
            file,
            handshake_timeout: config.tls.handshake_timeout.get(),
        }))
    }

    /// The certificate's file.
    pub fn file(&self) -> &FileName {
        &self.file
    }

    /// End of the certificate's validity, RFC 3339.
    pub fn not_after(&self) -> String {
        self.facts.not_after_text()
    }

    /// Refuses a certificate whose time is over.
    pub(crate) fn check_time(&self, unix_seconds: i64) -> Result<(), TlsLoadError> {
        if self.facts.not_after >= unix_seconds {
            return Ok(());
        }
        Err(TlsLoadError::Expired {
            file: self.file.to_string(),
            not_after: self.not_after(),
        })
    }

    /// Makes the TLS handshake on a stream, within the configured time. On an error the stream is closed.
    pub async fn accept<S>(
        &self,
        stream: S,
        protocol: Protocol,
    ) -> Result<(TlsStream<S>, TlsInfo), TlsAcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.handshake_timeout;
        let handshake = async {
            let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
            let sni = hello.client_hello().server_name().map(str::to_owned);
            let config = &self.configs[protocol as usize];
            let stream = hello.into_stream(Arc::clone(config)).await?;
            Ok((stream, sni))
        };
        match tokio::time::timeout(limit, handshake).await {
            Err(_) => Err(TlsAcceptError::Timeout(limit)),
            Ok(Err(error)) => Err(TlsAcceptError::Handshake(error)),
            Ok(Ok((stream, sni))) => {
                let info = self.info(stream.get_ref().1, sni);
                Ok((stream, info))
            }
        }
    }

    fn info(&self, connection: &rustls::ServerConnection, sni: Option<String>) -> TlsInfo {
        let version = connection.protocol_version();
        let suite = connection.negotiated_cipher_suite();
        let cipher = suite
            .map(|suite| format!("{:?}", suite.suite()))
            .unwrap_or_default();
        let mut exporter = Vec::new();
        if version == Some(ProtocolVersion::TLSv1_3) {
            exporter = connection
                .export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None)
                .unwrap_or_default();
        }
        TlsInfo {
            version: match version {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
                other => format!("{other:?}"),
            },
            bits: if cipher.contains("_128_") { 128 } else { 256 },
            // rustls calls the suites of TLS 1.3 TLS13_AES_..., RFC 8446 TLS_AES_...
            cipher: cipher.replacen("TLS13_", "TLS_", 1),
            tls_exporter: exporter,
            server_end_point: self.server_end_point.clone(),
            sni,
            // Verified in the handshake, or there would be none.
            client_names: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| client::mailbox_names(certificate))
                .unwrap_or_default(),
        }
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
    protocol: Protocol,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

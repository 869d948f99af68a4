//! Handshakes, and certificates that cannot be used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use crate::tls::{Protocol, Tls, TlsAcceptError, TlsInfo, TlsLoadError};

/// A certificate with its key in a directory.
pub(super) struct Pair {
    pub(super) dir: tempfile::TempDir,
    pub(super) der: CertificateDer<'static>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let der = write_pair(dir.path(), |_| ());
        Self { dir, der }
    }

    pub(super) fn config(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "[tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
            path("cert.pem"),
            path("key.pem")
        )
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Result<Tls, String> {
        let config = Config::from_toml(&self.config()).map_err(|errors| errors.to_string())?;
        Tls::load(&config)
            .map(Option::unwrap)
            .map_err(|error| crate::describe(&error))
    }
}

/// Writes a new pair over what is there.
pub(super) fn write_pair(dir: &Path, change: impl Fn(&mut CertificateParams)) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["mail.test".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    let key_file = dir.join("key.pem");
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    certificate.der().clone()
}

fn client(
    root: &CertificateDer<'static>,
    alpn: &[&[u8]],
    version: &'static SupportedProtocolVersion,
) -> TlsConnector {
    client_with(root, alpn, version, None)
}

/// The same with a certificate of its own.
fn client_with(
    root: &CertificateDer<'static>,
    alpn: &[&[u8]],
    version: &'static SupportedProtocolVersion,
    own: Option<(CertificateDer<'static>, KeyPair)>,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Both ends of one handshake; the client's exporter beside the server's view.
async fn handshake(tls: &Tls, connector: TlsConnector) -> Result<(TlsInfo, Vec<u8>), String> {
    handshake_as(tls, connector, Protocol::Smtp).await
}

async fn handshake_as(
    tls: &Tls,
    connector: TlsConnector,
    protocol: Protocol,
) -> Result<(TlsInfo, Vec<u8>), String> {
    let (ours, theirs) = duplex(1 << 16);
    let name = ServerName::try_from("mail.test").unwrap();
    let (server, client) = tokio::join!(tls.accept(ours, protocol), connector.connect(name, theirs));
    let (mut stream, info) = server.map_err(|error| error.to_string())?;
    let mut client = client.map_err(|error| error.to_string())?;
    client.write_all(b"EHLO").await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"EHLO");
    let exporter = client
        .get_ref()
        .1
        .export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None);
    Ok((info, exporter.unwrap()))
}

#[tokio::test]
async fn both_versions_with_their_channel_bindings() {
    let pair = Pair::new();
    let tls = pair.load().unwrap();
    let (info, exporter) = handshake(&tls, client(&pair.der, &[b"smtp"], &rustls::version::TLS13))
        .await
        .unwrap();
    assert_eq!(info.version, "TLSv1.3");
    assert!(
        info.cipher.starts_with("TLS_AES_") || info.cipher.starts_with("TLS_CHACHA20"),
        "{info:?}"
    );
    assert_eq!(info.tls_exporter, exporter);
    assert_eq!(info.server_end_point, Sha256::digest(&pair.der).to_vec());
    assert_eq!(info.sni.as_deref(), Some("mail.test"));

    let (info, _) = handshake(&tls, client(&pair.der, &[], &rustls::version::TLS12))
        .await
        .unwrap();
    assert_eq!(info.version, "TLSv1.2");
    assert!(info.cipher.starts_with("TLS_ECDHE_"), "{info:?}");
    assert!(info.tls_exporter.is_empty());
}

/// An authority, and a certificate with mailboxes in it that it signed.
fn user_certificate(names: &[&str]) -> (String, CertificateDer<'static>, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let mut params = CertificateParams::default();
    for name in names {
        let name = SanType::Rfc822Name((*name).try_into().unwrap());
        params.subject_alt_names.push(name);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (authority, certificate.der().clone(), key)
}

#[tokio::test]
async fn certificates_of_clients() {
    let pair = Pair::new();
    let (authority, certificate, key) = user_certificate(&["u@d.test"]);
    let file = pair.path("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let text = format!("{}client_ca_file = \"{}\"\n", pair.config(), file.display());
    let load = || Tls::load(&Config::from_toml(&text).unwrap()).map(Option::unwrap);
    let tls = load().unwrap();
    let (_, strange, strange_key) = user_certificate(&["u@d.test"]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let with = |certificate: &CertificateDer<'static>, key: &KeyPair| {
            let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
            client_with(&pair.der, &[], version, Some((certificate.clone(), key)))
        };
        let (info, _) = handshake(&tls, with(&certificate, &key)).await.unwrap();
        assert_eq!(info.client_names, ["u@d.test"]);
        let (info, _) = handshake(&tls, client(&pair.der, &[], version)).await.unwrap();
        assert!(info.client_names.is_empty());
        // The server refuses, which the client learns at its first word (TLS 1.3).
        let refused = handshake(&tls, with(&strange, &strange_key)).await;
        assert!(refused.is_err());
        // Between mail servers nobody asks.
        let relay = handshake_as(&tls, with(&strange, &strange_key), Protocol::SmtpRelay).await;
        assert!(relay.unwrap().0.client_names.is_empty());
    }
    std::fs::write(&file, "").unwrap();
    assert!(matches!(load(), Err(TlsLoadError::Pem { .. })));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(load(), Err(TlsLoadError::ClientAuthorities { .. })));
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let pair = Pair::new();
    let tls = pair.load().unwrap();
    for alpn in [&[b"http/1.1".as_slice(), b"h2"][..], &[b"imap"]] {
        let refused = handshake(&tls, client(&pair.der, alpn, &rustls::version::TLS13)).await;
        assert!(refused.is_err(), "{alpn:?}");
    }
}

#[tokio::test]
async fn plaintext_gets_no_plaintext_reply() {
    let pair = Pair::new();
    let tls = pair.load().unwrap();
    let (ours, mut theirs) = duplex(1 << 16);
    theirs.write_all(b"EHLO client.test\r\n").await.unwrap();
    let error = tls.accept(ours, Protocol::Smtp).await.err().unwrap();
    assert!(matches!(error, TlsAcceptError::Handshake(_)), "{error}");
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.unwrap();
    // An alert at most (content type 21), nothing that a line-based client could take for an answer.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let pair = Pair::new();
    let mut tls = pair.load().unwrap();
    tls.handshake_timeout = Duration::from_millis(5);
    let (ours, _theirs): (DuplexStream, DuplexStream) = duplex(1 << 16);
    let error = tls.accept(ours, Protocol::Smtp).await.err().unwrap();
    assert!(matches!(error, TlsAcceptError::Timeout(_)), "{error}");
}

#[test]
fn what_is_no_usable_pair() {
    let pair = Pair::new();
    let (cert, key) = (pair.path("cert.pem"), pair.path("key.pem"));
    let good_cert = std::fs::read_to_string(&cert).unwrap();
    let refuse = |part: &str| {
        let error = pair.load().err().unwrap();
        assert!(error.contains(part), "{error}");
    };
    std::fs::write(&cert, &good_cert[..good_cert.len() / 2]).unwrap();
    refuse("holds no certificate");
    std::fs::write(&cert, "").unwrap();
    refuse("holds no certificate");
    std::fs::write(
        &cert,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    refuse("does not hold a certificate that can be read");
    std::fs::remove_file(&cert).unwrap();
    refuse("cannot read the certificate file");
    std::fs::write(&cert, &good_cert).unwrap();
    std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    refuse("is ");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    refuse("can be read by others");
}

//! A certificate authority of one's own and the server certificate that it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The files of one authority and of one certificate that it signed.
#[derive(Debug, Clone)]
pub struct Pki {
    /// What clients verify against, PEM.
    pub ca_file: PathBuf,
    /// The server's certificate, PEM.
    pub certificate_file: PathBuf,
    /// The server's key, PEM, mode 0600.
    pub key_file: PathBuf,
}

impl Pki {
    /// Makes an authority and a certificate for `names` (host names and IP addresses) in `directory`. Files that are
    /// already there are kept, so that a client goes on trusting a site that is started again.
    ///
    /// # Errors
    /// When a file cannot be written or a name is not one.
    pub fn create(directory: &Path, names: &[String]) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let pki = Self {
            ca_file: directory.join("ca.pem"),
            certificate_file: directory.join("cert.pem"),
            key_file: directory.join("key.pem"),
        };
        if !(pki.ca_file.exists() && pki.certificate_file.exists() && pki.key_file.exists()) {
            pki.issue(names)?;
        }
        Ok(pki)
    }

    /// Writes a new authority, key and certificate over the old ones.
    ///
    /// # Errors
    /// When a file cannot be written or a name is not one.
    pub fn issue(&self, names: &[String]) -> Result<()> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name
            .push(DnType::CommonName, "Postrider test authority");
        let ca_key = KeyPair::generate()?;
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let mut server = CertificateParams::new(names.to_vec())?;
        let common_name = names.first().map_or("localhost", String::as_str);
        server.distinguished_name.push(DnType::CommonName, common_name);
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;

        write(&self.ca_file, &ca_certificate.pem(), 0o644)?;
        write(&self.certificate_file, &certificate.pem(), 0o644)?;
        write(&self.key_file, &key.serialize_pem(), 0o600)
    }

    /// A client's TLS configuration that trusts this authority and nobody else.
    ///
    /// # Errors
    /// When the authority's file cannot be read.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        client_config(&self.ca_file)
    }
}

/// A client's TLS configuration that trusts the authorities in `ca_file` and nobody else.
///
/// # Errors
/// When the file cannot be read.
pub fn client_config(ca_file: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(ca_file).with_context(|| format!("read {}", ca_file.display()))?
    {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::write(path, "").with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

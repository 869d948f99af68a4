//! Certificates of clients: whose are good, and which mailboxes they name.

use std::sync::Arc;

use config::FileName;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::{OBJECT_IDENTIFIER, SEQUENCE, any, element};
use super::{TlsLoadError, pem};

/// Most names taken of one certificate.
const MAX_NAMES: usize = 16;
/// Longest name: an address is at most 64 + 1 + 255 octets.
const MAX_NAME: usize = 320;

/// `[3]` of the body of a certificate (RFC 5280 4.1): its extensions.
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// `[1]` of GeneralName (RFC 5280 4.2.1.6).
const RFC822_NAME: u8 = 0x81;

/// Who checks what clients show: nobody without a file of authorities. A client may always show nothing.
pub(super) fn verifier(file: Option<&FileName>) -> Result<Arc<dyn ClientCertVerifier>, TlsLoadError> {
    let Some(file) = file else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let unusable = |source| TlsLoadError::ClientAuthorities {
        file: file.to_string(),
        source,
    };
    let bytes = file
        .path()
        .and_then(std::fs::read)
        .map_err(|error| unusable(error.into()))?;
    let authorities = pem::certificates(&bytes).ok_or_else(|| TlsLoadError::Pem {
        file: file.to_string(),
        what: "certificate",
    })?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| unusable(error.into()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(error.into()))
}

/// The e-mail addresses (rfc822Name) of a certificate in DER.
pub(super) fn mailbox_names(der: &[u8]) -> Vec<String> {
    let Some(mut names) = subject_alt_names(der) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while let Some((tag, name, rest)) = any(names) {
        names = rest;
        let good = name.len() <= MAX_NAME && name.contains(&b'@') && name.iter().all(u8::is_ascii_graphic);
        if tag == RFC822_NAME && good && found.len() < MAX_NAMES {
            found.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    found
}

/// The content of the extension subjectAltName.
fn subject_alt_names(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut body, _) = element(certificate, SEQUENCE)?;
    let extensions = loop {
        let (tag, content, rest) = any(body)?;
        if tag == EXTENSIONS {
            break content;
        }
        body = rest;
    };
    let (mut extensions, _) = element(extensions, SEQUENCE)?;
    loop {
        let (extension, rest) = element(extensions, SEQUENCE)?;
        extensions = rest;
        let (id, value) = element(extension, OBJECT_IDENTIFIER)?;
        if id != SUBJECT_ALT_NAME {
            continue;
        }
        // Whether it is critical.
        let value = element(value, BOOLEAN).map_or(value, |(_, rest)| rest);
        let (value, _) = element(value, OCTET_STRING)?;
        return element(value, SEQUENCE).map(|(names, _)| names);
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_certificates() {
        let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
        let host = SanType::DnsName("d.test".try_into().unwrap());
        let der = certificate(vec![host, mail("u@d.test"), mail("no address"), mail("V@d.test")]);
        assert_eq!(mailbox_names(&der), ["u@d.test", "V@d.test"]);
        assert!(mailbox_names(&certificate(vec![])).is_empty());
        let many = (0..20).map(|number| mail(&format!("u{number}@d.test"))).collect();
        assert_eq!(mailbox_names(&certificate(many)).len(), MAX_NAMES);
        for length in 0..der.len() {
            assert!(mailbox_names(&der[..length]).is_empty());
        }
    }
}

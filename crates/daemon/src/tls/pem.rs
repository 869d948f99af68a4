//! PEM files; the only module that names rustls-pemfile (archived, RUSTSEC-2025-0134), so that it can be
//! replaced by `rustls_pki_types::pem` here alone.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates of a file, in its order; None where there is none or one is damaged.
pub(super) fn certificates(mut pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem).collect();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// The first private key of a file: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn private_key(mut pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    rustls_pemfile::private_key(&mut pem).ok().flatten()
}

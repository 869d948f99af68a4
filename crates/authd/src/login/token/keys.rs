//! The public keys of whoever gives tokens out: PEM files, and JSON Web Key Sets (RFC 7517).

use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::{FileName, TokenAlgorithm};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

/// Largest file read, in octets.
const MAX_FILE: usize = 1 << 20;

/// A public key.
#[derive(Debug)]
pub struct Key {
    /// What tokens call it.
    pub id: String,
    /// What it is for.
    pub algorithm: TokenAlgorithm,
    key: ParsedPublicKey,
}

/// The keys cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeysError {
    /// A file cannot be read.
    #[error("[authd.oauth] keys: cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// There is no key in it that can be used.
    #[error(
        "[authd.oauth] keys: {file} holds no public key that can be used (RSA of 2048 bits or more, EC on P-256, \
         or Ed25519, in PEM form; or a JSON Web Key Set with key ids, and a name that ends in .json)"
    )]
    Unusable {
        /// The file.
        file: String,
    },
    /// Two have the same id.
    #[error("[authd.oauth] keys: two keys have the id {id:?}")]
    Twice {
        /// The id.
        id: String,
    },
}

impl Key {
    fn new(id: &str, algorithm: TokenAlgorithm, bytes: &[u8]) -> Option<Self> {
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            TokenAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            TokenAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            TokenAlgorithm::EdDsa => &ED25519,
        };
        Some(Self {
            id: id.to_owned(),
            algorithm,
            key: ParsedPublicKey::new(verification, bytes).ok()?,
        })
    }

    /// Whether it made this signature.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// All keys of all files.
pub fn load(files: &[FileName]) -> Result<Vec<Key>, TokenKeysError> {
    let mut keys: Vec<Key> = Vec::new();
    for file in files {
        let name = || file.to_string();
        let path = file
            .path()
            .map_err(|source| TokenKeysError::Read { file: name(), source })?;
        let bytes = std::fs::read(&path).map_err(|source| TokenKeysError::Read { file: name(), source })?;
        let found = of_file(&path, &bytes).ok_or_else(|| TokenKeysError::Unusable { file: name() })?;
        for key in found {
            if keys.iter().any(|known| known.id == key.id) {
                return Err(TokenKeysError::Twice { id: key.id });
            }
            keys.push(key);
        }
    }
    Ok(keys)
}

/// The keys of one file; `None` where there are none.
fn of_file(path: &Path, bytes: &[u8]) -> Option<Vec<Key>> {
    if bytes.len() > MAX_FILE {
        return None;
    }
    let keys = if path.extension().is_some_and(|ending| ending == "json") {
        of_set(bytes)?
    } else {
        let id = path.file_stem()?.to_str()?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(bytes).ok()?;
        let all = [
            TokenAlgorithm::Rs256,
            TokenAlgorithm::Es256,
            TokenAlgorithm::EdDsa,
        ];
        vec![
            all.into_iter()
                .find_map(|algorithm| Key::new(id, algorithm, &der))?,
        ]
    };
    Some(keys).filter(|keys| !keys.is_empty())
}

/// The keys of a set that are for signatures and of a kind that we know.
fn of_set(bytes: &[u8]) -> Option<Vec<Key>> {
    let set: Value = serde_json::from_slice(bytes).ok()?;
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().filter_map(of_jwk).collect())
}

fn of_jwk(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name)?.as_str();
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let (algorithm, name, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let der = PublicKeyComponents { n, e }.as_der().ok()?;
            (TokenAlgorithm::Rs256, "RS256", der.as_ref().to_vec())
        }
        ("EC", Some("P-256")) => {
            // An uncompressed point (SEC 1 2.3.3).
            let point = [&[4][..], &bytes("x")?, &bytes("y")?].concat();
            (TokenAlgorithm::Es256, "ES256", point)
        }
        ("OKP", Some("Ed25519")) => (TokenAlgorithm::EdDsa, "EdDSA", bytes("x")?),
        _ => return None,
    };
    if text("alg").is_some_and(|alg| alg != name) {
        return None;
    }
    Key::new(text("kid")?, algorithm, &key)
}

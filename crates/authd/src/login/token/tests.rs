//! robustness.md A23 and what else may be wrong with a token; keys of each kind and form.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPublicKeyUncompressedBin, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::prelude::BASE64_STANDARD;
use config::Config;
use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

/// Somebody who gives tokens out, with a key of each kind.
struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> Secret {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = match header["alg"].as_str() {
            Some("RS256") => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                let random = SystemRandom::new();
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Some("ES256") => {
                let signature = self.ec.sign(&SystemRandom::new(), signed.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
            Some("EdDSA") => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        Secret::new(format!("{signed}.{}", b64(signature)))
    }

    /// The keys as PEM files in a directory, and as a set.
    fn write(&self, directory: &Path) -> [Vec<String>; 2] {
        let der: [PublicKeyX509Der<'_>; 3] = [
            self.rsa.public_key().as_der().unwrap(),
            self.ec.public_key().as_der().unwrap(),
            self.ed.public_key().as_der().unwrap(),
        ];
        let mut files = Vec::new();
        for (name, der) in ["rsa", "ec", "ed"].iter().zip(der) {
            let path = directory.join(format!("{name}.pem"));
            let text = BASE64_STANDARD.encode(der.as_ref());
            std::fs::write(
                &path,
                format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"),
            )
            .unwrap();
            files.push(path.display().to_string());
        }
        let point: EcPublicKeyUncompressedBin<'_> = self.ec.public_key().as_be_bytes().unwrap();
        let point = point.as_ref();
        // RSAPublicKey (RFC 8017 A.1.1) with 2048 bits and the usual exponent: where the modulus lies is known.
        let modulus = &self.rsa.public_key().as_ref()[9..265];
        let set = json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
              "n": b64(modulus),
              "e": b64([1, 0, 1]) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed.public_key()) },
            { "kty": "oct", "kid": "shared", "k": "AAAA" },
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB" },
        ]});
        let path = directory.join("set.json");
        std::fs::write(&path, set.to_string()).unwrap();
        [files, vec![path.display().to_string()]]
    }
}

fn verifier(files: &[String], more: &str) -> TokenVerifier {
    let config = Config::from_toml(&format!(
        "[authd.oauth]\nkeys = {files:?}\nissuer = \"https://id.test\"\naudience = \"mail\"\n{more}"
    ));
    TokenVerifier::load(&config.unwrap().authd.oauth)
        .unwrap()
        .unwrap()
}

fn claims() -> Value {
    json!({ "iss": "https://id.test", "aud": "mail", "exp": NOW + 300, "iat": NOW, "email": "u@d.test" })
}

fn header(alg: &str, kid: &str) -> Value {
    json!({ "alg": alg, "kid": kid, "typ": "JWT" })
}

#[test]
fn keys_of_each_kind_and_form() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    for files in issuer.write(directory.path()) {
        let verifier = verifier(&files, "");
        for (alg, kid) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
            let token = issuer.sign(&header(alg, kid), &claims());
            let expected = Claims {
                login: "u@d.test".to_owned(),
                key: kid.to_owned(),
            };
            assert_eq!(verifier.verify(&token, NOW), Ok(expected), "{alg}");
            // The only key of its kind needs no name.
            let token = issuer.sign(&json!({ "alg": alg }), &claims());
            assert!(verifier.verify(&token, NOW).is_ok());
            // Somebody else's key of the same name.
            let token = Issuer::new().sign(&header(alg, kid), &claims());
            assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Signature));
        }
        assert_eq!(verifier.keys.len(), 3);
    }
}

/// robustness.md A23.
#[test]
fn headers_that_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let [files, set] = issuer.write(directory.path());
    let strict = verifier(&files, "algorithms = [\"ES256\"]\n");
    let token = issuer.sign(&header("EdDSA", "ed"), &claims());
    assert_eq!(strict.verify(&token, NOW), Err(TokenError::Algorithm));
    let verifier = verifier(&set, "");
    for (header, error) in [
        (header("none", "ed"), TokenError::Algorithm),
        (header("None", "ed"), TokenError::Algorithm),
        (header("HS256", "shared"), TokenError::Algorithm),
        (header("RS512", "rsa"), TokenError::Algorithm),
        (json!({ "kid": "ed" }), TokenError::Algorithm),
        (
            json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"] }),
            TokenError::Algorithm,
        ),
        (header("EdDSA", "../../x"), TokenError::UnknownKey),
        (header("EdDSA", "/etc/passwd"), TokenError::UnknownKey),
        (header("EdDSA", "rsa"), TokenError::UnknownKey),
        (json!({ "alg": "EdDSA", "kid": 7 }), TokenError::UnknownKey),
    ] {
        let token = issuer.sign(&header, &claims());
        assert_eq!(verifier.verify(&token, NOW), Err(error), "{header}");
    }
    // The public key as a shared secret, the oldest trick.
    let token = issuer.sign(&header("EdDSA", "ed"), &claims());
    let text = token.expose_str().unwrap();
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let forged = signed.replace(
        &b64(header("EdDSA", "ed").to_string()),
        &b64(header("HS256", "ed").to_string()),
    );
    let forged = Secret::new(format!("{forged}.{signature}"));
    assert_eq!(verifier.verify(&forged, NOW), Err(TokenError::Algorithm));
}

/// robustness.md A23.
#[test]
fn claims_that_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let verifier = verifier(&issuer.write(directory.path())[0], "");
    let verdict = |change: &Value| {
        let mut claims = claims();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        verifier.verify(&issuer.sign(&header("EdDSA", "ed"), &claims), NOW)
    };
    for (change, error) in [
        (json!({ "exp": NOW - 60 }), TokenError::Expired),
        (json!({ "exp": null }), TokenError::Expired),
        (json!({ "exp": "2099" }), TokenError::Expired),
        (json!({ "exp": -1 }), TokenError::Expired),
        (json!({ "nbf": NOW + 61 }), TokenError::NotYet),
        (json!({ "iat": NOW + 61 }), TokenError::NotYet),
        (json!({ "nbf": "soon" }), TokenError::Malformed),
        (json!({ "iss": "https://id.test/" }), TokenError::Issuer),
        (json!({ "iss": null }), TokenError::Issuer),
        (json!({ "aud": "web" }), TokenError::Audience),
        (json!({ "aud": ["web", 7] }), TokenError::Audience),
        (json!({ "aud": null }), TokenError::Audience),
        (json!({ "email": null }), TokenError::Login),
        (json!({ "email": "", "sub": "" }), TokenError::Login),
        (json!({ "email_verified": false }), TokenError::Login),
        (json!({ "email_verified": "false" }), TokenError::Login),
    ] {
        assert_eq!(verdict(&change), Err(error), "{change}");
    }
    for change in [
        json!({ "exp": NOW - 59 }),
        json!({ "exp": 1_700_000_300.5 }),
        json!({ "nbf": NOW + 60, "iat": NOW + 60 }),
        json!({ "aud": ["web", "mail"] }),
        json!({ "email_verified": true }),
    ] {
        assert!(verdict(&change).is_ok(), "{change}");
    }
    let subject = verdict(&json!({ "email": null, "sub": "v@d.test" }));
    assert_eq!(subject.unwrap().login, "v@d.test");
}

#[test]
fn another_claim_and_no_leeway() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let verifier = verifier(
        &issuer.write(directory.path())[0],
        "login_claim = \"upn\"\nleeway = \"0s\"\n",
    );
    let mut claims = claims();
    assert_eq!(
        verifier.verify(&issuer.sign(&header("EdDSA", "ed"), &claims), NOW),
        Err(TokenError::Login)
    );
    claims["upn"] = json!("w@d.test");
    let token = issuer.sign(&header("EdDSA", "ed"), &claims);
    assert_eq!(verifier.verify(&token, NOW).unwrap().login, "w@d.test");
    assert!(verifier.verify(&token, NOW + 299).is_ok());
    assert_eq!(verifier.verify(&token, NOW + 300), Err(TokenError::Expired));
    assert_eq!(verifier.verify(&token, NOW - 1), Err(TokenError::NotYet));
    assert_eq!(verifier.leeway, Duration::ZERO.as_secs());
}

#[test]
fn what_is_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let verifier = verifier(&issuer.write(directory.path())[0], "");
    let token = issuer.sign(&header("EdDSA", "ed"), &claims());
    let text = token.expose_str().unwrap();
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        "e30.e30",
        "W10.W10.",
        "\u{e4}.b.c",
        &text.replace('.', ""),
    ] {
        assert_eq!(
            verifier.verify(&Secret::new(bad), NOW),
            Err(TokenError::Malformed),
            "{bad}"
        );
    }
    assert_eq!(
        verifier.verify(&Secret::new("e30.e30.e30"), NOW),
        Err(TokenError::Algorithm)
    );
    assert_eq!(
        verifier.verify(&Secret::new("a".repeat(65_536)), NOW),
        Err(TokenError::TooLong)
    );
    for length in 0..text.len() {
        assert!(verifier.verify(&Secret::new(&text[..length]), NOW).is_err());
    }
    assert_eq!(TokenError::Login.reason(), TokenError::Login.to_string());
}

#[test]
fn keys_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let [files, set] = issuer.write(directory.path());
    let load = |files: &[String]| {
        let config = format!("[authd.oauth]\nkeys = {files:?}\nissuer = \"i\"\naudience = \"a\"\n");
        TokenVerifier::load(&Config::from_toml(&config).unwrap().authd.oauth)
    };
    let both = [files.clone(), set.clone()].concat();
    assert!(matches!(load(&both), Err(TokenKeysError::Twice { .. })));
    for (path, text) in [
        (&files[0], "no key"),
        (&set[0], "{}"),
        (&set[0], "{\"keys\":[]}"),
        (&set[0], "["),
    ] {
        std::fs::write(path, text).unwrap();
        assert!(
            matches!(
                load(std::slice::from_ref(path)),
                Err(TokenKeysError::Unusable { .. })
            ),
            "{text}"
        );
    }
    std::fs::remove_file(&files[0]).unwrap();
    assert!(matches!(load(&files), Err(TokenKeysError::Read { .. })));
    assert!(matches!(load(&[]), Ok(None)));
}

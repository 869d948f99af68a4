//! Bearer tokens: JSON Web Tokens (RFC 7519), signed with a key that the site configured.
//!
//! The token names its key by an id, which is looked up in what was loaded at the start, and nowhere else.
//! Signatures with a shared secret and unsigned tokens are not known at all.

mod keys;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::{Oauth, TokenAlgorithm};
use mail_types::Secret;
use serde_json::{Map, Value};

use self::keys::Key;
pub use self::keys::TokenKeysError;

/// Longest token read, in octets; the mechanisms take no longer messages.
const MAX_TOKEN: usize = 12_288;

/// Checks tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
    login_claim: Option<String>,
    algorithms: Vec<TokenAlgorithm>,
    leeway: u64,
    openid_configuration: Option<String>,
}

/// What a good token says.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose mailbox; any text.
    pub login: String,
    /// The id of the key that signed it, for the log.
    pub key: String,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than a mechanism could have carried.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts in base64, or no JSON in them.
    #[error("the token is no signed JSON Web Token")]
    Malformed,
    /// `none`, a shared secret, or one that the site does not take.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Nothing configured has this id, or fits this algorithm.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Forged, damaged, or signed by somebody else.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` is over, or missing.
    #[error("the token has expired, or does not say when it does")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// Not our `iss`.
    #[error("the token is from another issuer")]
    Issuer,
    /// Not our `aud`.
    #[error("the token is for another audience")]
    Audience,
    /// No claim with the mailbox, or its address was not verified.
    #[error("the token names no mailbox")]
    Login,
}

impl TokenError {
    /// The same as text, for the mechanism.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is no signed JSON Web Token",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::UnknownKey => "the token's key is not known",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token has expired, or does not say when it does",
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is for another audience",
            Self::Login => "the token names no mailbox",
        }
    }
}

impl TokenVerifier {
    /// Loads the keys; `None` where there are none. Blocks.
    pub fn load(oauth: &Oauth) -> Result<Option<Self>, TokenKeysError> {
        if oauth.keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            keys: keys::load(&oauth.keys)?,
            issuer: oauth.issuer.clone().unwrap_or_default(),
            audience: oauth.audience.clone().unwrap_or_default(),
            login_claim: oauth.login_claim.clone(),
            algorithms: oauth.algorithms.clone(),
            leeway: oauth.leeway.get().as_secs(),
            openid_configuration: oauth.openid_configuration.clone(),
        }))
    }

    /// Where clients learn how to get a token.
    pub fn openid_configuration(&self) -> Option<&str> {
        self.openid_configuration.as_deref()
    }

    /// Checks a token; `now` in seconds since 1970.
    pub fn verify(&self, token: &Secret, now: u64) -> Result<Claims, TokenError> {
        let token = token.expose();
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let text = std::str::from_utf8(token).map_err(|_| TokenError::Malformed)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let key = self.key(&object(header)?)?;
        let signature = decode(signature)?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        // From here on it is what the issuer wrote.
        let claims = object(claims)?;
        self.check_times(&claims, now)?;
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(TokenError::Issuer);
        }
        let ours = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(&self.audience)),
            _ => false,
        };
        if !ours {
            return Err(TokenError::Audience);
        }
        Ok(Claims {
            login: self.login(&claims)?,
            key: key.id.clone(),
        })
    }

    /// The key that the header names.
    fn key(&self, header: &Map<String, Value>) -> Result<&Key, TokenError> {
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => TokenAlgorithm::Rs256,
            Some("ES256") => TokenAlgorithm::Es256,
            Some("EdDSA") => TokenAlgorithm::EdDsa,
            _ => return Err(TokenError::Algorithm),
        };
        // An extension that we would have to understand (RFC 7515 4.1.11).
        if !self.algorithms.contains(&algorithm) || header.contains_key("crit") {
            return Err(TokenError::Algorithm);
        }
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match header.get("kid") {
            Some(Value::String(id)) => fitting.find(|key| key.id == *id),
            Some(_) => None,
            // Without an id there may be no choice.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
        .ok_or(TokenError::UnknownKey)
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<(), TokenError> {
        let expires = match claims.get("exp").map(seconds) {
            Some(Some(expires)) => expires,
            _ => return Err(TokenError::Expired),
        };
        if now >= expires.saturating_add(self.leeway) {
            return Err(TokenError::Expired);
        }
        for begin in [claims.get("nbf"), claims.get("iat")].into_iter().flatten() {
            let begin = seconds(begin).ok_or(TokenError::Malformed)?;
            if begin > now.saturating_add(self.leeway) {
                return Err(TokenError::NotYet);
            }
        }
        Ok(())
    }

    /// The login that the claims name.
    fn login(&self, claims: &Map<String, Value>) -> Result<String, TokenError> {
        let text = |name: &str| {
            claims
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let (name, login) = match &self.login_claim {
            Some(name) => (name.as_str(), text(name)),
            None => match text("email") {
                Some(email) => ("email", Some(email)),
                None => ("sub", text("sub")),
            },
        };
        // The issuer itself does not believe it.
        let verified = claims.get("email_verified");
        let doubtful = verified.is_some_and(|verified| *verified != Value::Bool(true));
        match login {
            Some(login) if name != "email" || !doubtful => Ok(login.to_owned()),
            _ => Err(TokenError::Login),
        }
    }
}

/// A JSON object in base64.
fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    match serde_json::from_slice(&decode(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(TokenError::Malformed),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

/// A date (RFC 7519 2): seconds since 1970, with or without a fraction.
fn seconds(value: &Value) -> Option<u64> {
    match value.as_u64() {
        Some(seconds) => Some(seconds),
        // What is far beyond any date stays so.
        None => value
            .as_f64()
            .filter(|seconds| (0.0..1e15).contains(seconds))
            .map(|seconds| seconds as u64),
    }
}

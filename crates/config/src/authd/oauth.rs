//! `[authd.oauth]`: the tokens that OAUTHBEARER and XOAUTH2 log in with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Checks;
use crate::types::{DurationText, FileName};

/// Tokens as passwords (OAUTHBEARER, XOAUTH2): signed ones (JWT), checked here against the keys of whoever gives
/// them out. Nothing is asked over the network.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Oauth {
    /// Files with public keys: PEM (`BEGIN PUBLIC KEY`; the name of the file without its ending is the id of the
    /// key), or a JSON Web Key Set whose name ends in `.json`. Without any, no tokens are taken.
    pub keys: Vec<FileName>,
    /// Who gives the tokens out: they have to say exactly this (`iss`).
    pub issuer: Option<String>,
    /// For whom they are: they have to name this (`aud`).
    pub audience: Option<String>,
    /// The claim with the address of the mailbox. Default: `email`, and `sub` where there is none.
    pub login_claim: Option<String>,
    /// Signatures that are taken. Those with a shared secret (HS256) are none of them.
    pub algorithms: Vec<TokenAlgorithm>,
    /// How far the clocks may differ.
    #[schemars(extend("x-min" = "0s", "x-max" = "10m"))]
    pub leeway: DurationText,
    /// Where a program learns how to get a token, told to it with a refusal (OpenID Connect Discovery); begins
    /// with `https://`.
    pub openid_configuration: Option<String>,
}

/// Signatures of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; 2048 bits at least.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Default for Oauth {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            issuer: None,
            audience: None,
            login_claim: None,
            algorithms: vec![
                TokenAlgorithm::Rs256,
                TokenAlgorithm::Es256,
                TokenAlgorithm::EdDsa,
            ],
            leeway: DurationText::from_secs(60),
            openid_configuration: None,
        }
    }
}

impl Oauth {
    /// Rules between the options.
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        for (option, is_given) in [
            ("oauth.issuer", given(&self.issuer)),
            ("oauth.audience", given(&self.audience)),
            ("oauth.algorithms", !self.algorithms.is_empty()),
        ] {
            if !self.keys.is_empty() && !is_given {
                checks.add(
                    option,
                    "there are keys, but any token signed with them would do".to_owned(),
                    "set issuer, audience and algorithms",
                );
            }
        }
        if self.login_claim.as_ref().is_some_and(String::is_empty) {
            checks.add("oauth.login_claim", "it is empty".to_owned(), "leave it out");
        }
        let url = self.openid_configuration.as_ref();
        if url.is_some_and(|url| !url.starts_with("https://") || url.contains(char::is_whitespace)) {
            checks.add(
                "oauth.openid_configuration",
                "it is no URL that begins with https://".to_owned(),
                "write https://HOST/.well-known/openid-configuration",
            );
        }
    }
}

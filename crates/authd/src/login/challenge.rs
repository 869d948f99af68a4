//! A challenge with its answer, both brought by other software (Courier's AUTH cram-md5, cram-sha1, cram-sha256).

use auth_api::sasl::{LoginContext, LoginStep};
use sasl::mechanism::{Supply, Wants};
use sasl::password::CramHash;

use super::Logins;
use super::audit::Attempt;
use super::check::Refusal;
use super::revision::Means;

/// A challenge and what the client made of it.
#[derive(Debug)]
pub struct Challenge {
    /// The hash function of the HMAC.
    pub hash: CramHash,
    /// What the client was given. Whoever sends it here answers for its freshness.
    pub challenge: Vec<u8>,
    /// Its answer: hex digits.
    pub digest: String,
}

impl Logins {
    /// Denies a try from which no login can be read, with the same throttling and audit as any. `mechanism` is
    /// the name in the audit, `reason` is for it too.
    pub async fn deny(&self, context: LoginContext, mechanism: &str, reason: &'static str) -> LoginStep {
        let attempt = Attempt::new(self.shared.clone(), context, mechanism.to_owned());
        attempt.denied(None, reason, false).await
    }

    /// Judges an answer, with the same throttling and audit as any login. Who has no cleartext password (nor,
    /// for MD5, contexts of it) is denied. `mechanism` is the name in the audit.
    pub async fn check_challenge(
        &self,
        context: LoginContext,
        mechanism: &str,
        login: &str,
        challenge: &Challenge,
    ) -> LoginStep {
        let attempt = Attempt::new(self.shared.clone(), context, mechanism.to_owned());
        let subject = match attempt.subject(login).await {
            Ok(subject) => subject,
            Err(step) => return step,
        };
        let (supply, scheme) = match attempt.stored(&subject, Wants::CramMd5).await {
            Ok(stored) => stored,
            Err(refusal) => return attempt.refused(&subject, refusal).await,
        };
        let Challenge {
            hash,
            challenge,
            digest,
        } = challenge;
        let fits = match (&supply, hash) {
            (Supply::Cleartext(password), _) => hash.fits(password.expose(), challenge, digest),
            (Supply::CramMd5(contexts), CramHash::Md5) => contexts.fits(challenge, digest),
            // The same work for whom there is nothing to compare with.
            _ => {
                hash.fits(b"nobody", challenge, digest);
                false
            }
        };
        if fits {
            attempt.admit(&subject, Means::Mailbox, scheme).await
        } else {
            let refusal = Refusal::Denied("wrong answer to the challenge");
            attempt.refused(&subject, refusal).await
        }
    }
}

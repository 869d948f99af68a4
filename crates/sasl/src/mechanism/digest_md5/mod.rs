//! DIGEST-MD5 (RFC 2831; historic since RFC 6331), authentication only: no integrity or confidentiality
//! layers, no fast reauthentication.

mod directives;
#[cfg(test)]
mod tests;

use mail_types::Secret;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::cram_md5::hex_digest;
use super::{MAX_RESPONSE, Mechanism, Parameters, Step, Supply, Wants, login_name, nonce};

/// One exchange.
pub struct DigestMd5 {
    parameters: Parameters,
    nonce: String,
    state: State,
}

enum State {
    Start,
    Asked,
    Lookup(Box<Response>),
    Last { login: String },
    Done,
}

/// What a client answers, as far as the digest needs it.
struct Response {
    login: String,
    /// The name and realm as they were sent.
    username: Vec<u8>,
    realm: Vec<u8>,
    /// They are in UTF-8; otherwise in ISO 8859-1.
    utf8: bool,
    cnonce: Vec<u8>,
    authzid: Option<Vec<u8>>,
    digest_uri: Vec<u8>,
    digest: [u8; 16],
}

impl DigestMd5 {
    /// Begins an exchange.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            nonce: nonce(&parameters),
            parameters,
            state: State::Start,
        }
    }

    fn challenge(&self) -> String {
        format!(
            "realm=\"{}\",nonce=\"{}\",qop=\"auth\",algorithm=md5-sess,charset=utf-8",
            self.parameters.hostname, self.nonce
        )
    }

    /// Reads the client's answer and checks all in it but the digest.
    fn read(&self, message: &[u8]) -> Result<Response, &'static str> {
        if message.len() > MAX_RESPONSE {
            return Err("the response is too long");
        }
        let mut directives = directives::parse(message)?;
        let mut take = |name: &str| {
            let at = directives.iter().position(|(known, _)| known == name)?;
            Some(directives.swap_remove(at).1)
        };
        let utf8 = match take("charset") {
            None => false,
            Some(charset) if charset.eq_ignore_ascii_case(b"utf-8") => true,
            Some(_) => return Err("the character set can only be utf-8"),
        };
        let username = take("username").ok_or("the name is missing")?;
        let realm = take("realm").unwrap_or_default();
        let nonce = take("nonce").ok_or("the nonce is missing")?;
        if !bool::from(nonce.ct_eq(self.nonce.as_bytes())) {
            return Err("the nonce is not ours");
        }
        if take("nc").is_none_or(|count| count != b"00000001") {
            return Err("the nonce was used before");
        }
        if take("qop").is_some_and(|qop| qop != b"auth") {
            return Err("only authentication is offered (qop=auth)");
        }
        let cnonce = take("cnonce").filter(|cnonce| !cnonce.is_empty());
        let digest_uri = take("digest-uri").ok_or("the digest-uri is missing")?;
        self.check_uri(&digest_uri)?;
        let digest = take("response").and_then(|text| hex_digest(&text));
        let login = self.login(&username, &realm, utf8)?;
        let authzid = take("authzid").filter(|authzid| !authzid.is_empty());
        if authzid
            .as_ref()
            .is_some_and(|authzid| *authzid != username && authzid != login.as_bytes())
        {
            return Err("acting for another user is not possible");
        }
        Ok(Response {
            login,
            username,
            realm,
            utf8,
            cnonce: cnonce.ok_or("the client's nonce is missing")?,
            authzid,
            digest_uri,
            digest: digest.ok_or("the digest is missing or damaged")?,
        })
    }

    /// `service/host`: a response that was made for another protocol is none for us. The host is the name
    /// under which the client knows us, and a site of virtual domains has any number of those.
    fn check_uri(&self, uri: &[u8]) -> Result<(), &'static str> {
        let slash = uri.iter().position(|byte| *byte == b'/');
        let (service, host) = uri.split_at(slash.ok_or("the digest-uri is damaged")?);
        if host.len() < 2 || !service.eq_ignore_ascii_case(self.parameters.service.as_bytes()) {
            return Err("the digest-uri is that of another service");
        }
        Ok(())
    }

    /// The login: the name, with a realm that is not ours as its domain.
    fn login(&self, username: &[u8], realm: &[u8], utf8: bool) -> Result<String, &'static str> {
        let decode = |bytes: &[u8]| match utf8 {
            true => String::from_utf8(bytes.to_vec()).map_err(|_| "the login name is not UTF-8"),
            false => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        };
        let (name, realm) = (decode(username)?, decode(realm)?);
        let ours = realm.is_empty() || realm.eq_ignore_ascii_case(&self.parameters.hostname);
        if name.is_empty() || name.contains('@') || ours {
            return login_name(name.as_bytes());
        }
        login_name(format!("{name}@{realm}").as_bytes())
    }

    /// Checks the digest with this password; our own proof where it is right.
    fn prove(&self, response: &Response, password: &[u8]) -> Option<String> {
        let mut proof = None;
        for secret in response.secrets(password) {
            let start = [&secret[..], b":", self.nonce.as_bytes(), b":", &response.cnonce].concat();
            let a1 = Zeroizing::new(match &response.authzid {
                Some(authzid) => [&start, &b":"[..], authzid].concat(),
                None => start,
            });
            let key = hex(&a1);
            if bool::from(
                self.digest(response, &key, b"AUTHENTICATE")
                    .ct_eq(&response.digest),
            ) {
                proof = Some(format!("rspauth={}", hex_text(&self.digest(response, &key, b""))));
            }
        }
        proof
    }

    /// KD(H(A1), nonce:nc:cnonce:qop:H(A2)) for a method.
    fn digest(&self, response: &Response, key: &str, method: &[u8]) -> [u8; 16] {
        let a2 = hex(&[method, b":", &response.digest_uri].concat());
        let parts = [
            key.as_bytes(),
            self.nonce.as_bytes(),
            b"00000001",
            &response.cnonce,
            b"auth",
            a2.as_bytes(),
        ];
        Md5::digest(parts.join(&b':')).into()
    }
}

impl Response {
    /// H(username:realm:password) in the character sets that this client may have used: RFC 2831 2.1.2.1
    /// has each of the three converted to ISO 8859-1 where that is possible; many clients convert nothing.
    fn secrets(&self, password: &[u8]) -> [Zeroizing<[u8; 16]>; 2] {
        let convert = |bytes: &[u8]| Zeroizing::new(to_latin1(bytes).unwrap_or_else(|| bytes.to_vec()));
        let hash = |username: &[u8], realm: &[u8], password: &[u8]| {
            let text = Zeroizing::new([username, realm, password].join(&b':'));
            Zeroizing::new(<[u8; 16]>::from(Md5::digest(&*text)))
        };
        let password_latin1 = convert(password);
        let converted = match self.utf8 {
            true => hash(&convert(&self.username), &convert(&self.realm), &password_latin1),
            false => hash(&self.username, &self.realm, &password_latin1),
        };
        [converted, hash(&self.username, &self.realm, password)]
    }
}

/// UTF-8 as ISO 8859-1, where all characters are in it.
fn to_latin1(utf8: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(utf8).ok()?;
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect()
}

/// H as 32 hex digits.
fn hex(message: &[u8]) -> String {
    hex_text(&Md5::digest(message).into())
}

fn hex_text(digest: &[u8; 16]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Mechanism for DigestMd5 {
    fn step(&mut self, response: Option<Secret>) -> Step {
        match (std::mem::replace(&mut self.state, State::Done), response) {
            (State::Start, None) => {
                self.state = State::Asked;
                Step::Challenge(self.challenge().into_bytes())
            }
            (State::Start, Some(_)) => Step::ServerFirst,
            (State::Asked, Some(response)) => match self.read(response.expose()) {
                Ok(response) => {
                    let login = response.login.clone();
                    self.state = State::Lookup(Box::new(response));
                    Step::Lookup {
                        login,
                        wants: Wants::Cleartext,
                    }
                }
                Err(reason) => Step::Failed(reason),
            },
            (State::Last { login }, Some(response)) if response.is_empty() => Step::Authenticated { login },
            (State::Last { .. }, Some(_)) => Step::Failed("something follows the exchange"),
            (State::Asked | State::Last { .. }, None) => Step::Failed("a response is missing"),
            (State::Lookup(_) | State::Done, _) => Step::Failed("the exchange is over"),
        }
    }

    fn supply(&mut self, supply: Supply) -> Step {
        let State::Lookup(response) = std::mem::replace(&mut self.state, State::Done) else {
            return Step::Failed("nothing was asked for");
        };
        let (proof, reason) = match &supply {
            Supply::Cleartext(password) => (self.prove(&response, password.expose()), "wrong password"),
            _ => {
                // Costs the same.
                self.prove(&response, &self.parameters.decoy_key);
                (
                    None,
                    "no such mailbox, or no password is stored that DIGEST-MD5 could use",
                )
            }
        };
        match proof {
            Some(proof) => {
                self.state = State::Last {
                    login: response.login,
                };
                Step::Challenge(proof.into_bytes())
            }
            None => Step::Denied {
                login: Some(response.login),
                reason,
            },
        }
    }
}

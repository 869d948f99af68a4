//! SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms (RFC 5802, RFC 7677), with the channel bindings
//! tls-exporter (RFC 9266) and tls-server-end-point (RFC 5929 4).

mod messages;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail_types::Secret;
use subtle::ConstantTimeEq as _;

use self::messages::{Binding, ClientFinal, ClientFirst};
use super::{
    MAX_RESPONSE, Mechanism, Parameters, ScramKeys, ScramKind, Step, Supply, Wants, login_name, nonce,
};

/// Octets of the salts that we make.
const SALT: usize = 16;

/// One exchange.
pub struct Scram {
    kind: ScramKind,
    plus: bool,
    parameters: Parameters,
    server_nonce: String,
    state: State,
}

/// Where the exchange stands.
enum State {
    /// Nothing is known yet.
    Start,
    /// The keys were asked for.
    Keys(Opened),
    /// The first message went out.
    Proof {
        opened: Opened,
        keys: ScramKeys,
        /// Nobody has these keys.
        decoy: bool,
        server_first: String,
    },
    /// The proof was right, and ours went out.
    Last { login: String },
    /// Over.
    Done,
}

/// What is kept of the client's first message.
struct Opened {
    login: String,
    /// What the client has to repeat: the GS2 header and the channel binding.
    binding: Vec<u8>,
    bare: String,
    nonce: String,
}

impl Scram {
    /// Begins an exchange; `plus`: with channel binding.
    pub fn new(kind: ScramKind, plus: bool, parameters: Parameters) -> Self {
        let server_nonce = nonce(&parameters);
        Self {
            kind,
            plus,
            parameters,
            server_nonce,
            state: State::Start,
        }
    }

    /// Takes the first message.
    fn open(&self, message: &[u8]) -> Result<Opened, &'static str> {
        let first = ClientFirst::parse(message)?;
        let data: &[u8] = match first.binding {
            Binding::Used(_) if !self.plus => return Err("channel binding needs the -PLUS form"),
            Binding::None | Binding::Offerable if self.plus => return Err("the channel binding is missing"),
            // Somebody between us took the -PLUS form out of our list (RFC 5802 6).
            Binding::Offerable if self.parameters.plus_offered => {
                return Err("the client was not shown that channel binding is offered");
            }
            Binding::None | Binding::Offerable => &[],
            Binding::Used("tls-exporter") => &self.parameters.tls_exporter,
            Binding::Used("tls-server-end-point") => &self.parameters.tls_server_end_point,
            Binding::Used(_) => return Err("a channel binding of this type is not offered"),
        };
        if self.plus && data.is_empty() {
            return Err("this connection has no channel binding of this type");
        }
        let prepared = stringprep::saslprep(&first.username).map_err(|_| "the login name is prohibited")?;
        let login = login_name(prepared.as_bytes())?;
        if first.authzid.is_some_and(|authzid| authzid != login) {
            return Err("acting for another user is not possible");
        }
        Ok(Opened {
            login,
            binding: [first.gs2_header.as_bytes(), data].concat(),
            bare: first.bare.to_owned(),
            nonce: format!("{}{}", first.nonce, self.server_nonce),
        })
    }

    /// The salt of a login for which none is stored: always the same one, and not to be told from others.
    fn own_salt(&self, login: &str) -> Vec<u8> {
        let mut salt = self.own_bytes("salt", login);
        salt.truncate(SALT);
        salt
    }

    fn own_bytes(&self, purpose: &str, login: &str) -> Vec<u8> {
        let kind = self.kind.size();
        let message = format!("SCRAM {kind} {purpose} {}", login.to_ascii_lowercase());
        ScramKind::Sha256.hmac(&self.parameters.decoy_key, message.as_bytes())
    }

    /// The keys of a password in clear.
    fn derive(&self, login: &str, password: &Secret) -> ScramKeys {
        let iterations = self.parameters.scram.iterations;
        ScramKeys::derive(self.kind, password, iterations, self.own_salt(login))
    }

    /// Keys that look like those of others.
    fn decoy(&self, login: &str) -> ScramKeys {
        let secret = Secret::new(self.own_bytes("password", login));
        if self.parameters.scram.derived {
            return self.derive(login, &secret);
        }
        ScramKeys {
            kind: self.kind,
            iterations: self.parameters.scram.iterations,
            salt: self.own_salt(login),
            stored_key: self.kind.hash(secret.expose()).into(),
            server_key: self.kind.hash(secret.expose()).into(),
        }
    }

    /// Answers the final message: our own proof, where the client's is right.
    fn finish(
        &self,
        opened: &Opened,
        keys: &ScramKeys,
        server_first: &str,
        message: &[u8],
    ) -> Result<Option<String>, &'static str> {
        let last = ClientFinal::parse(message)?;
        if !bool::from(last.nonce.as_bytes().ct_eq(opened.nonce.as_bytes())) {
            return Err("the nonce is not ours");
        }
        if !bool::from(last.binding.ct_eq(&opened.binding)) {
            return Err("the channel binding is not that of this connection");
        }
        let signed = format!("{},{server_first},{}", opened.bare, last.without_proof);
        let signature = self.kind.hmac(&keys.stored_key, signed.as_bytes());
        if last.proof.len() != signature.len() {
            return Err("the proof is of another length");
        }
        let client_key: Vec<u8> = last.proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if !bool::from(self.kind.hash(&client_key).ct_eq(&keys.stored_key)) {
            return Ok(None);
        }
        let proof = self.kind.hmac(&keys.server_key, signed.as_bytes());
        Ok(Some(format!("v={}", BASE64_STANDARD.encode(proof))))
    }

    /// Takes the response to our first message.
    fn prove(
        &mut self,
        opened: Opened,
        keys: &ScramKeys,
        decoy: bool,
        server_first: &str,
        message: &[u8],
    ) -> Step {
        match self.finish(&opened, keys, server_first, message) {
            Ok(Some(proof)) if !decoy => {
                self.state = State::Last { login: opened.login };
                Step::Challenge(proof.into_bytes())
            }
            Ok(_) => Step::Denied {
                login: Some(opened.login),
                reason: if decoy {
                    "no such mailbox, or no keys for SCRAM are stored"
                } else {
                    "wrong password"
                },
            },
            Err(reason) => Step::Failed(reason),
        }
    }
}

impl Mechanism for Scram {
    fn step(&mut self, response: Option<Secret>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Done);
        let Some(response) = response else {
            if matches!(state, State::Start) {
                self.state = State::Start;
                return Step::Challenge(Vec::new());
            }
            return Step::Failed("a response is missing");
        };
        let message = response.expose();
        if message.len() > MAX_RESPONSE {
            return Step::Failed("the response is too long");
        }
        match state {
            State::Start => match self.open(message) {
                Ok(opened) => {
                    let login = opened.login.clone();
                    self.state = State::Keys(opened);
                    Step::Lookup {
                        login,
                        wants: Wants::Scram(self.kind),
                    }
                }
                Err(reason) => Step::Failed(reason),
            },
            State::Proof {
                opened,
                keys,
                decoy,
                server_first,
            } => self.prove(opened, &keys, decoy, &server_first, message),
            State::Last { login } if message.is_empty() => Step::Authenticated { login },
            State::Last { .. } => Step::Failed("something follows the exchange"),
            State::Keys(_) | State::Done => Step::Failed("the exchange is over"),
        }
    }

    fn supply(&mut self, supply: Supply) -> Step {
        let State::Keys(opened) = std::mem::replace(&mut self.state, State::Done) else {
            return Step::Failed("nothing was asked for");
        };
        let (keys, decoy) = match supply {
            Supply::Scram(keys) if keys.kind == self.kind => (keys, false),
            Supply::Cleartext(password) => (self.derive(&opened.login, &password), false),
            _ => (self.decoy(&opened.login), true),
        };
        let salt = BASE64_STANDARD.encode(&keys.salt);
        let server_first = format!("r={},s={salt},i={}", opened.nonce, keys.iterations);
        self.state = State::Proof {
            opened,
            keys,
            decoy,
            server_first: server_first.clone(),
        };
        Step::Challenge(server_first.into_bytes())
    }
}

//! How a login would be judged, question by question: for `mailctl explain login`.

use std::sync::Arc;

use auth_api::Unavailable;
use auth_api::sasl::{LoginExplanation, LoginQuery, LoginQuestion, LoginStep, MechanismOffer};
use sasl::password::Unmarked;

use super::audit::means;
use super::check::{Refusal, address, is_mail};
use super::revision::Means;
use super::row::{self, Candidate};
use super::throttle::Network;
use super::{Shared, after};
use crate::directory::backend::{Found, LoginRow, Source};
use crate::site::Site;
use crate::state;

/// The reasoning so far.
struct Explanation<'a> {
    shared: &'a Arc<Shared>,
    query: &'a LoginQuery,
    questions: Vec<LoginQuestion>,
}

/// How it ends: one sentence, and whether the right secret would be let in.
struct Verdict {
    text: String,
    possible: bool,
    /// Nobody can tell now.
    temporary: bool,
}

impl Verdict {
    fn no(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            possible: false,
            temporary: false,
        }
    }

    /// Nobody can tell now, for this reason.
    fn later(reason: impl std::fmt::Display) -> Self {
        Self {
            text: format!("a temporary failure: {reason}"),
            possible: false,
            temporary: true,
        }
    }
}

/// Explains a login.
pub async fn explain(shared: &Arc<Shared>, query: LoginQuery) -> Result<LoginExplanation, Unavailable> {
    let mechanisms = shared.offers(&query.context).await;
    let mut explanation = Explanation {
        shared,
        query: &query,
        questions: Vec::new(),
    };
    let verdict = explanation.run(&mechanisms).await;
    let questions = explanation.questions;
    let tried = match &query.password {
        Some(password) => Some(attempt(shared, &query, password).await),
        None => None,
    };
    Ok(LoginExplanation {
        questions,
        mechanisms,
        verdict: verdict.text,
        possible: verdict.possible,
        temporary: verdict.temporary,
        tried,
    })
}

/// What comes of a password: judged as from a trusted client, so that it costs nobody a delay.
async fn attempt(shared: &Arc<Shared>, query: &LoginQuery, password: &mail_types::Secret) -> String {
    let mut context = query.context.clone();
    context.trusted = true;
    let logins = super::Logins {
        shared: shared.clone(),
    };
    match logins
        .check_plain(context, "explain", &query.login, password.clone())
        .await
    {
        LoginStep::Success(account) => format!("granted: {}", account.address),
        LoginStep::Denied { reason, .. } => format!("denied: {reason}"),
        LoginStep::TemporaryFailure { reason } => format!("nobody can tell now: {reason}"),
        LoginStep::Challenge(_) => "a challenge that a plain password does not have".to_owned(),
    }
}

impl Explanation<'_> {
    fn say(&mut self, question: &str, key: impl Into<String>, answer: impl Into<String>, source: &str) {
        self.questions.push(LoginQuestion {
            question: question.to_owned(),
            key: key.into(),
            answer: answer.into(),
            source: source.to_owned(),
        });
    }

    async fn run(&mut self, mechanisms: &[MechanismOffer]) -> Verdict {
        let site = self.shared.sites.current();
        let offered = self.mechanism(mechanisms);
        let Some(address) = address(&self.query.login, &site) else {
            self.say("login", &self.query.login, "", "rule");
            return Verdict::no("denied: the login is not an address, and [authd] default_realm is not set");
        };
        let key = address.lookup_key();
        self.say("login", &self.query.login, format!("looked up as {key}"), "rule");
        self.throttling(&site, &key).await;
        let found = match site.directory.login_row(&address).await {
            Ok(found) => found,
            Err(error) => {
                self.say("mailbox", &key, "", "database");
                return Verdict::later(error);
            }
        };
        let unmarked = match site.unmarked_passwords().await {
            Ok(unmarked) => unmarked,
            Err(error) => return Verdict::later(error),
        };
        let verdict = self.row(&site, &key, &found, unmarked).await;
        match offered {
            Err(reason) => Verdict::no(format!("denied: the mechanism is not offered here: {reason}")),
            Ok(()) => verdict,
        }
    }

    /// Whether the mechanism asked about is offered.
    fn mechanism(&mut self, mechanisms: &[MechanismOffer]) -> Result<(), String> {
        let name = self.query.mechanism.to_ascii_uppercase();
        let tls = match &self.query.context.tls {
            Some(tls) => format!("{} with TLS ({})", self.query.context.service, tls.version),
            None => format!("{} without TLS", self.query.context.service),
        };
        let (answer, result) = match mechanisms.iter().find(|offer| offer.name == name) {
            Some(offer) if offer.offered => (format!("offered for {tls}"), Ok(())),
            Some(offer) => (
                format!("not offered for {tls}: {}", offer.reason),
                Err(offer.reason.clone()),
            ),
            None => (
                "there is no such mechanism".to_owned(),
                Err("there is no such mechanism".to_owned()),
            ),
        };
        self.say("mechanism", name, answer, "rule");
        result
    }

    async fn throttling(&mut self, site: &Site, key: &str) {
        let ip = self.query.context.peer.ip();
        let network = Network::of(ip);
        let (now, delays) = (self.shared.now(), site.settings.auth_failure_delay);
        let records = self.shared.throttle.about(network, key, now, delays);
        for record in records {
            let who = match (&record.account, &record.network) {
                (Some(account), Some(network)) => format!("{account} from {network}"),
                (Some(account), None) => account.clone(),
                (None, network) => network.clone().unwrap_or_default(),
            };
            let answer = format!(
                "{} failures; the next one waits {} s",
                record.count,
                record.delay.as_secs()
            );
            self.say("throttling", who, answer, "state");
        }
        let account = key.to_owned();
        let count = self
            .shared
            .state
            .read(move |db| state::known_count(db, &account, now))
            .await;
        let answer = match count {
            Ok(count) => format!("{count} within 30 days"),
            Err(error) => daemon::describe(&error),
        };
        self.say("known networks", key, answer, "state");
    }

    async fn row(&mut self, site: &Site, key: &str, found: &Found<LoginRow>, unmarked: Unmarked) -> Verdict {
        let source = found.source.as_str();
        let Some(row) = &found.row else {
            self.say("mailbox", key, "", source);
            return self.seen_from(found, "denied: no such mailbox");
        };
        let yes_no = |flag| if flag { "active" } else { "not active" };
        let mailbox = format!(
            "mailbox.username = {}, {}; domain {}; Maildir {}",
            row.mailbox.username,
            yes_no(row.mailbox.active),
            yes_no(row.domain_active),
            row.mailbox.maildir
        );
        self.say("mailbox", key, mailbox, source);
        self.flags(site, row, source);
        let candidates = match row::candidates(row, unmarked, is_mail(&self.query.context.service)) {
            Ok(candidates) => candidates,
            Err(reason) => {
                self.say("password", key, reason.clone(), source);
                return Verdict::later(reason);
            }
        };
        self.passwords(&candidates, key, source);
        let keys = self.scram_keys(row, key).await;
        let service = &self.query.context.service;
        if let Err(refusal) = self.shared.admitted(row, site, service, Means::Mailbox) {
            return match refusal {
                Refusal::Denied(reason) => self.seen_from(found, &format!("denied: {reason}")),
                Refusal::Trouble(reason) => Verdict::later(reason),
            };
        }
        self.secret(row, unmarked, &candidates, &keys)
    }

    /// A denial, which the replica does not give.
    fn seen_from(&self, found: &Found<LoginRow>, text: &str) -> Verdict {
        match found.source {
            Source::Replica => Verdict::later(format_args!("the database is away; for the replica: {text}")),
            Source::Database | Source::Cache => Verdict::no(text),
        }
    }

    fn flags(&mut self, site: &Site, row: &LoginRow, source: &str) {
        if self.query.context.service == "smtp" {
            let answer = if row.smtp_active {
                "may send"
            } else {
                "may not send"
            };
            self.say("mailbox.smtp_active", &row.mailbox.username, answer, source);
        }
        if let Some(at) = row.password_expiry {
            let past = u64::try_from(at).unwrap_or(0) <= self.shared.now();
            let rule = if site.settings.logins.enforce_expiry {
                "enforced"
            } else {
                "ignored: [authd] password_expiry"
            };
            let answer = format!("{} ({rule})", if past { "has passed" } else { "to come" });
            self.say("mailbox.password_expiry", &row.mailbox.username, answer, source);
        }
    }

    fn passwords(&mut self, candidates: &[Candidate], key: &str, source: &str) {
        for candidate in candidates {
            let answer = match candidate.stored.scheme() {
                "locked" => "empty: nobody can log in with it".to_owned(),
                scheme => format!("stored as {scheme}"),
            };
            self.say(&means(candidate.means), key, answer, source);
        }
    }

    /// Which hash functions there are valid keys for.
    async fn scram_keys(&mut self, row: &LoginRow, key: &str) -> Vec<&'static str> {
        let bound = after::binding(&row.password);
        let mut valid = Vec::new();
        for hash in ["SHA-256", "SHA-1"] {
            let account = key.to_owned();
            let keys = self
                .shared
                .state
                .read(move |db| state::scram_keys(db, &account, hash))
                .await;
            match keys {
                Ok(Some(keys)) if keys.bound == bound => valid.push(hash),
                Ok(Some(_)) => self.say(
                    "SCRAM keys",
                    key,
                    format!("{hash}: void, the password was changed"),
                    "state",
                ),
                _ => {}
            }
        }
        if !valid.is_empty() {
            self.say("SCRAM keys", key, valid.join(", "), "state");
        }
        valid
    }

    /// What checks the secret of this mechanism.
    fn secret(
        &self,
        row: &LoginRow,
        unmarked: Unmarked,
        candidates: &[Candidate],
        keys: &[&'static str],
    ) -> Verdict {
        let yes = |text: String| Verdict {
            text,
            possible: true,
            temporary: false,
        };
        let own = candidates.first();
        let scheme = own.map_or("nothing", |own| own.stored.scheme());
        let clear = row::cleartext(row, unmarked).is_some();
        let name = self.query.mechanism.to_ascii_uppercase();
        let needs = |what: &str| {
            Verdict::no(format!(
                "denied: {name} needs {what}, and the password is stored as {scheme}"
            ))
        };
        match name.trim_end_matches("-PLUS") {
            "PLAIN" | "LOGIN" => {
                let apps = candidates.len().saturating_sub(1);
                if scheme == "locked" && apps == 0 {
                    return Verdict::no("denied: the mailbox has no password");
                }
                let more = if apps > 0 {
                    format!(", and against {apps} app passwords")
                } else {
                    String::new()
                };
                yes(format!(
                    "would be checked by {scheme} against the mailbox's password{more}"
                ))
            }
            "CRAM-MD5" if own.is_some_and(|own| own.stored.cram_md5().is_some()) || clear => {
                yes("would be checked by the stored password or its CRAM-MD5 contexts".to_owned())
            }
            "DIGEST-MD5" if clear => {
                yes("would be checked by the password, which is stored in clear".to_owned())
            }
            "CRAM-MD5" | "DIGEST-MD5" => needs("the password in clear"),
            "SCRAM-SHA-1" | "SCRAM-SHA-256" => {
                let hash = name.trim_start_matches("SCRAM-").trim_end_matches("-PLUS");
                let column = own.is_some_and(|own| own.stored.scheme() == name.trim_end_matches("-PLUS"));
                if clear {
                    yes("would be checked by keys made of the password, which is stored in clear".to_owned())
                } else if column {
                    yes("would be checked by the keys in the password column".to_owned())
                } else if keys.contains(&hash) {
                    yes("would be checked by the keys kept at an earlier login".to_owned())
                } else {
                    needs("the password in clear or keys kept at a login by PLAIN ([authd] store_scram_keys)")
                }
            }
            "EXTERNAL" => yes("would be checked by the names in the client's certificate".to_owned()),
            _ => yes("would be checked by the signature of the token".to_owned()),
        }
    }
}

//! Access tables: asked at RCPT, what holds for the whole transaction only once.

use auth_api::access::{self, Answer, Table};
use config::AccessChecks;
use events::smtpd;
use mail_types::Reply;
use smtp_proto::command::{Rcpt, RcptPath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::directory::Directory;
use crate::error;
use crate::policy::access::{Judgement, Names};
use crate::policy::recipient::Client;

/// A recipient that is not taken.
pub(super) struct Refused {
    /// What the client hears.
    pub reply: Reply,
    /// For the log.
    pub reason: String,
    /// What was looked up.
    pub steps: Vec<events::Step>,
    /// The connection ends with it.
    pub close: bool,
}

impl From<(Reply, String)> for Refused {
    fn from((reply, reason): (Reply, String)) -> Self {
        Self {
            reply,
            reason,
            steps: Vec::new(),
            close: false,
        }
    }
}

impl<D, S> Session<D, S>
where
    D: Directory,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// What the tables ask for with this recipient.
    pub(super) async fn check_access(&mut self, rcpt: &Rcpt, client: Client) -> Result<Judgement, Refused> {
        let asked = match self.service.options.smtpd_access_checks {
            AccessChecks::Outsiders => !client.own_network && !client.authenticated,
            AccessChecks::Everybody => true,
            AccessChecks::Nobody => false,
        };
        let now = self.app.ctx.clock.instant();
        if !asked || self.app.no_access_tables.known(now) {
            return Ok(Judgement::default());
        }
        let question = self.access_question(rcpt);
        let answer = match self.app.directory.check_access(question, self.trace()).await {
            Ok(answer) => answer,
            Err(unavailable) => {
                return Err((error::lookup_failure(&rcpt.typed), unavailable.to_string()).into());
            }
        };
        self.app.no_access_tables.learn(&answer, now);
        let judgement = self.access_judgement(rcpt, client, answer);
        match judgement.refusal {
            Some(refusal) => Err(Refused {
                close: refusal.close,
                ..(refusal.reply, refusal.reason).into()
            }),
            None => Ok(judgement),
        }
    }

    /// Client, HELO name and sender are asked about with the first recipient only.
    fn access_question(&self, rcpt: &Rcpt) -> access::Question {
        let mut question = access::Question {
            recipient: match &rcpt.path {
                RcptPath::Address(address) => Some(address.clone()),
                RcptPath::Postmaster => None,
            },
            ..access::Question::default()
        };
        let Some(transaction) = &self.transaction else {
            return question;
        };
        if transaction.access.is_none() {
            question.client = Some(access::Client {
                // Names of clients are not looked up yet. A word in its place would be a key like any other.
                name: String::new(),
                address: self.ip(),
            });
            question.helo = self.proto.hello().map(|hello| hello.name.clone());
            question.sender = Some(transaction.envelope.sender().clone());
        }
        question
    }

    fn access_judgement(&mut self, rcpt: &Rcpt, client: Client, answer: Answer) -> Judgement {
        for hit in &answer.hits {
            self.emit(smtpd::Kind::AccessRow {
                table: hit.table.as_str().to_owned(),
                key: hit.key.clone(),
                action: hit.action.clone(),
                source: hit.source.as_str().to_owned(),
            });
        }
        let (name, hello) = (error::client_name(self.ip()), self.proto.hello());
        let helo = hello.map(|hello| hello.name.clone()).unwrap_or_default();
        let Some(transaction) = &mut self.transaction else {
            return Judgement::default();
        };
        let sender = transaction.envelope.sender().to_string();
        let names = Names {
            client: &name,
            helo: &helo,
            sender: &sender,
            recipient: &rcpt.typed,
        };
        let (of_recipient, before): (Vec<_>, Vec<_>) = answer
            .hits
            .into_iter()
            .partition(|hit| hit.table == Table::Recipient);
        let mut judgement = transaction
            .access
            .get_or_insert_with(|| Judgement::of(&before, names, client))
            .clone();
        judgement.and(&Judgement::of(&of_recipient, names, client));
        judgement
    }
}

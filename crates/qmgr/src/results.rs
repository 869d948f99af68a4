//! Where deliveries put their results: into the journal first, then to the manager, each as it arrives.

use daemon::{Clock, blocking};
use events::{About, Log, qmgr as event};
use mail_types::{MailId, Reply};
use smtp_proto::client::Stage;
use spool::{FinalResult, Outcome, Record, Safety, Spool};
use tokio::sync::mpsc;

use crate::manager::Input;
use crate::message::Verdict;

/// Takes the results of one job.
#[derive(Clone)]
pub struct Results {
    /// The message.
    pub id: MailId,
    /// Its spool.
    pub spool: Spool,
    /// The manager.
    pub manager: mpsc::UnboundedSender<Input>,
    /// Tells the wall time.
    pub clock: Clock,
    /// The decision log.
    pub events: Log,
    /// The only recipient goes to deliver: its success need not be written down, because deliver recognises
    /// a repetition by its key (robustness.md 4.5).
    pub skip_success: bool,
}

impl Results {
    /// A recipient's verdict. When this returns, a final one is durable.
    pub async fn give(&self, index: u32, verdict: Verdict) {
        if let Verdict::Final { outcome, reply, mta } = &verdict
            && !(self.skip_success && *outcome == Outcome::Delivered)
        {
            let result = FinalResult {
                recipient: index,
                outcome: *outcome,
                reply: reply.clone(),
                mta: mta.clone(),
                at_ms: self.clock.unix_millis(),
            };
            self.record(result).await;
        }
        // The manager ends after all jobs; without it nobody wants the result.
        let _ = self.manager.send(Input::Verdict((self.id, index), verdict));
    }

    /// A result that cannot be written down still counts in this process; after a restart the recipient is
    /// tried again, and may get the message twice.
    async fn record(&self, result: FinalResult) {
        let (spool, id) = (self.spool.clone(), self.id);
        let written =
            blocking(move || spool.append_journal(id, &[Record::Result(result)], Safety::Durable)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(id = %self.id, error = %daemon::describe(&error), "a result could not be written");
            }
            Err(error) => tracing::error!(id = %self.id, %error, "a result could not be written"),
        }
    }

    /// A server answered; for the decision log.
    pub fn replied(&self, index: Option<u32>, server: &str, stage: Stage, reply: &Reply) {
        let command = match stage {
            Stage::Greeting => "greeting",
            Stage::Hello => "EHLO",
            Stage::StartTls => "STARTTLS",
            Stage::Mail => "MAIL",
            Stage::Rcpt => "RCPT",
            Stage::Data => "DATA",
            Stage::EndOfData => "end of data",
        };
        let kind = event::Kind::RemoteReply {
            server: server.to_owned(),
            command: command.to_owned(),
            reply: reply.into(),
        };
        self.events.emit(self.about(index), kind);
    }

    /// Anything else about this message.
    pub fn event(&self, index: Option<u32>, kind: event::Kind) {
        self.events.emit(self.about(index), kind);
    }

    fn about(&self, index: Option<u32>) -> About {
        let about = About::message(self.id);
        match index {
            Some(index) => about.recipient(index),
            None => about,
        }
    }
}

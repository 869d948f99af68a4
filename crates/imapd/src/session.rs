//! One session from greeting to close: the only async loop of this process.

use std::sync::Arc;

use auth_api::client::OpenSession;
use auth_api::sasl::{LoginContext, TlsState};
use daemon::limits::ConcurrencyGuard;
use daemon::tls::Protocol;
use events::{About, access};
use imap_proto::command::{self, BadCommand, Problem, TaggedCommand};
use imap_proto::framing::{Input, Limits, Refusal};
use imap_proto::response::{Code, Response, Status, StatusResponse};
use tokio::time::Instant;

use crate::capability;
use crate::commands::{self, Needs};
use crate::config::Settings;
use crate::error::{End, Stop, Tagged};
use crate::mailbox::Selected;
use crate::service::{Shared, UserKey};
use crate::store;
use crate::updates::{self, Telling};
use crate::wire::{Stream, Wire};

/// One connection and what is known about it.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) context: LoginContext,
    /// Whether counts and rates do not apply to this client.
    pub(crate) exempt: bool,
    pub(crate) wire: Wire,
    pub(crate) user: Option<User>,
    /// Until then somebody has to be logged in.
    pub(crate) login_deadline: Instant,
    /// Failed logins.
    pub(crate) failures: u32,
    /// Logins that nobody could judge.
    pub(crate) undecided: u32,
    /// Exchanges that the client cancelled.
    pub(crate) cancels: u32,
    /// Wrong commands: after the login in a row, before it all of them.
    errors: u32,
}

/// Somebody who logged in.
pub(crate) struct User {
    pub(crate) login: String,
    pub(crate) account: maildir_store::Account,
    pub(crate) selected: Option<Selected>,
    pub(crate) _slot: Option<ConcurrencyGuard<UserKey>>,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        context: LoginContext,
        exempt: bool,
        stream: Box<dyn Stream>,
    ) -> Self {
        let settings = shared.settings();
        let wire = Wire::new(stream, settings.output_timeout, shared.shutdown.clone());
        Self {
            login_deadline: Instant::now() + settings.login_timeout,
            shared,
            settings,
            context,
            exempt,
            wire,
            user: None,
            failures: 0,
            undecided: 0,
            cancels: 0,
            errors: 0,
        }
    }

    pub(crate) fn emit(&self, kind: access::Kind) {
        self.shared
            .events
            .emit(About::session(self.context.session), kind);
    }

    /// Serves the connection to its end; `implicit` where TLS comes first (RFC 8314 3.2).
    pub(crate) async fn serve(mut self, implicit: bool) {
        let end = match self.run(implicit).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if end.is_abuse() {
            self.emit(access::Kind::Abuse {
                reason: end.to_string(),
            });
        }
        tracing::debug!(session = %self.context.session, reason = %daemon::describe(&end), "session ended");
        self.emit(access::Kind::Disconnected {
            reason: end.to_string(),
        });
        if let Some((code, text)) = end.bye() {
            self.untagged(Status::Bye, code, text);
        }
        self.wire.close(end.is_abuse()).await;
    }

    async fn run(&mut self, implicit: bool) -> Result<std::convert::Infallible, End> {
        if implicit {
            self.start_tls().await?;
        }
        let names = self.capabilities().await;
        let code = Some(Code::Capability(names.iter().map(String::as_str).collect()));
        let text = format!("{} ready", self.settings.myhostname);
        let greeting = StatusResponse {
            tag: None,
            status: Status::Ok,
            code,
            text: &text,
        };
        Response::Status(greeting).encode(&mut self.wire.out);
        loop {
            let deadline = match self.user {
                Some(_) => Instant::now() + self.settings.idle_timeout,
                None => self.login_deadline,
            };
            match self.wire.next(deadline).await? {
                Input::Continue => Response::Continue("OK").encode(&mut self.wire.out),
                Input::Command(line) => match command::parse(&line) {
                    Ok(TaggedCommand { tag, command }) => {
                        // In a box of its own, so that a waiting session does not carry its size.
                        Box::pin(self.execute(&tag, command)).await?;
                    }
                    Err(bad) => self.bad_command(&bad)?,
                },
                Input::Append { head, size, sync } => {
                    Box::pin(commands::append::run(self, &head, size, sync)).await?;
                }
                Input::Refused { tag, reason } => self.refused(&tag, reason)?,
                Input::Fatal(reason) => return Err(End::Framing(reason)),
                // Only after a message was accepted, and that is read by the command.
                Input::AppendData(_) | Input::AppendEnd(_) => {}
            }
            self.wire.flush_full().await?;
        }
    }

    async fn execute(&mut self, tag: &str, command: command::Command) -> Result<(), End> {
        let needs = commands::needs(&command);
        if let Some(refusal) = self.forbidden(needs) {
            self.count_error()?;
            refusal.encode(tag, &mut self.wire.out);
            return Ok(());
        }
        if self.user.is_some() {
            self.errors = 0;
        }
        let telling = commands::telling(&command);
        let result = commands::run(self, tag, command).await;
        self.finish(tag, result, telling).await
    }

    /// Tells what others changed, where it may be told, and answers.
    pub(crate) async fn finish(
        &mut self,
        tag: &str,
        result: Result<Tagged, Stop>,
        telling: Option<commands::Tell>,
    ) -> Result<(), End> {
        let tagged = match result {
            Ok(tagged) | Err(Stop::Refused(tagged)) => tagged,
            Err(Stop::Answered) => return Ok(()),
            Err(Stop::Last(tagged, end)) => {
                tagged.encode(tag, &mut self.wire.out);
                return Err(end);
            }
            Err(Stop::End(end)) => return Err(end),
        };
        if let Some(tell) = telling {
            // Where looking fails for a while the command's own result stands; the next one looks again.
            if let Err(Stop::End(end)) = self.look(tell, &[]).await {
                return Err(end);
            }
        }
        tagged.encode(tag, &mut self.wire.out);
        Ok(())
    }

    /// Looks what changed in the selected mailbox and writes it; `known` are UIDs whose flags need not be
    /// told, ascending.
    pub(crate) async fn look(&mut self, tell: commands::Tell, known: &[u32]) -> Result<(), Stop> {
        let Some(selected) = self.user.as_mut().and_then(|user| user.selected.as_mut()) else {
            return Ok(());
        };
        let view = Arc::clone(&selected.numbers.view);
        let now = Instant::now();
        let fresh = !tell.always && now.duration_since(selected.looked) < LOOK_INTERVAL;
        let unchanged = || Arc::ptr_eq(&view, &selected.folder.view());
        if fresh && unchanged() && (selected.numbers.ghosts.is_empty() || !tell.expunge) {
            return Ok(());
        }
        let folder = Arc::clone(&selected.folder);
        let read_only = selected.read_only;
        let (latest, first_recent) = store::blocking(move || {
            let latest = if fresh { folder.view() } else { folder.refresh()? };
            let news = latest.uid_next != view.uid_next;
            let first_recent = news.then(|| store::first_recent(&folder, read_only));
            Ok((latest, first_recent))
        })
        .await?;
        selected.looked = now;
        let telling = Telling {
            expunge: tell.expunge,
            uid: tell.uid,
            known,
            read_only,
        };
        updates::tell(
            &mut selected.numbers,
            latest,
            first_recent,
            telling,
            &mut self.wire.out,
        );
        Ok(())
    }

    /// The answer to a command that does not belong to this state.
    fn forbidden(&self, needs: Needs) -> Option<Tagged> {
        match (needs, &self.user) {
            (Needs::NoLogin, Some(_)) => Some(Tagged::bad("Already logged in")),
            (Needs::Login | Needs::Selected, None) => Some(Tagged::bad("Log in first")),
            (Needs::Selected, Some(user)) if user.selected.is_none() => {
                Some(Tagged::bad("No mailbox selected"))
            }
            _ => None,
        }
    }

    fn bad_command(&mut self, bad: &BadCommand) -> Result<(), End> {
        self.count_error()?;
        let tagged = match bad.reason {
            Problem::Charset => Tagged::no_code(Code::BadCharset, bad.reason.to_string()),
            reason => Tagged::bad(reason.to_string()),
        };
        tagged.encode(&bad.tag, &mut self.wire.out);
        Ok(())
    }

    fn refused(&mut self, tag: &str, reason: Refusal) -> Result<(), End> {
        self.count_error()?;
        let tagged = match reason {
            Refusal::MessageTooBig => Tagged::no_code(Code::TooBig, reason.to_string()),
            Refusal::LiteralTooBig => Tagged {
                code: Some(Code::TooBig),
                ..Tagged::bad(reason.to_string())
            },
            reason => Tagged::bad(reason.to_string()),
        };
        tagged.encode(tag, &mut self.wire.out);
        Ok(())
    }

    /// Counts a mistake; an error is the end of a session with too many.
    pub(crate) fn count_error(&mut self) -> Result<(), End> {
        self.errors += 1;
        let limit = if self.user.is_some() {
            ERRORS_AFTER_LOGIN
        } else {
            ERRORS_BEFORE_LOGIN
        };
        if self.errors > limit {
            Err(End::Errors)
        } else {
            Ok(())
        }
    }

    /// Writes an untagged status response.
    pub(crate) fn untagged(&mut self, status: Status, code: Option<Code<'_>>, text: &str) {
        Response::Status(StatusResponse {
            tag: None,
            status,
            code,
            text,
        })
        .encode(&mut self.wire.out);
    }

    /// Whether a password may be sent here (RFC 3501 11.2).
    pub(crate) fn may_log_in(&self) -> bool {
        self.context.tls.is_some() || self.context.trusted
    }

    /// Whether STARTTLS can be asked for.
    pub(crate) fn may_start_tls(&self) -> bool {
        self.context.tls.is_none() && self.user.is_none() && self.shared.tls().is_some()
    }

    /// What is offered in this state.
    pub(crate) async fn capabilities(&self) -> Vec<String> {
        if self.user.is_some() {
            return capability::AFTER.iter().map(|name| (*name).to_owned()).collect();
        }
        let mechanisms = if self.may_log_in() {
            let ask = self.shared.authd.mechanisms(&self.context);
            self.shared.mechanisms.offered(&self.context, ask).await
        } else {
            Vec::new()
        };
        capability::before_login(self.may_start_tls(), self.may_log_in(), &mechanisms)
    }

    /// Makes the TLS handshake. Everything that was known of the client before is forgotten by making it
    /// log in only afterwards.
    pub(crate) async fn start_tls(&mut self) -> Result<(), End> {
        let tls = self.shared.tls().ok_or(End::Tls)?;
        let limit = self.settings.client_new_tls_session_rate_limit;
        if !self.exempt && !self.shared.handshake_allowed(self.context.peer, limit) {
            return Err(End::Tls);
        }
        let stream = self.wire.take_stream().await?;
        match tls.accept(stream, Protocol::Imap).await {
            Ok((stream, info)) => {
                let shown = events::Tls {
                    version: info.version.clone(),
                    cipher: info.cipher.clone(),
                };
                self.emit(access::Kind::TlsStarted { tls: shown });
                self.context.tls = Some(TlsState {
                    version: info.version,
                    cipher: info.cipher,
                    tls_exporter: info.tls_exporter,
                    tls_server_end_point: info.server_end_point,
                    client_names: info.client_names,
                });
                self.wire.put_stream(Box::new(stream));
                Ok(())
            }
            Err(error) => {
                self.emit(access::Kind::TlsFailed {
                    reason: daemon::describe(&error).to_string(),
                });
                Err(End::Tls)
            }
        }
    }

    /// Goes over to the authenticated state.
    pub(crate) fn logged_in(&mut self, user: User, open: OpenSession) {
        self.wire.watch(open);
        self.wire
            .framer()
            .set_limits(Limits::after_login(self.settings.message_size_limit));
        self.errors = 0;
        self.user = Some(user);
    }
}

/// Between two commands of a busy session the directories are looked at not more often than this; NOOP,
/// CHECK and IDLE always look.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// Wrong commands before the login; one more closes the connection (robustness.md section 3).
const ERRORS_BEFORE_LOGIN: u32 = 3;
/// The same after it, in a row.
const ERRORS_AFTER_LOGIN: u32 = 20;

//! One message to one next hop: its hosts in turn, TLS where it is offered, and what each recipient got.

use std::sync::Arc;
use std::time::Duration;

use auth_api::directory::NextHop;
use events::qmgr as event;
use mail_types::{EnhancedStatus, Reply};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smtp_proto::Protocol;
use smtp_proto::client::{Event, Extensions, Session, Stage};
use smtp_proto::command::Rcpt;
use spool::Outcome;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::addresses::{Host, Lookup};
use super::content::Content;
use super::dns::SystemDns;
use super::fit::fit;
use super::transaction::{Transaction, transact};
use super::wire::Wire;
use crate::config::Outbound;
use crate::message::{Parcel, Verdict};
use crate::results::Results;
use crate::scheduler::Health;

/// Most sessions that one attempt opens (robustness.md Q04).
const MAX_SESSIONS: usize = 2;
/// All questions to the DNS for one attempt.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends mail to other hosts.
#[derive(Clone)]
pub struct Sender {
    lookup: Lookup<SystemDns>,
    tls: Option<Arc<ClientConfig>>,
    options: Outbound,
    hostname: String,
}

/// Why a host could not take the message; the next one is tried.
struct HostFailed {
    reason: Reply,
    /// The TLS handshake failed: the same host is tried in the clear.
    handshake: bool,
}

impl HostFailed {
    fn new(detail: u16, text: String) -> Self {
        Self {
            reason: Reply::new(450, EnhancedStatus::new(4, 4, detail), text),
            handshake: false,
        }
    }
}

/// An attempt: what is sent to whom, and who has no verdict yet.
struct Attempt<'a> {
    parcel: &'a Parcel,
    content: &'a Content,
    header: &'a [u8],
    results: &'a Results,
    /// Positions in the parcel.
    open: Vec<usize>,
}

impl Sender {
    /// Makes one of the options.
    pub fn new(options: Outbound, hostname: String) -> Result<Self, daemon::BoxError> {
        let dns = SystemDns::new(&options.dns_servers)?;
        let tls = if options.tls {
            Some(super::tls::client_config()?)
        } else {
            None
        };
        Ok(Self {
            lookup: Lookup::new(dns, hostname.clone(), options.private_networks.clone()),
            tls,
            options,
            hostname,
        })
    }

    /// Sends to everybody in the parcel; each gets a verdict. `header` is the message's header block,
    /// `shuffle` a random number.
    pub async fn send(
        &self,
        hop: &NextHop,
        parcel: &Parcel,
        content: &Content,
        header: &[u8],
        results: &Results,
        shuffle: u64,
    ) -> Health {
        let found = match timeout(LOOKUP_TIMEOUT, self.lookup.hosts(hop, shuffle)).await {
            Ok(found) => found,
            Err(_) => {
                let text = format!("Name service for {} timed out", hop.host);
                Err(Reply::new(450, EnhancedStatus::new(4, 4, 3), text))
            }
        };
        let hosts = match found {
            Ok(hosts) => hosts,
            Err(reply) => {
                for addressee in &parcel.recipients {
                    results.give(addressee.recipient.index, own_verdict(&reply)).await;
                }
                return if reply.is_permanent() {
                    Health::Unknown
                } else {
                    Health::Bad(reply)
                };
            }
        };
        let port = hop.port.unwrap_or(self.options.port);
        let shown = hosts
            .iter()
            .map(|h| format!("{}[{}] {}", h.name, h.address, h.preference))
            .collect();
        results.event(
            None,
            event::Kind::HostsFound {
                next_hop: hop.host.clone(),
                hosts: shown,
            },
        );
        let mut attempt = Attempt {
            parcel,
            content,
            header,
            results,
            open: (0..parcel.recipients.len()).collect(),
        };
        self.try_hosts(&hosts, port, &mut attempt).await
    }

    async fn try_hosts(&self, hosts: &[Host], port: u16, attempt: &mut Attempt<'_>) -> Health {
        let mut reached = false;
        let mut last = HostFailed::new(4, "no host could be tried".to_owned());
        let mut sessions = 0;
        for host in hosts {
            if attempt.open.is_empty() || sessions == MAX_SESSIONS {
                break;
            }
            let server = format!("{}[{}]:{port}", host.name, host.address);
            let stream = match self.connect(host, port).await {
                Ok(stream) => stream,
                Err(reason) => {
                    last = HostFailed::new(1, format!("connect to {server}: {reason}"));
                    attempt.failed(&server, &last.reason);
                    continue;
                }
            };
            sessions += 1;
            attempt.started(&server);
            let mut outcome = self
                .converse(stream, host, &server, self.tls.is_some(), attempt)
                .await;
            if let Err(HostFailed {
                handshake: true,
                reason,
            }) = &outcome
            {
                attempt.failed(&server, reason);
                outcome = match self.connect(host, port).await {
                    Ok(stream) => self.converse(stream, host, &server, false, attempt).await,
                    Err(reason) => Err(HostFailed::new(1, format!("connect to {server}: {reason}"))),
                };
            }
            match outcome {
                Ok(()) => reached = true,
                Err(failure) => {
                    attempt.failed(&server, &failure.reason);
                    last = failure;
                }
            }
        }
        let unreached = !attempt.open.is_empty();
        for at in std::mem::take(&mut attempt.open) {
            let index = attempt.parcel.recipients[at].recipient.index;
            attempt.results.give(index, own_verdict(&last.reason)).await;
        }
        match (reached, unreached) {
            (true, false) => Health::Good,
            (_, true) => Health::Bad(last.reason),
            (false, false) => Health::Unknown,
        }
    }

    async fn connect(&self, host: &Host, port: u16) -> Result<TcpStream, String> {
        match timeout(
            self.options.timeouts.connect,
            TcpStream::connect((host.address, port)),
        )
        .await
        {
            Ok(Ok(stream)) => {
                // Small commands should not wait for each other; a socket that cannot do it works too.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("Connection timed out".to_owned()),
        }
    }

    /// Greeting, EHLO, TLS where wanted and offered, and the transaction.
    async fn converse(
        &self,
        stream: TcpStream,
        host: &Host,
        server: &str,
        may_tls: bool,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), HostFailed> {
        let session = Session::new(
            Protocol::Smtp,
            self.hostname.clone(),
            self.options.timeouts.clone(),
        );
        let mut wire = Wire::new(stream, session);
        greet(&mut wire, server, attempt.results).await?;
        let connector = match &self.tls {
            Some(config) if may_tls && wire.session.extensions().has("STARTTLS") => {
                TlsConnector::from(Arc::clone(config))
            }
            _ => return attempt.transact(wire, host, server).await,
        };
        wire.session.starttls();
        match wire.event().await {
            Ok(Event::StartTls) => {}
            Ok(Event::TlsRefused(reply)) => {
                attempt.results.replied(None, server, Stage::StartTls, &reply);
                return attempt.transact(wire, host, server).await;
            }
            Ok(Event::Failed(failure)) => return Err(broken(server, "performing STARTTLS", &failure)),
            Ok(_) => return Err(broken(server, "performing STARTTLS", &"unexpected answer")),
            Err(error) => return Err(broken(server, "performing STARTTLS", &error)),
        }
        let name = match ServerName::try_from(host.name.clone()) {
            Ok(name) => name,
            Err(_) => ServerName::IpAddress(host.address.into()),
        };
        let shaken = timeout(self.options.timeouts.hello, connector.connect(name, wire.stream)).await;
        let why = match shaken {
            Ok(Ok(stream)) => {
                attempt.tls_started(server, stream.get_ref().1);
                let mut wire = Wire::new(stream, wire.session);
                wire.session.tls_started();
                greet(&mut wire, server, attempt.results).await?;
                return attempt.transact(wire, host, server).await;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        Err(HostFailed {
            handshake: true,
            ..HostFailed::new(7, format!("TLS handshake with {server} failed: {why}"))
        })
    }
}

/// Waits until the server is ready for mail.
async fn greet<S>(wire: &mut Wire<S>, server: &str, results: &Results) -> Result<(), HostFailed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match wire.event().await {
        Ok(Event::Ready) => Ok(()),
        Ok(Event::Refused { stage, reply }) => {
            results.replied(None, server, stage, &reply);
            // A 5xx here is about the host, not about the message: another host may take it.
            Err(HostFailed::new(
                0,
                format!("host {server} refused to talk to me: {reply}"),
            ))
        }
        Ok(Event::Failed(failure)) => Err(broken(server, "greeting", &failure)),
        Ok(_) => Err(broken(server, "greeting", &"unexpected answer")),
        Err(error) => Err(broken(server, "greeting", &error)),
    }
}

fn broken(server: &str, what: &str, why: &dyn std::fmt::Display) -> HostFailed {
    HostFailed::new(2, format!("conversation with {server} ended while {what}: {why}"))
}

impl Attempt<'_> {
    fn started(&self, server: &str) {
        for at in &self.open {
            let addressee = &self.parcel.recipients[*at];
            let kind = event::Kind::AttemptStarted {
                address: addressee.final_address.to_string(),
                server: server.to_owned(),
            };
            self.results.event(Some(addressee.recipient.index), kind);
        }
    }

    fn failed(&self, server: &str, reason: &Reply) {
        let kind = event::Kind::ServerFailed {
            server: server.to_owned(),
            reason: reason.to_string(),
        };
        self.results.event(None, kind);
    }

    fn tls_started(&self, server: &str, connection: &rustls::ClientConnection) {
        let tls = events::Tls {
            version: connection
                .protocol_version()
                .map(|v| format!("{v:?}"))
                .unwrap_or_default(),
            cipher: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
        };
        self.results.event(
            None,
            event::Kind::TlsStarted {
                server: server.to_owned(),
                tls,
            },
        );
    }

    /// The transaction on a session that is ready. Those who have no verdict afterwards stay open.
    async fn transact<S>(&mut self, mut wire: Wire<S>, host: &Host, server: &str) -> Result<(), HostFailed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let extensions: Extensions = wire.session.extensions().clone();
        let fitted = match fit(self.parcel, self.content, self.header, &extensions).await {
            Ok(fitted) => fitted,
            Err(reply) => {
                for at in std::mem::take(&mut self.open) {
                    self.results
                        .give(self.parcel.recipients[at].recipient.index, own_verdict(&reply))
                        .await;
                }
                wire.quit().await;
                return Ok(());
            }
        };
        let dsn = extensions.has("DSN");
        let judge = |stage: Stage, reply: &Reply| judge(stage, reply, dsn, &host.name);
        let addressees = self.open.iter().map(|at| &self.parcel.recipients[*at]);
        let transaction = Transaction {
            mail: fitted.mail,
            rcpts: addressees.clone().map(|a| rcpt(a, dsn)).collect(),
            indexes: addressees.map(|a| a.recipient.index).collect(),
            content: fitted.converted.as_ref().unwrap_or(self.content),
            judge: &judge,
            results: self.results,
            server,
        };
        let end = transact(&mut wire, transaction).await;
        let why = end.broken.unwrap_or_default();
        let before = std::mem::take(&mut self.open);
        for (at, sent) in end.open {
            if sent {
                let text = format!(
                    "conversation with {server} ended after the end of the message: {why}; it may be delivered twice"
                );
                let verdict = Verdict::Deferred {
                    reply: Reply::new(450, EnhancedStatus::new(4, 4, 2), text),
                    mta: String::new(),
                    repeated: true,
                };
                self.results
                    .give(self.parcel.recipients[before[at]].recipient.index, verdict)
                    .await;
            } else {
                self.open.push(before[at]);
            }
        }
        if self.open.is_empty() {
            wire.quit().await;
            return Ok(());
        }
        Err(broken(server, "sending", &why))
    }
}

/// The RCPT of a recipient. A server that knows DSN learns the original address too (RFC 3461 4.2).
fn rcpt(addressee: &crate::message::Addressee, dsn: bool) -> Rcpt {
    let mut rcpt = Rcpt::new(addressee.final_address.clone());
    if dsn {
        let recipient = &addressee.recipient;
        rcpt.params.notify = recipient.notify;
        rcpt.params.orcpt = recipient.orcpt.clone().or_else(|| {
            let ascii = !recipient.original.needs_utf8();
            ascii.then(|| mail_types::OriginalRecipient {
                addr_type: "rfc822".to_owned(),
                address: recipient.original.to_string(),
            })
        });
    }
    rcpt
}

/// What an answer means for the recipient.
fn judge(stage: Stage, reply: &Reply, dsn: bool, mta: &str) -> Verdict {
    let mta = mta.to_owned();
    let reply = reply.clone();
    // RFC 5321 4.5.3.1.10: too many recipients, whatever the class says.
    let crowded = stage == Stage::Rcpt && reply.code == 552;
    if stage == Stage::EndOfData && reply.is_positive() {
        let outcome = if dsn { Outcome::Passed } else { Outcome::Relayed };
        Verdict::Final { outcome, reply, mta }
    } else if reply.is_permanent() && !crowded {
        Verdict::Final {
            outcome: Outcome::Failed,
            reply,
            mta,
        }
    } else {
        Verdict::Deferred {
            reply,
            mta,
            repeated: false,
        }
    }
}

/// What a decision of our own means.
fn own_verdict(reply: &Reply) -> Verdict {
    let (reply, mta) = (reply.clone(), String::new());
    if reply.is_permanent() {
        Verdict::Final {
            outcome: Outcome::Failed,
            reply,
            mta,
        }
    } else {
        Verdict::Deferred {
            reply,
            mta,
            repeated: false,
        }
    }
}

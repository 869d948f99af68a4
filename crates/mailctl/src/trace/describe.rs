//! Each event in words.

use events::{Delivery, Event, Kind, Reply, Step, access, authd, deliver, process, qmgr, smtpd};
use serde_json::Value;

/// The event as one sentence, without its envelope.
pub(super) fn describe(event: &Event) -> String {
    match &event.kind {
        Kind::Process(kind) => of_process(kind),
        Kind::Smtpd(kind) => of_smtpd(kind),
        Kind::Authd(kind) => of_authd(kind),
        Kind::Qmgr(kind) => of_qmgr(kind),
        Kind::Deliver(kind) => of_deliver(kind),
        Kind::Access(kind) => of_access(kind),
        Kind::Raw(fields) => {
            let rest = fields.iter().filter(|(key, _)| *key != "event");
            let rest: Vec<String> = rest.map(|(key, value)| format!("{key}={value}")).collect();
            format!("{} {}", event.name(), rest.join(" "))
        }
    }
}

/// Whether it tells of a refusal, a failure or a delay.
pub(super) fn is_trouble(event: &Event) -> bool {
    let name = event.name();
    let words = [
        "refused",
        "failed",
        "deferred",
        "unavailable",
        "abuse",
        "quarantined",
        "suspect",
        "panicked",
    ];
    let negative = |value: &Value| value["reply"]["code"].as_u64().is_some_and(|code| code >= 400);
    words.iter().any(|word| name.contains(word))
        || serde_json::to_value(&event.kind).is_ok_and(|v| negative(&v))
}

/// A kind that has no sentence of its own: its name and fields.
fn plain(kind: &impl serde::Serialize) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(kind) else {
        return String::new();
    };
    let name = fields
        .get("event")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .replace('_', " ");
    let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rest: Vec<String> = fields
        .iter()
        .filter(|(key, value)| *key != "event" && !value.is_null())
        .map(|(key, value)| format!("{}={}", key.replace('_', " "), show(value)))
        .collect();
    if rest.is_empty() {
        name
    } else {
        format!("{name}: {}", rest.join(", "))
    }
}

fn of_process(kind: &process::Kind) -> String {
    plain(kind)
}

fn of_access(kind: &access::Kind) -> String {
    plain(kind)
}

fn of_smtpd(kind: &smtpd::Kind) -> String {
    use smtpd::Kind;
    match kind {
        Kind::Connected {
            service,
            client,
            local,
        } => format!("{client} connected to {service} ({local})"),
        Kind::TlsStarted { tls } => format!("TLS started: {} {}", tls.version, tls.cipher),
        Kind::TlsFailed { reason } => format!("TLS failed: {reason}"),
        Kind::Greeted { verb, name } => format!("{verb} {name}"),
        Kind::AuthSucceeded { mechanism, login } => format!("logged in as {login} ({mechanism})"),
        Kind::AuthFailed { mechanism, reason } => format!("login failed ({mechanism}): {reason}"),
        Kind::AuthUnavailable { mechanism, reason } => {
            format!("login could not be judged ({mechanism}): {reason}")
        }
        Kind::MailAccepted {
            sender, login, size, ..
        } => {
            let login = login
                .as_ref()
                .map(|login| format!(" as {login}"))
                .unwrap_or_default();
            let size = size
                .map(|size| format!(", {size} bytes announced"))
                .unwrap_or_default();
            format!("MAIL FROM:<{sender}> accepted{login}{size}")
        }
        Kind::MailRefused {
            sender,
            reply,
            reason,
        } => refused(&format!("MAIL FROM:<{sender}>"), reply, reason),
        Kind::RecipientAccepted {
            address,
            class,
            rule,
            deliveries,
            // authd's own line has them.
            steps: _,
        } => format!(
            "RCPT TO:<{address}> accepted ({rule}, {class}) -> {}",
            targets(deliveries)
        ),
        Kind::RecipientRefused {
            address,
            reply,
            reason,
            ..
        } => refused(&format!("RCPT TO:<{address}>"), reply, reason),
        Kind::AccessRow {
            table, key, action, ..
        } => format!("access table of {table}: {key} says {action}"),
        Kind::MessageDiscarded { reason } => format!("message accepted and dropped: {reason}"),
        Kind::MessageReceived { size, message_id } => {
            let id = message_id
                .as_ref()
                .map(|id| format!(", Message-ID <{id}>"))
                .unwrap_or_default();
            format!("message received, {size} bytes{id}")
        }
        Kind::DirectReply { address, reply } => format!("deliver answered for {address}: {reply}"),
        Kind::DirectFallback { reason, recipients } => {
            format!("direct delivery given up for {}: {reason}", indexes(recipients))
        }
        Kind::Spooled { reason, recipients } => {
            format!("into the queue for {}: {reason}", indexes(recipients))
        }
        Kind::MessageAccepted { reply, path } => format!("message accepted ({path}): {reply}"),
        Kind::MessageRefused { reply, reason } => refused("message", reply, reason),
        Kind::MailAborted { reason } => format!("transaction ended without a message: {reason}"),
        Kind::Abuse { reason } => format!("misbehaviour: {reason}"),
        Kind::Disconnected { reason, messages } => {
            format!("disconnected ({reason}), messages accepted: {messages}")
        }
        #[allow(
            unreachable_patterns,
            reason = "smtpd may add kinds; they are shown by their fields"
        )]
        other => plain(other),
    }
}

fn of_authd(kind: &authd::Kind) -> String {
    use authd::Kind;
    match kind {
        Kind::RecipientResolved {
            address,
            class,
            verdict,
            source,
            steps,
        } => format!(
            "resolved {address} ({class}): {verdict}{}{}",
            replica(source),
            chain(steps)
        ),
        Kind::Routed {
            address,
            route,
            source,
        } => format!("routed {address}: {route}{}", replica(source)),
        Kind::MailboxFound {
            address,
            answer,
            source,
        } => format!("mailbox of {address}: {answer}{}", replica(source)),
        Kind::SenderChecked {
            login,
            sender,
            owned,
            source,
        } => {
            let verdict = if *owned { "may" } else { "may not" };
            format!("{login} {verdict} send as {sender}{}", replica(source))
        }
        Kind::QuestionFailed {
            question,
            address,
            reason,
        } => format!("{question} {address} could not be answered: {reason}"),
        Kind::LoginGranted { mechanism, login, .. } => format!("login of {login} granted ({mechanism})"),
        Kind::LoginDenied {
            mechanism, reason, ..
        } => format!("login denied ({mechanism}): {reason}"),
        other => plain(other),
    }
}

fn of_qmgr(kind: &qmgr::Kind) -> String {
    use qmgr::Kind;
    match kind {
        Kind::PickedUp {
            sender,
            size,
            recipients,
            reason,
        } => format!("picked up ({reason}): from <{sender}>, {size} bytes, recipients to do: {recipients}"),
        Kind::Expanded {
            address, deliveries, ..
        } => format!("expanded {address} -> {}", targets(deliveries)),
        Kind::Routed { address, route } => format!("{address} goes by {route}"),
        Kind::HostsFound { next_hop, hosts } => format!("hosts of {next_hop}: {}", hosts.join(", ")),
        Kind::AttemptStarted { address, server } => format!("attempt for {address} at {server}"),
        Kind::TlsStarted { server, tls } => format!("TLS with {server}: {} {}", tls.version, tls.cipher),
        Kind::ServerFailed { server, reason } => format!("{server} cannot be used: {reason}"),
        Kind::RemoteReply {
            server,
            command,
            reply,
        } => format!("{server} answered {command}: {reply}"),
        Kind::Delivered {
            address,
            server,
            reply,
        } => format!("{address} delivered by {server}: {reply}"),
        Kind::Deferred {
            address,
            reason,
            attempts,
            next_attempt,
        } => format!(
            "{address} deferred after attempt {attempts}, again at {}: {reason}",
            short_time(next_attempt)
        ),
        Kind::Waiting { service, reason } => format!("waiting for {service}: {reason}"),
        Kind::Failed {
            address,
            status,
            reason,
        } => format!("{address} failed, {status}: {reason}"),
        Kind::ReportMade { report, to, about } => {
            format!("report ({report}) to <{to}> about {}", indexes(about))
        }
        Kind::ReportSuppressed { report, reason } => format!("no report ({report}): {reason}"),
        Kind::Removed { reason } => format!("removed from the queue: {reason}"),
        Kind::Administered { action } => format!("the administrator: {action}"),
        other => plain(other),
    }
}

fn of_deliver(kind: &deliver::Kind) -> String {
    use deliver::Kind;
    match kind {
        Kind::RecipientAccepted {
            address,
            mailbox,
            maildir,
        } => format!("{address} is mailbox {mailbox} in {maildir}"),
        Kind::RecipientRefused {
            address,
            reply,
            reason,
        } => refused(address, reply, reason),
        Kind::Delivered {
            mailbox,
            folder,
            file,
            size,
        } => format!("delivered to {mailbox}, folder {folder}, {size} bytes: {file}"),
        Kind::Duplicate { mailbox, found } => format!("was already in {mailbox} (found in {found})"),
        Kind::DeliveryFailed {
            mailbox,
            reply,
            reason,
        } => refused(&format!("delivery to {mailbox}"), reply, reason),
        other => plain(other),
    }
}

fn refused(what: &str, reply: &Reply, reason: &str) -> String {
    format!("{what} refused: {reply} ({reason})")
}

/// A time of the log as local time, to the second.
fn short_time(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(
        |_| text.to_owned(),
        |time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

fn indexes(recipients: &[u32]) -> String {
    let texts: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    format!("[{}]", texts.join(", "))
}

fn targets(deliveries: &[Delivery]) -> String {
    let texts = deliveries
        .iter()
        .map(|d| format!("[{}] {} ({})", d.index, d.final_address, d.target));
    texts.collect::<Vec<_>>().join(", ")
}

/// A word where the rows were those of the replica.
fn replica(source: &str) -> &'static str {
    if source == "replica" {
        ", from the replica"
    } else {
        ""
    }
}

/// The rows that led there.
fn chain(steps: &[Step]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let texts = steps.iter().map(|step| {
        let answer = if step.answer.is_empty() {
            "nothing"
        } else {
            &step.answer
        };
        format!("{} {}: {answer}", step.question, step.key)
    });
    format!(" by {}", texts.collect::<Vec<_>>().join("; "))
}

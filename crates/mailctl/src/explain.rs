//! `mailctl explain`: how the directory comes to an answer, each row of it.

use std::net::IpAddr;

use auth_api::Trace;
use auth_api::access::{self, Action, Hit};
use auth_api::client::Client;
use auth_api::directory::{
    Answer, Delivery, DomainClass, Explanation, MailboxAnswer, Question, Recipient, Refusal, Resolution,
    SenderLogin, Step, Target, Usage, Verdict,
};
use clap::{Args, Subcommand};
use mail_types::{Address, ReversePath};
use serde::Serialize;

use crate::error::{Failure, REFUSED, TRY_LATER};
use crate::explain_login::{self, LoginArgs};
use crate::output::{Output, clean, count, local_time, size, wrapped, wrapped_with};
use crate::session::Session;

/// Explanations.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What becomes of mail to an address: every question, the row that answered it, the verdict, the way
    Rcpt(RcptArgs),
    /// What becomes of a login: every question, the row or rule that answered it, the verdict
    Login(LoginArgs),
}

/// Whom mail is for, and who brings it.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct RcptArgs {
    /// The recipient as a client would type it; `postmaster` without a domain is allowed
    recipient: String,
    /// The envelope sender; empty for the null sender (asks the access table of senders)
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<ReversePath>,
    /// Who is logged in: may he send as --sender?
    #[arg(long, value_name = "LOGIN", requires = "sender")]
    login: Option<Address>,
    /// The client's address (asks the access table of clients)
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The client's host name
    #[arg(long, value_name = "NAME", requires = "client", default_value = "")]
    client_name: String,
    /// The name in HELO (asks the access table of HELO names)
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,
}

const HELP: &str = "\
Asks the running authd what smtpd and qmgr would ask it, and shows the reasoning as a tree: below each address
the rows that were looked up for it, in order, and the addresses that its alias leads to. Behind each row stands
where it was found: database, cache (some seconds ago) or replica (the database is away).

Exit status: 0 mail is accepted, 67 it is refused, 75 it is put off (the database is away, or something has to
be put right first).

Examples:
  mailctl explain rcpt sales@example.com
  mailctl explain rcpt bob@example.com --sender alice@example.com --login alice@example.com
  mailctl explain rcpt bob@example.com --client 192.0.2.7 --helo mail.example.net --sender x@example.net";

/// Most deliveries whose way is asked for.
const MOST_WAYS: usize = 50;

/// Everything that was found out.
#[derive(Debug, Serialize)]
struct Report {
    recipient: String,
    /// `accepted`, `refused` or `put off`.
    outcome: &'static str,
    /// What decided: `address`, `access` or `sender`.
    decided_by: &'static str,
    /// What is said of the address alone.
    verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    deliveries: Vec<Way>,
    /// Who is away, and since when; it is not judged whether it is time.
    #[serde(skip_serializing_if = "Option::is_none")]
    vacation: Option<Absence>,
    steps: Vec<events::Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_login: Option<SenderReport>,
    access: Vec<AccessReport>,
}

/// Where one delivery goes.
#[derive(Debug, Serialize)]
struct Way {
    #[serde(rename = "final")]
    final_address: String,
    expanded: bool,
    /// `mailbox`, `remote`, or `dead: ` and the reason.
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox: Option<String>,
}

/// An absence notice that answers this address.
#[derive(Debug, Serialize)]
struct Absence {
    address: String,
    subject: String,
    /// Seconds since 1970.
    active_from: Option<i64>,
    active_until: Option<i64>,
    interval_seconds: i64,
}

/// Whether a login may send as the sender.
#[derive(Debug, Serialize)]
struct SenderReport {
    login: String,
    sender: String,
    /// `owned`, `not owned`, or why there is no answer.
    answer: String,
    steps: Vec<events::Step>,
}

/// A row of an access table.
#[derive(Debug, Serialize)]
struct AccessReport {
    table: &'static str,
    key: String,
    action: String,
    source: &'static str,
    effect: String,
}

/// What smtpd would do, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Accepted,
    PutOff,
    Refused,
}

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let args = match command {
        Command::Rcpt(args) => args,
        Command::Login(args) => return explain_login::run(args, session).await,
    };
    let recipient = match args.recipient.as_str() {
        name if name.eq_ignore_ascii_case("postmaster") => Recipient::Postmaster,
        text => Recipient::Address(Address::parse(text).map_err(|error| {
            Failure::bad_request(
                format!("{text:?} is not an address: {error}"),
                "write it as user@example.com",
            )
        })?),
    };
    let authd = session.authd()?;
    let explanation = authd.explain(&Question::Recipient(recipient.clone())).await?;
    let (access, by_access) = access_report(&authd, &args, &recipient).await?;
    let (sender_login, by_sender) = sender_report(&authd, &args).await?;
    let (verdict, by_rows) = verdict(&explanation);
    // In the order in which smtpd asks.
    let (outcome, decided_by) = [(by_sender, "sender"), (by_access, "access"), (by_rows, "address")]
        .into_iter()
        .find(|(outcome, _)| *outcome != Outcome::Accepted)
        .unwrap_or((Outcome::Accepted, "address"));
    let report = Report {
        recipient: args.recipient.clone(),
        outcome: match outcome {
            Outcome::Accepted => "accepted",
            Outcome::PutOff => "put off",
            Outcome::Refused => "refused",
        },
        decided_by,
        verdict,
        class: class(&explanation),
        deliveries: ways(&authd, &explanation).await?,
        vacation: match (&recipient, outcome) {
            (Recipient::Address(address), Outcome::Accepted) => absence(&authd, address).await,
            _ => None,
        },
        steps: explanation.steps.iter().map(Into::into).collect(),
        sender_login,
        access,
    };
    show(&report, &explanation.steps, &session.output);
    match outcome {
        Outcome::Accepted => Ok(()),
        Outcome::PutOff => Err(Failure::said(TRY_LATER)),
        Outcome::Refused => Err(Failure::said(REFUSED)),
    }
}

fn resolution(explanation: &Explanation) -> Option<&Resolution> {
    match &explanation.answer {
        Ok(Answer::Recipient(resolution)) => Some(resolution),
        _ => None,
    }
}

fn class(explanation: &Explanation) -> Option<&'static str> {
    resolution(explanation).map(|resolution| match resolution.class {
        DomainClass::Mailbox => "mailbox",
        DomainClass::Alias => "alias",
        DomainClass::Relay => "relay",
        DomainClass::Foreign => "foreign",
    })
}

/// What the rows say, in words.
fn verdict(explanation: &Explanation) -> (String, Outcome) {
    let resolution = match &explanation.answer {
        Ok(Answer::Recipient(resolution)) => resolution,
        Ok(_) => return ("authd answered another question".to_owned(), Outcome::PutOff),
        Err(reason) => {
            let text = format!("451 4.3.0 Temporary lookup failure: {reason}");
            return (text, Outcome::PutOff);
        }
    };
    match &resolution.verdict {
        Verdict::Refuse(refusal) => (
            format!("{} Recipient address rejected: {}", status(refusal), refusal.text),
            Outcome::Refused,
        ),
        Verdict::ExpansionError(reason) => (
            format!("451 4.6.0 Alias expansion error: {reason}"),
            Outcome::PutOff,
        ),
        Verdict::Deliver(_) if resolution.class == DomainClass::Foreign => (
            "not a domain of ours: relayed for mynetworks and for who is logged in, others hear 554 5.7.1 \
             Relay access denied"
                .to_owned(),
            Outcome::Accepted,
        ),
        Verdict::Deliver(list) => {
            let number = match list.len() {
                1 => "one delivery".to_owned(),
                more => format!("{more} deliveries"),
            };
            (format!("accepted, {number}"), Outcome::Accepted)
        }
    }
}

fn status(refusal: &Refusal) -> String {
    format!("{} {}", refusal.code, refusal.status)
}

/// Route and mailbox of each delivery.
async fn ways(authd: &Client, explanation: &Explanation) -> Result<Vec<Way>, Failure> {
    let Some(Verdict::Deliver(list)) = resolution(explanation).map(|resolution| &resolution.verdict) else {
        return Ok(Vec::new());
    };
    let mut ways = Vec::new();
    for (index, delivery) in list.iter().enumerate() {
        ways.push(if index < MOST_WAYS {
            way(authd, delivery).await?
        } else {
            bare_way(delivery)
        });
    }
    Ok(ways)
}

fn bare_way(delivery: &Delivery) -> Way {
    Way {
        final_address: delivery.final_address.to_string(),
        expanded: delivery.expanded,
        target: match &delivery.target {
            Target::Mailbox => "mailbox".to_owned(),
            Target::Remote => "remote".to_owned(),
            Target::Dead { refusal } => format!("dead: {} {}", status(refusal), refusal.text),
        },
        route: None,
        mailbox: None,
    }
}

async fn way(authd: &Client, delivery: &Delivery) -> Result<Way, Failure> {
    let mut way = bare_way(delivery);
    if matches!(delivery.target, Target::Dead { .. }) {
        return Ok(way);
    }
    let address = &delivery.final_address;
    way.route = Some(
        match authd.explain(&Question::Route(address.clone())).await?.answer {
            Ok(Answer::Route(route)) => route.to_string(),
            Ok(_) => "authd answered another question".to_owned(),
            Err(reason) => format!("put off: {reason}"),
        },
    );
    if delivery.target == Target::Mailbox {
        let question = Question::Mailbox(address.clone());
        way.mailbox = Some(match authd.explain(&question).await?.answer {
            Ok(Answer::Mailbox(answer)) => mailbox_text(&answer) + &usage(authd, address).await,
            Ok(_) => "authd answered another question".to_owned(),
            Err(reason) => format!("put off: {reason}"),
        });
    }
    Ok(way)
}

/// Asked for completeness: while the database is away there is no answer, and it changes no verdict.
async fn absence(authd: &Client, address: &Address) -> Option<Absence> {
    let notice = authd.vacation(address, Trace::default()).await.ok()??;
    Some(Absence {
        address: notice.address.to_string(),
        subject: notice.subject,
        active_from: notice.active_from,
        active_until: notice.active_until,
        interval_seconds: notice.interval_seconds,
    })
}

/// What the tables say of how full a mailbox is, as an addition to a line.
async fn usage(authd: &Client, address: &Address) -> String {
    match authd.usage(address, Trace::default()).await {
        Ok(Usage::Found { bytes, messages }) => {
            let number = usize::try_from(messages).unwrap_or(usize::MAX);
            format!(", {} in {} by the tables", size(bytes), count(number, "message"))
        }
        // As above: without the database there is no answer.
        Ok(Usage::Unknown(_) | Usage::NotCounted) | Err(_) => String::new(),
    }
}

fn mailbox_text(answer: &MailboxAnswer) -> String {
    match answer {
        MailboxAnswer::Found(mailbox) => {
            let quota = match mailbox.quota {
                0 => "no quota".to_owned(),
                bytes => format!("quota {}", size(bytes)),
            };
            format!(
                "{} (uid {}, gid {}, {quota})",
                mailbox.maildir, mailbox.uid, mailbox.gid
            )
        }
        MailboxAnswer::Unknown(refusal) => refusal.text.clone(),
        MailboxAnswer::Misconfigured(reason) => format!("put off (4.3.5): {reason}"),
    }
}

async fn sender_report(authd: &Client, args: &RcptArgs) -> Result<(Option<SenderReport>, Outcome), Failure> {
    let (Some(login), Some(sender)) = (&args.login, args.sender.as_ref().and_then(ReversePath::address))
    else {
        return Ok((None, Outcome::Accepted));
    };
    let question = Question::SenderLogin {
        login: login.clone(),
        sender: sender.clone(),
    };
    let explanation = authd.explain(&question).await?;
    let (answer, outcome) = match explanation.answer {
        Ok(Answer::SenderLogin(SenderLogin::Owned)) => ("owned".to_owned(), Outcome::Accepted),
        Ok(Answer::SenderLogin(SenderLogin::NotOwned)) => ("not owned".to_owned(), Outcome::Refused),
        Ok(_) => ("authd answered another question".to_owned(), Outcome::PutOff),
        Err(reason) => (format!("put off: {reason}"), Outcome::PutOff),
    };
    let report = SenderReport {
        login: login.to_string(),
        sender: sender.to_string(),
        answer,
        steps: explanation.steps.iter().map(Into::into).collect(),
    };
    Ok((Some(report), outcome))
}

/// The rows of the access tables; not asked where nothing is known of who brings the mail.
async fn access_report(
    authd: &Client,
    args: &RcptArgs,
    recipient: &Recipient,
) -> Result<(Vec<AccessReport>, Outcome), Failure> {
    if args.client.is_none() && args.helo.is_none() && args.sender.is_none() {
        return Ok((Vec::new(), Outcome::Accepted));
    }
    let question = access::Question {
        client: args.client.map(|ip| access::Client {
            name: args.client_name.clone(),
            address: Some(ip),
        }),
        helo: args.helo.clone(),
        sender: args.sender.clone(),
        recipient: match recipient {
            Recipient::Address(address) => Some(address.clone()),
            Recipient::Postmaster => None,
        },
    };
    let answer = authd.check_access(question, Trace::default()).await?;
    let mut worst = Outcome::Accepted;
    let mut reports = Vec::new();
    for hit in answer.hits {
        let (effect, outcome) = effect(&hit);
        if worst == Outcome::Accepted {
            worst = outcome;
        }
        reports.push(AccessReport {
            table: hit.table.as_str(),
            key: hit.key,
            action: hit.action,
            source: hit.source.as_str(),
            effect,
        });
    }
    Ok((reports, worst))
}

/// What smtpd does about a row.
fn effect(hit: &Hit) -> (String, Outcome) {
    match Action::parse(&hit.action) {
        Action::Ok => ("lets it pass".to_owned(), Outcome::Accepted),
        Action::Dunno => ("decides nothing".to_owned(), Outcome::Accepted),
        Action::Reject(_) => ("refused".to_owned(), Outcome::Refused),
        Action::Reply { code, .. } if code >= 500 => ("refused".to_owned(), Outcome::Refused),
        Action::Defer(_) | Action::Reply { .. } => ("put off".to_owned(), Outcome::PutOff),
        Action::DeferIfReject(_) => ("puts a later refusal off".to_owned(), Outcome::Accepted),
        Action::DeferIfPermit(_) => ("put off".to_owned(), Outcome::PutOff),
        Action::Discard(_) => ("accepted and dropped".to_owned(), Outcome::Accepted),
        Action::Warn(_) | Action::Info(_) => ("is logged only".to_owned(), Outcome::Accepted),
        Action::Prepend(_) => ("adds a header line".to_owned(), Outcome::Accepted),
        Action::Restrictions(_) => ("depends on the client".to_owned(), Outcome::Accepted),
        Action::Unsupported(reason) => (format!("put off (4.3.5): {reason}"), Outcome::PutOff),
    }
}

/// `(from 2026-11-21 06:47:04, open)`
fn dates(absence: &Absence) -> String {
    let time = |seconds: i64| {
        let millis = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
        local_time(millis)
    };
    let from = absence
        .active_from
        .map_or_else(|| "begun".to_owned(), |from| format!("from {}", time(from)));
    let until = absence
        .active_until
        .map_or_else(|| "open".to_owned(), |until| format!("until {}", time(until)));
    format!("({from}, {until})")
}

fn show(report: &Report, steps: &[Step], output: &Output) {
    if output.json {
        output.value(report);
        return;
    }
    for line in tree(steps, output) {
        output.line(&line);
    }
    for hit in &report.access {
        let text = format!(
            "access {} {}: {} -> {}",
            hit.table,
            clean(&hit.key),
            clean(&hit.action),
            clean(&hit.effect)
        );
        print(output, "", &text, hit.source);
    }
    if let Some(sender) = &report.sender_login {
        output.line("");
        let line = format!(
            "may {} send as {}? {}",
            sender.login,
            sender.sender,
            clean(&sender.answer)
        );
        output.line(&output.bold(&line));
        for step in &sender.steps {
            let text = format!("{} {}: {}", step.question, clean(&step.key), said(&step.answer));
            print(output, "  ", &text, &step.source);
        }
    }
    output.line("");
    let said = clean(&report.verdict);
    let verdict = match (report.decided_by, report.outcome) {
        (_, "accepted") => said,
        ("address", outcome) => format!("{outcome}: {said}"),
        ("access", outcome) => format!("{outcome} by an access table; the address alone: {said}"),
        (_, outcome) => format!("{outcome} for its sender; the address alone: {said}"),
    };
    for line in wrapped("", &verdict) {
        output.line(&if report.outcome == "accepted" {
            output.bold(&line)
        } else {
            output.red(&line)
        });
    }
    for way in &report.deliveries {
        let mut text = format!("{}  {}", way.final_address, clean(&way.target));
        if let Some(route) = way.route.as_deref().filter(|route| *route != "local") {
            text.push_str(&format!(", {}", clean(route)));
        }
        if let Some(mailbox) = &way.mailbox {
            text.push_str(&format!(", {}", clean(mailbox)));
        }
        for line in wrapped("  ", &text) {
            output.line(&line);
        }
    }
    if let Some(absence) = &report.vacation {
        let (who, dates) = (clean(&absence.address), dates(absence));
        output.line(&format!(
            "  answered for {who} {dates}: {}",
            clean(&absence.subject)
        ));
    }
}

/// The steps: a line for each address, what was asked for it below, deeper with every alias.
fn tree(steps: &[Step], output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = None;
    for step in steps {
        let indent = "   ".repeat(usize::try_from(step.depth).unwrap_or(0).min(MOST_INDENTS));
        if current != Some((step.depth, &step.of)) {
            current = Some((step.depth, &step.of));
            let arrow = if step.depth == 0 { "" } else { "-> " };
            lines.push(format!("{indent}{arrow}{}", output.bold(&clean(&step.of))));
        }
        let text = format!("{} {}: {}", step.question, clean(&step.key), said(&step.answer));
        let source = step.source.as_str();
        lines.extend(with_source(output, &format!("{indent}   "), &text, source));
    }
    lines
}

/// Deeper aliases are no longer moved to the right.
const MOST_INDENTS: usize = 12;

fn said(answer: &str) -> String {
    if answer.is_empty() {
        "nothing".to_owned()
    } else {
        clean(answer)
    }
}

fn print(output: &Output, indent: &str, text: &str, source: &str) {
    for line in with_source(output, indent, text, source) {
        output.line(&line);
    }
}

/// The text, wrapped, with the source of the row behind it.
fn with_source(output: &Output, indent: &str, text: &str, source: &str) -> Vec<String> {
    match source {
        "rule" => wrapped(indent, text),
        source => wrapped_with(indent, text, &format!("({source})"), |end| output.dim(end)),
    }
}

#[cfg(test)]
mod tests {
    use auth_api::directory::Source;

    use super::*;

    fn step(of: &str, depth: u32, question: &str, answer: &str, source: Source) -> Step {
        Step {
            of: of.into(),
            depth,
            question: question.into(),
            key: of.into(),
            answer: answer.into(),
            source,
        }
    }

    #[test]
    fn steps_are_a_tree() {
        let steps = [
            step(
                "list@d.test",
                0,
                "alias",
                "alias.goto = a@d.test,x@y.test",
                Source::Database,
            ),
            step("a@d.test", 1, "alias", "", Source::Database),
            step(
                "a@d.test",
                1,
                "mailbox",
                "mailbox.maildir = d.test/a/",
                Source::Cache,
            ),
            step("a@d.test", 1, "ends", "the mailbox", Source::Rule),
            step("x@y.test", 1, "ends", "another host", Source::Rule),
        ];
        assert_eq!(
            tree(&steps, &Output::new(false)),
            [
                "list@d.test",
                "   alias list@d.test: alias.goto = a@d.test,x@y.test  (database)",
                "   -> a@d.test",
                "      alias a@d.test: nothing  (database)",
                "      mailbox a@d.test: mailbox.maildir = d.test/a/  (cache)",
                "      ends a@d.test: the mailbox",
                "   -> x@y.test",
                "      ends x@y.test: another host",
            ]
        );
    }

    #[test]
    fn verdicts() {
        let explained = |answer| Explanation {
            answer,
            steps: Vec::new(),
        };
        let (text, outcome) = verdict(&explained(Err("away".into())));
        assert!(text.starts_with("451 4.3.0") && outcome == Outcome::PutOff);
        let refusal = Refusal {
            code: 550,
            status: "5.1.1".parse().unwrap(),
            text: "User unknown".into(),
        };
        let resolution = Resolution {
            class: DomainClass::Mailbox,
            verdict: Verdict::Refuse(refusal),
            steps: Vec::new(),
        };
        let (text, outcome) = verdict(&explained(Ok(Answer::Recipient(resolution))));
        assert_eq!(text, "550 5.1.1 Recipient address rejected: User unknown");
        assert_eq!(outcome, Outcome::Refused);
    }
}

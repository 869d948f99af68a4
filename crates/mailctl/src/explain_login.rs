//! `mailctl explain login`: how authd judges a login, each question of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use auth_api::sasl::{LoginContext, LoginExplanation, LoginQuery, TlsState};
use clap::Args;
use serde_json::json;

use crate::auth::{Service, new_session};
use crate::error::{Failure, REFUSED, TRY_LATER};
use crate::output::{Output, clean, wrapped_with};
use crate::password::PasswordArgs;
use crate::session::Session;

/// Who logs in, and how.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct LoginArgs {
    /// The login as a user would type it
    user: String,
    /// The SASL mechanism
    #[arg(long, default_value = "PLAIN")]
    mechanism: String,
    /// As which service
    #[arg(long, value_enum, default_value = "imap")]
    service: Service,
    /// The client's address: what is remembered of it counts
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
    /// The connection has no TLS
    #[arg(long)]
    no_tls: bool,
    /// Really try a password, which is asked for unless an option says where it is
    #[arg(long)]
    try_password: bool,
    #[command(flatten)]
    password: PasswordArgs,
}

const HELP: &str = "\
Asks the running authd how it would judge the login, and shows each question with the row or rule that answered
it and where that was found: database, replica (the database is away), state (what authd remembers of earlier
logins) or rule. Stored passwords are never shown, only their scheme. A password that is tried costs no delay and
counts as no failure.

Exit status: 0 the right secret would be let in, 67 it would not, 75 nobody can tell now (the database is away).

Examples:
  mailctl explain login alice@example.com
  mailctl explain login alice@example.com --mechanism SCRAM-SHA-256 --service smtp
  mailctl explain login alice --mechanism CRAM-MD5 --from 192.0.2.7 --no-tls
  mailctl explain login alice@example.com --password-stdin < secret";

/// Runs it.
pub(crate) async fn run(args: LoginArgs, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let password = if args.try_password || args.password.is_given() {
        Some(args.password.read(false)?)
    } else {
        None
    };
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let query = LoginQuery {
        context: LoginContext {
            service: args.service.as_str().to_owned(),
            peer: SocketAddr::from((args.from.unwrap_or(nowhere), 0)),
            local: SocketAddr::from((nowhere, 0)),
            session: new_session()?,
            tls: (!args.no_tls).then(tls),
            trusted: false,
        },
        login: args.user.clone(),
        mechanism: args.mechanism.to_ascii_uppercase(),
        password,
    };
    let explanation = authd.explain_login(&query).await.map_err(|error| {
        Failure::try_later(clean(&error.to_string()), "look at authd's log and try again")
    })?;
    show(&args, &explanation, &session.output);
    match (explanation.possible, explanation.temporary) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::said(TRY_LATER)),
        (false, false) => Err(Failure::said(REFUSED)),
    }
}

/// A connection as today's clients make it.
fn tls() -> TlsState {
    TlsState {
        version: "TLSv1.3".to_owned(),
        cipher: String::new(),
        // Their content does not matter here, only that there are some.
        tls_exporter: vec![0; 32],
        tls_server_end_point: vec![0; 32],
        client_names: Vec::new(),
    }
}

fn show(args: &LoginArgs, explanation: &LoginExplanation, output: &Output) {
    if output.json {
        output.value(&as_json(args, explanation));
        return;
    }
    let title = format!(
        "login {} by {} ({})",
        clean(&args.user),
        clean(&args.mechanism.to_ascii_uppercase()),
        args.service.as_str()
    );
    output.line(&output.bold(&title));
    for question in &explanation.questions {
        let answer = match question.answer.as_str() {
            "" => "nothing found",
            answer => answer,
        };
        let text = format!("{} {}: {answer}", question.question, question.key);
        let source = format!("[{}]", question.source);
        for line in wrapped_with("  ", &clean(&text), &source, |end| output.dim(end)) {
            output.line(&line);
        }
    }
    let list = |offered| {
        let names: Vec<&str> = explanation
            .mechanisms
            .iter()
            .filter(|offer| offer.offered == offered)
            .map(|offer| offer.name.as_str())
            .collect();
        names.join(" ")
    };
    output.line(&format!("  offered here: {}", list(true)));
    let verdict = clean(&explanation.verdict);
    let verdict = if explanation.possible {
        output.bold(&verdict)
    } else {
        output.red(&verdict)
    };
    output.line(&verdict);
    if let Some(tried) = &explanation.tried {
        output.line(&format!("tried: {}", clean(tried)));
    }
}

fn as_json(args: &LoginArgs, explanation: &LoginExplanation) -> serde_json::Value {
    let questions: Vec<_> = explanation
        .questions
        .iter()
        .map(|question| {
            json!({
                "question": question.question,
                "key": question.key,
                "answer": question.answer,
                "source": question.source,
            })
        })
        .collect();
    let mechanisms: Vec<_> = explanation
        .mechanisms
        .iter()
        .map(|offer| json!({ "name": offer.name, "offered": offer.offered, "reason": offer.reason }))
        .collect();
    json!({
        "login": args.user,
        "mechanism": args.mechanism.to_ascii_uppercase(),
        "service": args.service.as_str(),
        "questions": questions,
        "mechanisms": mechanisms,
        "verdict": explanation.verdict,
        "possible": explanation.possible,
        "temporary": explanation.temporary,
        "tried": explanation.tried,
    })
}

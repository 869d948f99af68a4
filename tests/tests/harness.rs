//! The harness tested without daemons: databases load, the fake world answers.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::backend::{self, Database};
use tests::client::{Line, Smtp};
use tests::dns::{Dns, Record};
use tests::schema;
use tests::sink::{Action, Offers, Sink, Stage};

#[test]
fn every_schema_form_loads_and_takes_rows() -> Result<()> {
    backend::each(|backend| {
        let directory = tempfile::tempdir()?;
        let database = Database::create(backend.engine, directory.path(), false)?;
        database.load(backend)?;
        database.execute(&schema::insert_domain(
            backend.form,
            "example.com",
            "virtual",
            false,
        ))?;
        let row = schema::MailboxRow {
            address: "a@example.com",
            password: "secret",
            maildir: "example.com/a/",
        };
        database.execute(&schema::insert_mailbox(backend.form, &row))?;
        ensure!(
            database.execute("SELECT nothing FROM mailbox").is_err(),
            "a wrong statement succeeded"
        );
        Ok(())
    })
}

#[test]
fn a_sink_takes_refuses_and_closes() -> Result<()> {
    let sink = Sink::start(Ipv4Addr::LOCALHOST, 0, Offers::default())?;
    let mut smtp = Smtp::greet(Line::tcp(sink.address())?)?;
    ensure!(smtp.ehlo()?.contains(&"8BITMIME".to_owned()));
    sink.on_recipient("no@a.test", Action::Reply("550 5.1.1 no".into()));
    smtp.send("x@b.test", &["yes@a.test"], "Subject: s\r\n\r\n.dot\r\n")?;
    let taken = sink.wait(1)?;
    ensure!(taken[0].data == b"Subject: s\r\n\r\n.dot\r\n" && taken[0].recipients == ["<yes@a.test>"]);
    smtp.expect("MAIL FROM:<x@b.test>", 250)?;
    smtp.expect("RCPT TO:<NO@a.test>", 550)?;
    smtp.expect("DATA", 554)?;
    sink.next(1, Stage::Mail, Action::Close);
    ensure!(
        smtp.command("MAIL FROM:<x@b.test>").is_err(),
        "the sink should have closed"
    );
    ensure!(sink.connections() == 1 && sink.commands("RCPT") == 2);
    Ok(())
}

#[test]
fn the_name_server_answers_over_udp() -> Result<()> {
    let dns = Dns::start()?;
    dns.mail_domain("a.test", Ipv4Addr::new(127, 9, 9, 9));
    dns.add("broken.test", Record::Failure);
    let ask = |name: &str, kind: u8| -> Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len())?);
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, kind, 0, 1]);
        socket.send_to(&question, dns.address())?;
        let mut answer = [0; 600];
        let length = socket.recv(&mut answer).context("the name server's answer")?;
        Ok(answer[..length].to_vec())
    };
    let address = ask("mx.a.test", 1)?;
    ensure!(
        address.ends_with(&[0, 4, 127, 9, 9, 9]) && address[3] == 0,
        "{address:?}"
    );
    ensure!(ask("a.test", 15)?[7] == 1, "one MX");
    ensure!(ask("nothing.test", 1)?[3] == 3, "NXDOMAIN");
    ensure!(ask("broken.test", 1)?[3] == 2, "SERVFAIL");
    ensure!(dns.questions().contains(&"a.test MX".to_owned()));
    Ok(())
}

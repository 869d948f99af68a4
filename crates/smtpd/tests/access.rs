//! Access tables at RCPT (compat.md 2.4).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use auth_api::access::{Answer, Hit, Table};
use auth_api::directory::Source;
use support::{Site, queued};

const MESSAGE: &str = "Subject: x\r\n\r\nhello\r\n";

/// Tables with these rows; a recipient row is for the address in its key.
fn rows(site: &Site, rows: &[(Table, &str, &str)]) {
    let hits = rows.iter().map(|(table, key, action)| Hit {
        table: *table,
        key: (*key).to_owned(),
        action: (*action).to_owned(),
        source: Source::Database,
    });
    *site.directory.access.lock().unwrap() = Answer {
        tables: vec![Table::Client, Table::Helo, Table::Sender, Table::Recipient],
        hits: hits.collect(),
    };
}

/// What a stranger hears at RCPT.
async fn heard(site: &Site, recipient: &str) -> String {
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test>").await;
    d.ask(&format!("RCPT TO:<{recipient}>")).await
}

#[tokio::test]
async fn rows_refuse_in_their_words() {
    let site = Site::new("").await;
    for (table, action, reply) in [
        (
            Table::Client,
            "REJECT",
            "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied\n",
        ),
        (
            Table::Helo,
            "450 slowly",
            "450 4.7.1 <c.test>: Helo command rejected: slowly\n",
        ),
        (
            Table::Sender,
            "REJECT go away",
            "554 5.7.1 <s@a.test>: Sender address rejected: go away\n",
        ),
        (
            Table::Recipient,
            "550 5.1.1 not here",
            "550 5.1.1 <u@local.test>: Recipient address rejected: not here\n",
        ),
        (Table::Recipient, "HOLD", "451 4.3.5 Server configuration error\n"),
        (
            Table::Recipient,
            "FILTER smtp:[x]",
            "451 4.3.5 Server configuration error\n",
        ),
        (Table::Client, "OK", "250 2.1.5 Ok\n"),
        (Table::Client, "WARN look", "250 2.1.5 Ok\n"),
    ] {
        rows(&site, &[(table, "u@local.test", action)]);
        assert_eq!(heard(&site, "u@local.test").await, reply, "{action}");
    }
    // One recipient's row is his alone.
    rows(&site, &[(Table::Recipient, "u@local.test", "REJECT")]);
    assert_eq!(heard(&site, "v@local.test").await, "250 2.1.5 Ok\n");
    assert!(site.event_names().contains(&"access_row".to_owned()));
}

#[tokio::test]
async fn ok_authorises_neither_relaying_nor_unknown_users() {
    let site = Site::new("").await;
    rows(&site, &[(Table::Client, "k", "OK"), (Table::Sender, "k", "OK")]);
    assert_eq!(
        heard(&site, "x@a.test").await,
        "554 5.7.1 <x@a.test>: Relay access denied\n"
    );
    assert!(heard(&site, "nobody@local.test").await.starts_with("550 5.1.1"));
}

#[tokio::test]
async fn what_waits_for_the_rest() {
    let site = Site::new("").await;
    rows(&site, &[(Table::Client, "k", "DEFER_IF_REJECT")]);
    assert_eq!(heard(&site, "u@local.test").await, "250 2.1.5 Ok\n");
    assert_eq!(
        heard(&site, "nobody@local.test").await,
        "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: Service unavailable\n"
    );
    rows(&site, &[(Table::Sender, "k", "DEFER_IF_PERMIT later")]);
    assert_eq!(
        heard(&site, "u@local.test").await,
        "450 4.7.1 <s@a.test>: Sender address rejected: later\n"
    );
    assert!(heard(&site, "nobody@local.test").await.starts_with("550 5.1.1"));
}

#[tokio::test]
async fn some_codes_close_the_connection() {
    let site = Site::new("").await;
    rows(&site, &[(Table::Client, "k", "521 no service for you")]);
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test>").await;
    assert!(d.ask("RCPT TO:<u@local.test>").await.starts_with("521 5.7.1 "));
    assert_eq!(d.hear().await, "eof");
}

#[tokio::test]
async fn discard_and_prepend() {
    let site = Site::new("").await;
    rows(&site, &[(Table::Client, "k", "PREPEND X-Seen: by the table")]);
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test", "v@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    let body = site.deliver.given.lock().unwrap()[0].body.clone();
    assert!(body.starts_with("X-Seen: by the table\r\nReceived: "), "{body}");

    rows(&site, &[(Table::Recipient, "u@local.test", "DISCARD")]);
    d.envelope("s@a.test", &["u@local.test", "v@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    assert_eq!(site.deliver.given.lock().unwrap().len(), 1, "nobody got it");
    assert!(site.spooled().is_empty());
    assert!(site.event_names().contains(&"message_discarded".to_owned()));
}

#[tokio::test]
async fn sites_without_tables_do_not_pay_for_them() {
    let site = Site::new("").await;
    assert_eq!(heard(&site, "u@local.test").await, "250 2.1.5 Ok\n");
    // It is believed for a while that there are none.
    *site.directory.access.lock().unwrap() = Answer {
        tables: vec![Table::Client],
        hits: vec![Hit {
            table: Table::Client,
            key: "k".into(),
            action: "REJECT".into(),
            source: Source::Database,
        }],
    };
    assert_eq!(heard(&site, "u@local.test").await, "250 2.1.5 Ok\n");
}

#[tokio::test]
async fn whom_they_hold_for() {
    for (checks, networks, reply) in [
        ("nobody", "", "250"),
        ("outsiders", "192.0.2.0/24", "250"),
        ("everybody", "192.0.2.0/24", "554"),
        ("outsiders", "", "554"),
    ] {
        let general = match networks {
            "" => String::new(),
            network => format!("mynetworks = [\"{network}\"]"),
        };
        let smtpd = format!("[smtpd]\nsmtpd_access_checks = \"{checks}\"\n");
        let site = Site::with(&general, &smtpd).await;
        rows(&site, &[(Table::Client, "k", "REJECT")]);
        let said = heard(&site, "u@local.test").await;
        assert!(said.starts_with(reply), "{checks} {networks}: {said}");
    }
}

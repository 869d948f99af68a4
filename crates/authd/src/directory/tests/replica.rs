//! What the copy may say while the tables are away: rows that are there stand, what is missing is no answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use auth_api::access;
use auth_api::directory::{Recipient, Route, SenderLogin, Source, Target, Verdict};

use super::super::backend::AccessTable;
use super::super::memory::Memory;
use super::super::{Directory, DirectoryError, Steps};
use super::{address, rules, site};

/// A directory whose answers all come from the replica.
fn replica(memory: Memory) -> Directory {
    memory.replica.store(true, Ordering::SeqCst);
    Directory::new(Arc::new(memory), rules())
}

fn whole_site() -> Memory {
    site()
        .alias("list@d.test", "alice@d.test,far@away.test")
        .alias("half@d.test", "alice@d.test,gone@d.test")
        .alias("@catch.test", "alice@d.test")
        .domain("catch.test", "virtual")
        .domain("off.test", "virtual")
        .with_domain("off.test", |row| row.active = false)
        .domain("backup.test", "virtual")
        .with_domain("backup.test", |row| row.backupmx = true)
        .domain("relay.test", "smtp:[192.0.2.1]")
        .domain("error.test", "error:closed")
        .mailbox("u@error.test")
        .mailbox("off@d.test")
        .with_mailbox("off@d.test", |row| row.active = false)
        .inactive_alias("off@d.test")
        .alias_domain("m.test", "d.test")
        .alias("x@d.test", "y@d.test")
        .alias("y@d.test", "x@d.test")
}

async fn resolve(text: &str) -> Result<Verdict, DirectoryError> {
    let directory = replica(whole_site());
    let mut steps = Steps::brief();
    let resolution = directory
        .resolve(&Recipient::Address(address(text)), &mut steps)
        .await?;
    assert!(steps.from_replica());
    let list = steps.into_list();
    let marked = |step: &auth_api::directory::Step| matches!(step.source, Source::Replica | Source::Rule);
    assert!(list.iter().all(marked), "{list:#?}");
    Ok(resolution.verdict)
}

#[tokio::test]
async fn known_recipients_are_accepted() {
    for text in [
        "alice@d.test",
        "alice+tag@d.test",
        "alice@m.test",
        "any@backup.test",
        "any@relay.test",
    ] {
        let verdict = resolve(text).await;
        assert!(matches!(verdict, Ok(Verdict::Deliver(_))), "{text}: {verdict:?}");
    }
    // Of a list the addresses elsewhere are queued; where they go is asked again before they leave.
    let Ok(Verdict::Deliver(list)) = resolve("list@d.test").await else {
        panic!()
    };
    assert_eq!(list.len(), 2);
    assert_eq!(list[1].target, Target::Remote);
}

#[tokio::test]
async fn what_rests_on_absence_is_no_answer() {
    for text in [
        // Unknown users, unknown domains, rows out of force.
        "nobody@d.test",
        "nobody@m.test",
        "x@away.test",
        "x@off.test",
        "off@d.test",
        // A catch-all, for the mailbox may be newer than the copy.
        "nobody@catch.test",
        // A target that is dead, and a transport that refuses.
        "half@d.test",
        "u@error.test",
        // The configured postmaster stands in only where there is no row.
        "postmaster@d.test",
    ] {
        let verdict = resolve(text).await;
        assert!(
            matches!(verdict, Err(DirectoryError::Unsure(_))),
            "{text}: {verdict:?}"
        );
    }
    assert!(matches!(
        resolve("x@d.test").await,
        Ok(Verdict::ExpansionError(_))
    ));
}

#[tokio::test]
async fn the_bare_postmaster_is_known() {
    let directory = replica(whole_site());
    let resolution = directory
        .resolve(&Recipient::Postmaster, &mut Steps::brief())
        .await
        .unwrap();
    assert!(matches!(resolution.verdict, Verdict::Deliver(_)));
}

#[tokio::test]
async fn routes_and_mailboxes() {
    let directory = replica(whole_site().transport("far.test", "smtp:[192.0.2.2]"));
    let route = async |text: &str| directory.route(&address(text), &mut Steps::brief()).await;
    assert_eq!(route("alice@d.test").await.unwrap(), Route::Local);
    for text in ["u@backup.test", "u@relay.test", "u@far.test"] {
        assert!(matches!(route(text).await, Ok(Route::Smtp(_))), "{text}");
    }
    for text in ["nobody@d.test", "u@away.test", "u@error.test"] {
        assert!(
            matches!(route(text).await, Err(DirectoryError::Unsure(_))),
            "{text}"
        );
    }
    let mailbox = async |text: &str| {
        directory
            .lookup_mailbox(&address(text), &mut Steps::brief())
            .await
    };
    assert!(mailbox("alice+x@d.test").await.is_ok());
    for text in ["nobody@d.test", "x@away.test", "off@d.test"] {
        assert!(
            matches!(mailbox(text).await, Err(DirectoryError::Unsure(_))),
            "{text}"
        );
    }
}

#[tokio::test]
async fn senders() {
    let directory = replica(whole_site());
    let check = async |sender: &str| {
        directory
            .check_sender_login(&address("alice@d.test"), &address(sender), &mut Steps::brief())
            .await
    };
    for sender in ["alice@d.test", "list@d.test"] {
        assert_eq!(check(sender).await.unwrap(), SenderLogin::Owned, "{sender}");
    }
    for sender in ["bob@d.test", "x@away.test"] {
        assert!(
            matches!(check(sender).await, Err(DirectoryError::Unsure(_))),
            "{sender}"
        );
    }
}

#[tokio::test]
async fn one_old_row_is_enough() {
    // The tables go away before the last question, that for the catch-all.
    let memory = whole_site();
    memory.replica_after.store(4, Ordering::SeqCst);
    let directory = Directory::new(Arc::new(memory), rules());
    let recipient = Recipient::Address(address("nobody@d.test"));
    let mut steps = Steps::brief();
    let answer = directory.resolve(&recipient, &mut steps).await;
    assert!(
        matches!(answer, Err(DirectoryError::Unsure(_))),
        "{answer:?} {steps:#?}"
    );
    let fresh = steps.into_list().into_iter();
    assert_eq!(fresh.filter(|step| step.source == Source::Database).count(), 4);
}

#[tokio::test]
async fn access_rows_are_enough_as_they_are() {
    let directory = replica(whole_site().access(AccessTable::Sender, "evil.test", "REJECT"));
    let ask = async |sender: &str| {
        let question = access::Question {
            sender: Some(mail_types::ReversePath::Address(address(sender))),
            ..access::Question::default()
        };
        let mut steps = Steps::brief();
        let answer = directory.check_access(&question, &mut steps).await.unwrap();
        (answer.hits, steps.into_list())
    };
    let (hits, _) = ask("x@evil.test").await;
    assert_eq!((hits.len(), hits[0].source), (1, Source::Replica));
    let (hits, steps) = ask("x@good.test").await;
    assert!(hits.is_empty());
    assert!(
        steps.iter().all(|step| step.answer == "not in the replica"),
        "{steps:#?}"
    );
}

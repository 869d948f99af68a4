//! How many questions the tables are asked: what is on the way of every mail must stay cheap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auth_api::directory::Recipient;

use super::super::cached::Cached;
use super::super::memory::Memory;
use super::super::{Directory, Steps};
use super::{address, rules, site};

/// The questions for an address, and those for the same one right after it, through the cache.
async fn questions(memory: Memory, text: &str) -> (usize, usize) {
    let memory = Arc::new(memory);
    let cache = Arc::new(Cached::new(memory.clone(), Duration::from_secs(60)));
    let directory = Directory::new(cache, rules());
    let recipient = Recipient::Address(address(text));
    let mut counts = [0; 2];
    for count in &mut counts {
        memory.asked.store(0, Ordering::SeqCst);
        directory.resolve(&recipient, &mut Steps::brief()).await.unwrap();
        *count = memory.asked.load(Ordering::SeqCst);
    }
    (counts[0], counts[1])
}

#[tokio::test]
async fn a_resolve_asks_little() {
    let mirror = || site().alias_domain("m.test", "d.test").domain("m.test", "");
    for (memory, text, cold, warm) in [
        // domain, alias, mailbox.
        (site(), "alice@d.test", 3, 0),
        // And whether the domain mirrors another, which is not remembered where it does not.
        (mirror(), "alice@d.test", 4, 1),
        (site().bare_mailbox("carl@d.test"), "carl@d.test", 3, 1),
        // Alias and mailbox of both spellings.
        (site(), "alice+tag@d.test", 5, 2),
        // Unknown: also the catch-all.
        (site(), "nobody@d.test", 4, 3),
        // Domain, mirror and its target; alias there and here; the mailbox there, found with the alias; whether
        // the target is a mirror itself.
        (mirror(), "alice@m.test", 7, 2),
        // Elsewhere: domain, alias, catch-all.
        (site(), "u@away.test", 3, 3),
        // Two in one domain: the domain is asked once.
        (
            site().alias("list@d.test", "alice@d.test,bob@d.test"),
            "list@d.test",
            7,
            1,
        ),
    ] {
        assert_eq!(questions(memory, text).await, (cold, warm), "{text}");
    }
}

#[tokio::test]
async fn independent_questions_go_out_together() {
    let memory = Arc::new(site().alias_domain("m.test", "d.test"));
    let directory = Directory::new(memory.clone(), rules());
    memory.hold();
    let recipient = Recipient::Address(address("alice@d.test"));
    let mut steps = Steps::brief();
    let rounds = async {
        // Both rows of the domain at once.
        memory.asked_more_than(1).await;
        memory.release();
    };
    let both = async { tokio::join!(directory.resolve(&recipient, &mut steps), rounds) };
    // One after the other they would wait for each other for ever.
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    answer.unwrap();
}

/// What many targets have in common is asked once, and their rows come together.
#[tokio::test]
async fn large_lists_ask_in_rounds() {
    let members: Vec<String> = (0..40).map(|i| format!("u{i}@away.test")).collect();
    let memory = Arc::new(site().alias("list@d.test", &members.join(",")));
    let directory = Directory::new(memory.clone(), rules());
    let recipient = Recipient::Address(address("list@d.test"));
    let mut steps = Steps::full();
    directory.resolve(&recipient, &mut steps).await.unwrap();
    // The domains of the list and of its members; alias and mailbox of the list; an alias each, and the one
    // catch-all of away.test.
    assert_eq!(memory.asked.load(Ordering::SeqCst), 2 + 2 + 40 + 1);
    let keys: Vec<String> = steps
        .into_list()
        .into_iter()
        .filter(|step| step.question == "alias" && step.key.starts_with('u'))
        .map(|step| step.key)
        .collect();
    assert_eq!(keys, members, "told in the order of the list");
}

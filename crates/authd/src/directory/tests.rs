//! The chain of compat.md 1.4, 1.5 and 2.3 over tables in memory.

mod efficiency;
mod replica;
mod tables;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use auth_api::directory::{
    DomainClass, MailboxAnswer, Recipient, Resolution, Route, SenderLogin, Target, Verdict,
};
use mail_types::{Address, Domain};

use super::memory::Memory;
use super::{Directory, DirectoryError, Rules, Steps};

/// A directory whose steps stand in the resolution.
struct Asked(Directory);

impl Asked {
    fn new(memory: Arc<Memory>, rules: Rules) -> Self {
        Self(Directory::new(memory, rules))
    }
    async fn resolve(&self, recipient: &Recipient) -> Result<Resolution, DirectoryError> {
        let mut steps = Steps::brief();
        let mut resolution = self.0.resolve(recipient, &mut steps).await?;
        resolution.steps = steps.into_list();
        Ok(resolution)
    }
    async fn route(&self, address: &Address) -> Result<Route, DirectoryError> {
        self.0.route(address, &mut Steps::brief()).await
    }
    async fn lookup_mailbox(&self, address: &Address) -> Result<MailboxAnswer, DirectoryError> {
        self.0.lookup_mailbox(address, &mut Steps::brief()).await
    }
    async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
    ) -> Result<SenderLogin, DirectoryError> {
        self.0
            .check_sender_login(login, sender, &mut Steps::brief())
            .await
    }
}

fn rules() -> Rules {
    Rules {
        recipient_delimiter: Some('+'),
        own_domain: Domain::new("own.test").unwrap(),
        own_names: vec![Domain::new("mx.own.test").unwrap()],
        relay_subdomains: false,
        postmaster: address("boss@d.test"),
        vacation_domain: None,
        expansion_limit: 1000,
        recursion_limit: 1000,
        owner: (5000, 5001),
        minimum_uid: 100,
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// d.test with alice, bob and boss.
fn site() -> Memory {
    Memory::default()
        .domain("d.test", "virtual")
        .mailbox("alice@d.test")
        .mailbox("bob@d.test")
        .mailbox("boss@d.test")
}

fn directory(memory: Memory) -> Asked {
    Asked::new(Arc::new(memory), rules())
}

async fn verdict(memory: Memory, recipient: &str) -> Verdict {
    directory(memory)
        .resolve(&Recipient::Address(address(recipient)))
        .await
        .unwrap()
        .verdict
}

/// The deliveries, as text: `*` expanded, `@` remote, `!` dead.
async fn deliveries(memory: Memory, recipient: &str) -> Vec<String> {
    match verdict(memory, recipient).await {
        Verdict::Deliver(list) => list
            .into_iter()
            .map(|d| {
                let mark = match d.target {
                    Target::Mailbox => "",
                    Target::Remote => "@",
                    Target::Dead { .. } => "!",
                };
                format!("{}{mark}{}", if d.expanded { "*" } else { "" }, d.final_address)
            })
            .collect(),
        Verdict::Refuse(refusal) => vec![format!("{} {} {}", refusal.code, refusal.status, refusal.text)],
        Verdict::ExpansionError(_) => vec!["expansion error".into()],
    }
}

const UNKNOWN: &str = "550 5.1.1 User unknown in virtual mailbox table";

#[tokio::test]
async fn mailboxes() {
    assert_eq!(deliveries(site(), "alice@d.test").await, ["alice@d.test"]);
    assert_eq!(deliveries(site(), "Alice@D.test").await, ["Alice@d.test"]);
    assert_eq!(deliveries(site(), "nobody@d.test").await, [UNKNOWN]);
    assert_eq!(
        deliveries(site(), "x@elsewhere.test").await,
        ["@x@elsewhere.test"]
    );
    assert_eq!(
        deliveries(site().bare_mailbox("carl@d.test"), "carl@d.test").await,
        ["carl@d.test"]
    );
}

#[tokio::test]
async fn inactive_rows_do_not_exist() {
    let memory = site().with_mailbox("alice@d.test", |row| row.active = false);
    assert_eq!(deliveries(memory, "alice@d.test").await, [UNKNOWN]);
    let memory = site().with_domain("d.test", |row| row.active = false);
    let resolution = directory(memory)
        .resolve(&Recipient::Address(address("alice@d.test")))
        .await
        .unwrap();
    assert_eq!(resolution.class, DomainClass::Foreign);
    let memory = site()
        .alias("list@d.test", "alice@d.test")
        .inactive_alias("list@d.test");
    assert_eq!(deliveries(memory, "list@d.test").await, [UNKNOWN]);
}

#[tokio::test]
async fn the_pseudo_domain_of_administrators_is_none() {
    let memory = site().domain("all", "virtual").mailbox("x@all");
    let resolution = directory(memory)
        .resolve(&Recipient::Address(address("x@ALL")))
        .await
        .unwrap();
    assert_eq!(resolution.class, DomainClass::Foreign);
}

#[tokio::test]
async fn aliases_and_nesting() {
    let memory = site()
        .alias("list@d.test", "alice@d.test, team@d.test,far@away.test")
        .alias("team@d.test", "bob@d.test,alice@d.test");
    assert_eq!(
        deliveries(memory, "list@d.test").await,
        ["*alice@d.test", "*bob@d.test", "*@far@away.test"]
    );
}

#[tokio::test]
async fn identity_ends_recursion() {
    // Forwards a copy and keeps one; and two who do so to each other.
    let memory = site().alias("alice@d.test", "alice@d.test,far@away.test");
    assert_eq!(
        deliveries(memory, "alice@d.test").await,
        ["alice@d.test", "*@far@away.test"]
    );
    let memory = site()
        .alias("alice@d.test", "alice@d.test,bob@d.test")
        .alias("bob@d.test", "bob@d.test,alice@d.test");
    assert_eq!(
        deliveries(memory, "alice@d.test").await,
        ["alice@d.test", "*bob@d.test"]
    );
}

#[tokio::test]
async fn loops_are_errors() {
    let memory = site().alias("x@d.test", "y@d.test").alias("y@d.test", "x@d.test");
    assert_eq!(deliveries(memory, "x@d.test").await, ["expansion error"]);
    let memory = site()
        .alias("x@d.test", "alice@d.test,y@d.test")
        .alias("y@d.test", "z@d.test")
        .alias("z@d.test", "y@d.test");
    assert_eq!(deliveries(memory, "x@d.test").await, ["expansion error"]);
    // The same target by two ways is none.
    let memory = site()
        .alias("x@d.test", "y@d.test,z@d.test")
        .alias("y@d.test", "bob@d.test")
        .alias("z@d.test", "bob@d.test,y@d.test");
    assert_eq!(deliveries(memory, "x@d.test").await, ["*bob@d.test"]);
}

#[tokio::test]
async fn limits() {
    let chain = |length: usize| {
        (0..length).fold(site(), |memory, i| {
            memory.alias(&format!("n{i}@d.test"), &format!("n{}@d.test", i + 1))
        })
    };
    let end = |length: usize| chain(length).alias(&format!("n{length}@d.test"), "alice@d.test");
    assert_eq!(deliveries(end(900), "n0@d.test").await, ["*alice@d.test"]);
    assert_eq!(deliveries(end(1001), "n0@d.test").await, ["expansion error"]);

    let list = |length: usize| {
        (0..length)
            .map(|i| format!("u{i}@away.test"))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(
        deliveries(site().alias("big@d.test", &list(1000)), "big@d.test")
            .await
            .len(),
        1000
    );
    assert_eq!(
        deliveries(site().alias("big@d.test", &list(1001)), "big@d.test").await,
        ["expansion error"]
    );
    // A thousand who are reached through a mirrored domain, and forward their mail.
    let mirrored = (0..1000).fold(site().alias_domain("m.test", "d.test"), |memory, i| {
        memory
            .alias(&format!("u{i}@d.test"), &format!("f{i}@d.test"))
            .alias(&format!("f{i}@d.test"), &format!("u{i}@away.test"))
    });
    let members: Vec<String> = (0..1000).map(|i| format!("u{i}@m.test")).collect();
    let mirrored = mirrored.alias("big@d.test", &members.join(","));
    assert_eq!(deliveries(mirrored, "big@d.test").await.len(), 1000);
    // A bomb: 1,000 lists of 1,000 each.
    let lists = (0..1000)
        .map(|i| format!("l{i}@d.test"))
        .collect::<Vec<_>>()
        .join(",");
    let bomb = (0..1000).fold(site().alias("bomb@d.test", &lists), |memory, i| {
        memory.alias(&format!("l{i}@d.test"), &list(1000))
    });
    assert_eq!(deliveries(bomb, "bomb@d.test").await, ["expansion error"]);
}

#[tokio::test]
async fn extensions() {
    assert_eq!(deliveries(site(), "alice+tag@d.test").await, ["alice+tag@d.test"]);
    // Appended to every result, remote ones too.
    let memory = site().alias("list@d.test", "alice@d.test,far@away.test");
    assert_eq!(
        deliveries(memory, "list+a+b@d.test").await,
        ["*alice+a+b@d.test", "*@far+a+b@away.test"]
    );
    // A row of the exact name is not the name without extension.
    let memory = site().alias("alice+tag@d.test", "bob@d.test");
    assert_eq!(deliveries(memory, "alice+tag@d.test").await, ["*bob@d.test"]);
    let memory = site().alias("alice+tag@d.test", "bob@d.test");
    assert_eq!(
        deliveries(memory, "alice+other@d.test").await,
        ["alice+other@d.test"]
    );
    assert_eq!(
        deliveries(site().bare_mailbox("bob+x@d.test"), "bob+x@d.test").await,
        ["bob+x@d.test"]
    );
    assert_eq!(deliveries(site(), "nobody+tag@d.test").await, [UNKNOWN]);
    assert_eq!(deliveries(site(), "+tag@d.test").await, [UNKNOWN]);
    // Off: it is part of the name.
    let rules = Rules {
        recipient_delimiter: None,
        ..rules()
    };
    let directory = Asked::new(Arc::new(site()), rules);
    let resolution = directory
        .resolve(&Recipient::Address(address("alice+t@d.test")))
        .await
        .unwrap();
    assert!(matches!(resolution.verdict, Verdict::Refuse(_)));
}

#[tokio::test]
async fn catch_all() {
    let memory = || site().alias("@d.test", "bob@d.test");
    assert_eq!(deliveries(memory(), "nobody@d.test").await, ["*bob@d.test"]);
    assert_eq!(deliveries(memory(), "nobody+tag@d.test").await, ["*bob@d.test"]);
    assert_eq!(deliveries(memory(), "alice@d.test").await, ["alice@d.test"]);
    assert_eq!(
        deliveries(memory(), "alice+tag@d.test").await,
        ["alice+tag@d.test"]
    );
    // Nor does it take the mail of a mailbox that has no alias row.
    assert_eq!(
        deliveries(memory().bare_mailbox("carl@d.test"), "carl@d.test").await,
        ["carl@d.test"]
    );
    // The same user elsewhere, with the extension.
    let memory = site()
        .alias("@d.test", "@e.test")
        .domain("e.test", "")
        .mailbox("eve@e.test");
    assert_eq!(deliveries(memory, "eve+x@d.test").await, ["*eve+x@e.test"]);
    let memory = site()
        .alias("@d.test", "@e.test")
        .domain("e.test", "")
        .mailbox("eve@e.test");
    assert_eq!(deliveries(memory, "nobody@d.test").await, [UNKNOWN]);
    let memory = site().alias("@d.test", "gone@d.test");
    assert_eq!(deliveries(memory, "nobody@d.test").await, [UNKNOWN]);
}

#[tokio::test]
async fn alias_domains_mirror_everything() {
    let memory = || {
        site()
            .alias_domain("m.test", "d.test")
            .domain("m.test", "virtual")
            .alias("list@d.test", "alice@d.test,far@away.test")
    };
    assert_eq!(deliveries(memory(), "alice@m.test").await, ["*alice@d.test"]);
    assert_eq!(deliveries(memory(), "alice+t@m.test").await, ["*alice+t@d.test"]);
    assert_eq!(
        deliveries(memory(), "list@m.test").await,
        ["*alice@d.test", "*@far@away.test"]
    );
    assert_eq!(
        deliveries(memory().bare_mailbox("carl@d.test"), "carl@m.test").await,
        ["*carl@d.test"]
    );
    assert_eq!(
        deliveries(memory(), "nobody@m.test").await,
        ["550 5.1.1 User unknown in virtual alias table"]
    );
    assert_eq!(
        deliveries(memory().alias("@d.test", "bob@d.test"), "nobody@m.test").await,
        ["*bob@d.test"]
    );
    // An own row of the mirror comes first; an inactive target ends the mirroring.
    assert_eq!(
        deliveries(memory().alias("alice@m.test", "bob@d.test"), "alice@m.test").await,
        ["*bob@d.test"]
    );
    let memory = memory().with_domain("d.test", |row| row.active = false);
    assert_eq!(deliveries(memory, "alice@m.test").await, [UNKNOWN]);
}

/// All three questions mean the same mailbox.
#[tokio::test]
async fn mailboxes_of_a_domain_that_mirrors() {
    let site = || site().alias_domain("m.test", "d.test").domain("m.test", "");
    for (memory, typed, final_, owner) in [
        // Left from before m.test mirrored d.test; the info of d.test is somebody else.
        (
            site().mailbox("info@m.test").mailbox("info@d.test"),
            "info@m.test",
            "info@m.test",
            "info@m.test",
        ),
        (
            site().bare_mailbox("info@m.test"),
            "info@m.test",
            "info@m.test",
            "info@m.test",
        ),
        (
            site().bare_mailbox("info@m.test"),
            "info+x@m.test",
            "info+x@m.test",
            "info@m.test",
        ),
        // Its alias row is left, but not the mailbox.
        (
            site().alias("info@m.test", "info@m.test").mailbox("info@d.test"),
            "info@m.test",
            "info@m.test",
            "info@d.test",
        ),
        // Each key is asked in both domains before the next one.
        (
            site().mailbox("info@m.test").mailbox("info+x@d.test"),
            "info+x@m.test",
            "*info+x@d.test",
            "info+x@d.test",
        ),
        // Who is away, and only answers.
        (
            site()
                .bare_mailbox("carl@d.test")
                .alias("carl@d.test", "carl#d.test@autoreply.test"),
            "carl@m.test",
            "*carl@d.test",
            "carl@d.test",
        ),
    ] {
        let directory = directory(memory);
        let resolution = directory
            .resolve(&Recipient::Address(address(typed)))
            .await
            .unwrap();
        let Verdict::Deliver(list) = resolution.verdict else {
            panic!("{typed}: {:?}", resolution.verdict);
        };
        let [delivery] = list.as_slice() else {
            panic!("{list:?}")
        };
        let found = delivery.final_address.clone();
        assert_eq!(found.to_string(), final_.trim_start_matches('*'), "{typed}");
        assert_eq!(delivery.target, Target::Mailbox);
        assert_eq!(directory.route(&found).await.unwrap(), Route::Local, "{typed}");
        let MailboxAnswer::Found(mailbox) = directory.lookup_mailbox(&found).await.unwrap() else {
            panic!("{typed} has no mailbox");
        };
        assert_eq!(mailbox.address.to_string(), owner, "{typed}");
    }
}

#[tokio::test]
async fn backup_mx_and_transports() {
    let memory = || {
        site()
            .domain("backup.test", "virtual")
            .with_domain("backup.test", |row| row.backupmx = true)
            .domain("relay.test", "smtp:[mx.away.test]:2525")
            .alias("list@relay.test", "alice@d.test")
            .domain("lmtp.test", "lmtp:unix:/run/x")
            .mailbox("u@lmtp.test")
            .domain("gone.test", "error:5.1.6 moved")
            .mailbox("u@gone.test")
            .domain("local.test", "local:")
            .mailbox("u@local.test")
    };
    assert_eq!(
        deliveries(memory(), "any@backup.test").await,
        ["@any@backup.test"]
    );
    assert_eq!(deliveries(memory(), "any@relay.test").await, ["@any@relay.test"]);
    assert_eq!(deliveries(memory(), "list@relay.test").await, ["*alice@d.test"]);
    assert_eq!(deliveries(memory(), "u@lmtp.test").await, ["@u@lmtp.test"]);
    assert_eq!(deliveries(memory(), "x@lmtp.test").await, [UNKNOWN]);
    assert_eq!(deliveries(memory(), "u@gone.test").await, ["550 5.1.6 moved"]);
    let error = directory(memory())
        .resolve(&Recipient::Address(address("u@local.test")))
        .await
        .unwrap_err();
    assert!(matches!(error, DirectoryError::Misconfigured(_)));

    let resolution = directory(memory())
        .resolve(&Recipient::Address(address("a@relay.test")))
        .await
        .unwrap();
    assert_eq!(resolution.class, DomainClass::Relay);
}

#[tokio::test]
async fn postmaster_always_resolves() {
    assert_eq!(deliveries(site(), "Postmaster@d.test").await, ["*boss@d.test"]);
    assert_eq!(
        deliveries(
            site().alias("postmaster@d.test", "alice@d.test"),
            "postmaster@d.test"
        )
        .await,
        ["*alice@d.test"]
    );
    assert_eq!(
        deliveries(site().alias("@d.test", "bob@d.test"), "postmaster@d.test").await,
        ["*bob@d.test"]
    );
    let bare = directory(site()).resolve(&Recipient::Postmaster).await.unwrap();
    assert_eq!(bare.class, DomainClass::Mailbox);
    let Verdict::Deliver(list) = bare.verdict else {
        panic!()
    };
    assert!(list[0].expanded && list[0].final_address == address("boss@d.test"));
    // Where it cannot be delivered, mail waits; it is not refused.
    let nobody = Rules {
        postmaster: address("postmaster@d.test"),
        ..rules()
    };
    let directory = Asked::new(Arc::new(site()), nobody);
    assert!(directory.resolve(&Recipient::Postmaster).await.is_err());
    assert!(
        directory
            .resolve(&Recipient::Address(address("postmaster@d.test")))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn dead_targets() {
    let memory = site().alias("list@d.test", "gone@d.test,alice@d.test");
    assert_eq!(
        deliveries(memory, "list@d.test").await,
        ["*!gone@d.test", "*alice@d.test"]
    );
    let memory = site().alias("list@d.test", "gone@d.test,lost@d.test");
    assert_eq!(deliveries(memory, "list@d.test").await, [UNKNOWN]);
    let memory = site().alias("list@d.test", "|/bin/command,alice@d.test");
    assert_eq!(
        deliveries(memory, "list@d.test").await,
        ["!list@d.test", "*alice@d.test"]
    );
    assert_eq!(
        deliveries(site().alias("list@d.test", ""), "list@d.test").await,
        ["expansion error"]
    );
}

#[tokio::test]
async fn routes() {
    let memory = site()
        .domain("backup.test", "")
        .with_domain("backup.test", |row| row.backupmx = true)
        .domain("relay.test", "relay:[192.0.2.7]")
        .alias_domain("m.test", "d.test")
        .alias("list@d.test", "alice@d.test")
        .domain("held.test", "retry:wait");
    let directory = directory(memory);
    let route = async |text: &str| directory.route(&address(text)).await.unwrap();
    assert_eq!(route("alice+x@d.test").await, Route::Local);
    assert_eq!(route("alice@m.test").await, Route::Local);
    // No expansion: an alias is not a mailbox.
    assert!(matches!(route("list@d.test").await, Route::Unknown(_)));
    assert!(matches!(route("u@held.test").await, Route::Retry(text) if text == "wait"));
    let Route::Smtp(hop) = route("u@away.test").await else {
        panic!()
    };
    assert!(hop.use_mx && !hop.explicit && hop.host == "away.test");
    let Route::Smtp(hop) = route("u@backup.test").await else {
        panic!()
    };
    assert!(hop.use_mx && !hop.explicit);
    let Route::Smtp(hop) = route("u@relay.test").await else {
        panic!()
    };
    assert!(!hop.use_mx && hop.explicit && hop.host == "192.0.2.7");
}

#[tokio::test]
async fn mailbox_lookup() {
    let memory = site()
        .with_mailbox("bob@d.test", |row| row.maildir = "../../etc/".into())
        .with_mailbox("boss@d.test", |row| row.quota = -1)
        .alias_domain("m.test", "d.test");
    let directory = directory(memory);
    let lookup = async |text: &str| directory.lookup_mailbox(&address(text)).await.unwrap();
    for text in ["alice@d.test", "Alice+tag@d.test", "alice@m.test"] {
        let MailboxAnswer::Found(mailbox) = lookup(text).await else {
            panic!("{text}")
        };
        assert_eq!(
            (mailbox.maildir.as_str(), mailbox.uid, mailbox.gid),
            ("d.test/alice/", 5000, 5001)
        );
        assert_eq!(mailbox.address, address("alice@d.test"));
    }
    assert!(matches!(
        lookup("bob@d.test").await,
        MailboxAnswer::Misconfigured(_)
    ));
    assert!(matches!(lookup("boss@d.test").await, MailboxAnswer::Found(mailbox) if mailbox.quota == 0));
    assert!(matches!(lookup("x@d.test").await, MailboxAnswer::Unknown(_)));
    assert!(matches!(lookup("x@away.test").await, MailboxAnswer::Unknown(_)));
}

#[tokio::test]
async fn sender_logins() {
    let memory = site()
        .alias("sales@d.test", "alice@d.test,far@away.test")
        .alias("deep@d.test", "sales@d.test")
        .alias_domain("m.test", "d.test");
    let directory = directory(memory);
    let owned = async |sender: &str| {
        directory
            .check_sender_login(&address("alice@d.test"), &address(sender))
            .await
            .unwrap()
            == SenderLogin::Owned
    };
    for sender in [
        "alice@d.test",
        "ALICE+x@d.test",
        "sales@d.test",
        "deep@d.test",
        "alice@m.test",
    ] {
        assert!(owned(sender).await, "{sender}");
    }
    for sender in ["bob@d.test", "nobody@d.test", "far@away.test", "alice@away.test"] {
        assert!(!owned(sender).await, "{sender}");
    }
}

#[tokio::test]
async fn tables_that_are_away_are_never_an_answer() {
    let memory = site();
    memory.away.store(true, Ordering::SeqCst);
    let directory = directory(memory);
    let alice = address("alice@d.test");
    assert!(
        directory
            .resolve(&Recipient::Address(alice.clone()))
            .await
            .is_err()
    );
    assert!(
        directory
            .resolve(&Recipient::Address(address("x@away.test")))
            .await
            .is_err()
    );
    assert!(directory.route(&alice).await.is_err());
    assert!(directory.lookup_mailbox(&alice).await.is_err());
    assert!(
        directory
            .check_sender_login(&alice, &address("bob@d.test"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_steps_tell_the_rows() {
    let memory = site().alias("list@d.test", "alice@d.test");
    let resolution = directory(memory)
        .resolve(&Recipient::Address(address("list@d.test")))
        .await
        .unwrap();
    let told: Vec<String> = resolution
        .steps
        .iter()
        .map(|s| format!("{} {}: {}", s.question, s.key, s.answer))
        .collect();
    assert!(
        told.contains(&"alias list@d.test: alias.goto = alice@d.test".to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"mailbox alice@d.test: mailbox.maildir = d.test/alice/".to_owned()),
        "{told:#?}"
    );
}

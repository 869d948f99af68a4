//! Tables that only some schemas have: transports, relocated, alias_maps, sender logins, access, absence.

use std::sync::Arc;

use auth_api::access::{Client, Question, Table};
use auth_api::directory::{DomainClass, MailboxAnswer, Recipient, Route, SenderLogin, Usage, Verdict};
use mail_types::{Domain, ReversePath};

use super::super::backend::AccessTable;
use super::super::memory::Memory;
use super::super::{Directory, DirectoryError, Rules, Steps};
use super::{Asked, UNKNOWN, address, deliveries, directory, rules, site};

#[tokio::test]
async fn transports_by_the_order_of_their_keys() {
    let memory = || {
        site()
            .transport("bob+x@d.test", "smtp:[192.0.2.1]")
            .transport("bob@d.test", "smtp:[192.0.2.2]")
            .transport("d.test", ":")
            .transport("sub.away.test", "smtp:[192.0.2.3]")
            .transport(".away.test", "smtp:[192.0.2.4]")
            .transport("away.test", "lmtp:[192.0.2.5]")
            .transport("*", "relay:[192.0.2.6]")
    };
    let directory = directory(memory());
    for (text, host) in [
        ("bob+x@d.test", "192.0.2.1"),
        ("bob+y@d.test", "192.0.2.2"),
        ("u@sub.away.test", "192.0.2.3"),
        ("u@deep.er.away.test", "192.0.2.4"),
        ("u@other.test", "192.0.2.6"),
    ] {
        let route = directory.route(&address(text)).await.unwrap();
        assert!(
            matches!(&route, Route::Smtp(hop) if hop.host == host && hop.explicit),
            "{text}: {route:?}"
        );
    }
    assert!(matches!(
        directory.route(&address("u@away.test")).await.unwrap(),
        Route::Lmtp(_)
    ));
    assert_eq!(
        directory.route(&address("alice@d.test")).await.unwrap(),
        Route::Local
    );
    // It decides how mailboxes are delivered to, never who may relay (compat.md 2.3, TRAP-12).
    assert_eq!(deliveries(memory(), "bob@d.test").await, ["@bob@d.test"]);
    assert_eq!(deliveries(memory(), "alice@d.test").await, ["alice@d.test"]);
    assert_eq!(deliveries(memory(), "nobody@d.test").await, [UNKNOWN]);
    let foreign = directory
        .resolve(&Recipient::Address(address("u@away.test")))
        .await
        .unwrap();
    assert_eq!(foreign.class, DomainClass::Foreign);
    let memory = site().transport("d.test", "error:5.7.1 closed");
    assert_eq!(deliveries(memory, "bob@d.test").await, ["550 5.7.1 closed"]);
}

/// `:nexthop` names a hop, not another class: a domain with mailboxes keeps them, and relays for nobody.
#[tokio::test]
async fn a_next_hop_alone_changes_no_class() {
    let memory = || {
        site()
            .domain("hop.test", ":[192.0.2.9]")
            .mailbox("u@hop.test")
            .domain("backup.test", ":[192.0.2.9]")
            .with_domain("backup.test", |row| row.backupmx = true)
            .transport("away.test", ":[192.0.2.9]")
            .transport("d.test", ":[192.0.2.9]")
    };
    assert_eq!(deliveries(memory(), "u@hop.test").await, ["u@hop.test"]);
    assert_eq!(deliveries(memory(), "nobody@hop.test").await, [UNKNOWN]);
    let directory = directory(memory());
    for (text, relayed) in [
        ("u@hop.test", false),
        ("alice@d.test", false),
        ("x@backup.test", true),
        ("x@away.test", true),
    ] {
        let route = directory.route(&address(text)).await.unwrap();
        match route {
            Route::Smtp(hop) if relayed => assert_eq!(hop.host, "192.0.2.9", "{text}"),
            other => assert_eq!((other, relayed), (Route::Local, false), "{text}"),
        }
    }
}

#[tokio::test]
async fn who_moved_away() {
    let memory = || {
        site()
            .relocated("alice@d.test", "alice@new.test")
            .relocated("@closed.test", "+49 30 1234")
            .relocated("friend@away.test", "friend@new.test")
            .alias("list@d.test", "alice@d.test,bob@d.test")
            .alias("only@d.test", "alice@d.test")
            .domain("closed.test", "virtual")
            .domain("backup.test", "")
            .with_domain("backup.test", |row| row.backupmx = true)
            .relocated("u@backup.test", "u@new.test")
    };
    let moved = |to: &str| vec![format!("550 5.1.6 User has moved to {to}")];
    assert_eq!(
        deliveries(memory(), "Alice@d.test").await,
        moved("alice@new.test")
    );
    assert_eq!(
        deliveries(memory(), "alice+x@d.test").await,
        moved("alice@new.test")
    );
    assert_eq!(
        deliveries(memory(), "who@closed.test").await,
        moved("+49 30 1234")
    );
    assert_eq!(
        deliveries(memory(), "friend@away.test").await,
        moved("friend@new.test")
    );
    assert_eq!(deliveries(memory(), "u@backup.test").await, moved("u@new.test"));
    assert_eq!(deliveries(memory(), "only@d.test").await, moved("alice@new.test"));
    assert_eq!(
        deliveries(memory(), "list@d.test").await,
        ["*!alice@d.test", "*bob@d.test"]
    );
    assert_eq!(deliveries(memory(), "bob@d.test").await, ["bob@d.test"]);
    // What is in the queue hears it, too.
    let route = directory(memory()).route(&address("alice@d.test")).await.unwrap();
    assert_eq!(
        route,
        Route::Error("5.1.6 User has moved to alice@new.test".into())
    );
}

#[tokio::test]
async fn domains_with_aliases_only() {
    let memory = || {
        site()
            .domain("v.test", "virtual")
            .with_domain("v.test", |row| row.alias_only = true)
            .alias("sales@v.test", "alice@d.test")
            .bare_mailbox("box@v.test")
    };
    assert_eq!(deliveries(memory(), "sales@v.test").await, ["*alice@d.test"]);
    for text in ["nobody@v.test", "box@v.test"] {
        assert_eq!(
            deliveries(memory(), text).await,
            ["550 5.1.1 User unknown in virtual alias table"]
        );
    }
}

#[tokio::test]
async fn aliases_hold_for_domains_elsewhere_too() {
    let memory = || site().alias("friend@away.test", "alice@d.test");
    assert_eq!(deliveries(memory(), "friend@away.test").await, ["*alice@d.test"]);
    assert_eq!(
        deliveries(memory(), "other@away.test").await,
        ["@other@away.test"]
    );
    // The class is that of the address as typed: nobody relays because of a row.
    let resolution = directory(memory())
        .resolve(&Recipient::Address(address("friend@away.test")))
        .await
        .unwrap();
    assert_eq!(resolution.class, DomainClass::Foreign);
    // But not for a domain that is switched off.
    let memory = memory()
        .domain("away.test", "")
        .with_domain("away.test", |row| row.active = false);
    assert_eq!(
        deliveries(memory, "friend@away.test").await,
        ["@friend@away.test"]
    );
}

#[tokio::test]
async fn names_of_the_own_domain() {
    // own.test has no row: its names are those of alias_maps, and of the table of aliases.
    let memory = || {
        site()
            .local_alias("root", "alice@d.test, ops")
            .local_alias("ops", "bob@d.test")
            .local_alias("prog", "|/bin/prog, alice@d.test")
            .alias("team", "root")
    };
    assert_eq!(
        deliveries(memory(), "root@own.test").await,
        ["*alice@d.test", "*bob@d.test"]
    );
    assert_eq!(
        deliveries(memory(), "root+tag@own.test").await,
        ["*alice@d.test", "*bob@d.test"],
        "alias_maps pass no extension on"
    );
    assert_eq!(
        deliveries(memory(), "team@own.test").await,
        ["*alice@d.test", "*bob@d.test"]
    );
    assert_eq!(
        deliveries(memory(), "prog@own.test").await,
        ["!prog@own.test", "*alice@d.test"]
    );
    assert_eq!(
        deliveries(memory(), "nobody@own.test").await,
        ["550 5.1.1 User unknown in local recipient table"]
    );
    assert_eq!(deliveries(memory(), "root@d.test").await, [UNKNOWN]);
    // Under the name of the host, too.
    assert_eq!(
        deliveries(memory(), "root@mx.own.test").await,
        ["*alice@d.test", "*bob@d.test"]
    );
    // No key of another domain can be made of a quoted name.
    let catch_all = || memory().alias("@d.test", "bob@d.test");
    for name in [
        "\"@d.test\"@own.test",
        "\"alice@d.test\"@own.test",
        "\"@d.test+x\"@own.test",
    ] {
        assert_eq!(
            deliveries(catch_all(), name).await,
            ["550 5.1.1 User unknown in local recipient table"],
            "{name}"
        );
    }
    assert_eq!(
        deliveries(memory().alias("list@d.test", "root"), "list@d.test").await,
        ["*alice@d.test", "*bob@d.test"]
    );
}

#[tokio::test]
async fn sender_logins_by_table() {
    let memory = site()
        .sender("alice@d.test", "bob@d.test")
        .sender("sales@d.test", "Alice@d.test, bob@d.test")
        .sender("@e.test", "alice@d.test");
    let directory = directory(memory);
    let check = async |login: &str, sender: &str| {
        directory
            .check_sender_login(&address(login), &address(sender))
            .await
            .unwrap()
    };
    for (login, sender) in [
        ("bob@d.test", "alice@d.test"),
        ("alice@d.test", "sales@d.test"),
        ("bob@d.test", "sales+x@d.test"),
        ("alice@d.test", "any@e.test"),
    ] {
        assert_eq!(check(login, sender).await, SenderLogin::Owned, "{login} {sender}");
    }
    // The table alone decides, even about the login's own address.
    for (login, sender) in [
        ("alice@d.test", "alice@d.test"),
        ("bob@d.test", "bob@d.test"),
        ("bob@d.test", "any@e.test"),
    ] {
        assert_eq!(
            check(login, sender).await,
            SenderLogin::NotOwned,
            "{login} {sender}"
        );
    }
}

#[tokio::test]
async fn owners_from_rows() {
    let memory = site()
        .with_mailbox("alice@d.test", |row| {
            row.uid = Some(2001);
            row.gid = Some(2002);
        })
        .with_mailbox("bob@d.test", |row| row.uid = Some(0))
        .with_mailbox("boss@d.test", |row| row.gid = Some(0))
        .mailbox("low@d.test")
        .with_mailbox("low@d.test", |row| row.uid = Some(99));
    let directory = directory(memory);
    let lookup = async |text: &str| directory.lookup_mailbox(&address(text)).await.unwrap();
    let MailboxAnswer::Found(mailbox) = lookup("alice@d.test").await else {
        panic!()
    };
    assert_eq!((mailbox.uid, mailbox.gid), (2001, 2002));
    for text in ["bob@d.test", "boss@d.test", "low@d.test"] {
        assert!(
            matches!(lookup(text).await, MailboxAnswer::Misconfigured(_)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn absence_targets_are_no_deliveries() {
    let memory = || {
        site()
            .alias("alice@d.test", "alice@d.test,alice#d.test@autoreply.site.test")
            .alias("bob@d.test", "bob#d.test@autoreply.site.test")
            .alias("gone@d.test", "gone#d.test@autoreply.site.test")
            .alias("hash@d.test", "other#d.test@away.test")
    };
    assert_eq!(deliveries(memory(), "alice@d.test").await, ["alice@d.test"]);
    assert_eq!(deliveries(memory(), "alice+x@d.test").await, ["alice+x@d.test"]);
    // Nothing else in the list: his mailbox gets it, and without one it is refused, not swallowed.
    assert_eq!(deliveries(memory(), "bob@d.test").await, ["bob@d.test"]);
    assert_eq!(deliveries(memory(), "gone@d.test").await, [UNKNOWN]);
    // Only what spells the alias itself, unless the domain is configured.
    assert_eq!(
        deliveries(memory(), "hash@d.test").await,
        ["*@other#d.test@away.test"]
    );
    let rules = Rules {
        vacation_domain: Some(Domain::new("away.test").unwrap()),
        ..rules()
    };
    let directory = Directory::new(Arc::new(memory()), rules);
    let resolve = async |text: &str| {
        directory
            .resolve(&Recipient::Address(address(text)), &mut Steps::brief())
            .await
            .unwrap()
            .verdict
    };
    assert!(matches!(resolve("hash@d.test").await, Verdict::Refuse(_)));
    assert!(matches!(resolve("x#d.test@away.test").await, Verdict::Refuse(_)));
    let route = directory
        .route(&address("x#d.test@away.test"), &mut Steps::brief())
        .await;
    assert_eq!(route.unwrap(), Route::Discard);
}

#[tokio::test]
async fn whose_notice_answers() {
    let chain = (0..30).fold(site(), |memory, n| {
        memory.alias(&format!("n{n}@d.test"), &format!("n{}@d.test", n + 1))
    });
    let memory = chain
        .vacation("alice@d.test")
        .vacation("n15@d.test")
        .alias("sales@d.test", "bob@d.test,alice@d.test")
        .vacation("sales@d.test")
        .with_vacation("sales@d.test", |row| row.active_until = Some(999))
        .vacation("boss@d.test")
        .with_vacation("boss@d.test", |row| row.active_from = Some(1_001))
        .alias("@c.test", "alice@d.test")
        .domain("c.test", "")
        .alias_domain("m.test", "d.test");
    let rules = Rules {
        vacation_domain: Some(Domain::new("autoreply.test").unwrap()),
        ..rules()
    };
    let directory = Directory::new(Arc::new(memory), rules);
    let notice = async |text: &str| {
        directory
            .vacation(&address(text), 1_000, &mut Steps::brief())
            .await
            .unwrap()
            .map(|notice| notice.address.to_string())
    };
    for text in [
        "alice@d.test",
        "Alice+x@d.test",
        "sales@d.test",
        "alice@m.test",
        "any@c.test",
        "alice#d.test@autoreply.test",
        "alice+x#d.test@autoreply.test",
    ] {
        assert_eq!(notice(text).await.as_deref(), Some("alice@d.test"), "{text}");
    }
    assert_eq!(notice("n0@d.test").await.as_deref(), Some("n15@d.test"));
    // Twenty steps are enough.
    for text in ["n16@d.test", "bob@d.test", "boss@d.test", "x@away.test"] {
        assert_eq!(notice(text).await, None, "{text}");
    }
}

#[tokio::test]
async fn usage() {
    let memory = site().usage("alice@d.test", 1234, 5).usage("bob@d.test", -1, 2);
    let directory = Directory::new(Arc::new(memory), rules());
    let usage = async |text: &str| {
        directory
            .usage(&address(text), &mut Steps::brief())
            .await
            .unwrap()
    };
    let (bytes, messages) = (1234, 5);
    assert_eq!(usage("alice+x@d.test").await, Usage::Found { bytes, messages });
    assert_eq!(
        usage("bob@d.test").await,
        Usage::Found {
            bytes: 0,
            messages: 2
        }
    );
    assert_eq!(usage("boss@d.test").await, Usage::NotCounted);
    assert!(matches!(usage("x@d.test").await, Usage::Unknown(_)));
}

fn guarded() -> Memory {
    site()
        .access(AccessTable::Client, "192.0.2", "REJECT")
        .access(AccessTable::Client, "example.net", "OK")
        .access(AccessTable::Helo, "spam.test", "REJECT no")
        .access(AccessTable::Sender, "<>", "DEFER")
        .access(AccessTable::Sender, "good@", "OK")
        .access(AccessTable::Sender, "evil.test", "REJECT")
        .access(AccessTable::Sender, "friend@evil.test", "DUNNO")
        .access(AccessTable::Recipient, "alice@d.test", "550 gone")
}

#[tokio::test]
async fn access_by_the_order_of_its_keys() {
    let directory = Directory::new(Arc::new(guarded()), rules());
    let hits = async |question: &Question| {
        let answer = directory
            .check_access(question, &mut Steps::brief())
            .await
            .unwrap();
        assert_eq!(answer.tables.len(), 4);
        let told = answer.hits.iter();
        told.map(|hit| format!("{} {} {}", hit.table.as_str(), hit.key, hit.action))
            .collect::<Vec<_>>()
    };
    let of_client = |name: &str, ip: &str| Question {
        client: Some(Client {
            name: name.into(),
            address: ip.parse().ok(),
        }),
        ..Question::default()
    };
    assert_eq!(
        hits(&of_client("mx.example.net", "192.0.2.7")).await,
        ["client example.net OK"]
    );
    assert_eq!(hits(&of_client("", "192.0.2.7")).await, ["client 192.0.2 REJECT"]);
    let of_sender = |text: &str| Question {
        sender: Some(text.parse().unwrap()),
        ..Question::default()
    };
    for (sender, hit) in [
        ("friend+x@evil.test", "sender friend@evil.test DUNNO"),
        ("good@sub.evil.test", "sender evil.test REJECT"),
        ("good@fine.test", "sender good@ OK"),
    ] {
        assert_eq!(hits(&of_sender(sender)).await, [hit], "{sender}");
    }
    let question = Question {
        sender: Some(ReversePath::Null),
        helo: Some("MX.Spam.test.".into()),
        recipient: Some(address("Alice+x@d.test")),
        client: None,
    };
    assert_eq!(
        hits(&question).await,
        [
            "helo spam.test REJECT no",
            "sender <> DEFER",
            "recipient alice@d.test 550 gone"
        ]
    );
}

#[tokio::test]
async fn sites_without_access_tables_are_told_so_for_nothing() {
    let memory = Arc::new(site());
    let directory = Directory::new(memory.clone(), rules());
    let question = Question {
        recipient: Some(address("alice@d.test")),
        ..Question::default()
    };
    let answer = directory
        .check_access(&question, &mut Steps::brief())
        .await
        .unwrap();
    assert!(answer.tables.is_empty() && answer.hits.is_empty());
    assert_eq!(memory.asked.load(std::sync::atomic::Ordering::SeqCst), 0);
    let some = Directory::new(Arc::new(site().access(AccessTable::Helo, "x", "OK")), rules());
    let answer = some.check_access(&question, &mut Steps::brief()).await.unwrap();
    assert_eq!(answer.tables, [Table::Helo]);
}

#[tokio::test]
async fn local_delivery_is_for_the_own_domain_only() {
    let memory = site().transport("d.test", "local:");
    let error = directory(memory)
        .resolve(&Recipient::Address(address("alice@d.test")))
        .await;
    assert!(matches!(error, Err(DirectoryError::Misconfigured(_))));
    let memory = site()
        .local_alias("root", "alice@d.test")
        .transport("own.test", "local:")
        .bare_mailbox("box@own.test");
    assert_eq!(deliveries(memory, "box@own.test").await, ["box@own.test"]);
    // Or for one that has this transport, where there is a table of names.
    let memory = || {
        site()
            .domain("l.test", "local:")
            .local_alias("ops", "alice@d.test")
    };
    assert_eq!(deliveries(memory(), "ops@l.test").await, ["*alice@d.test"]);
    assert_eq!(
        deliveries(memory(), "nobody@l.test").await,
        ["550 5.1.1 User unknown in local recipient table"]
    );
}

/// compat.md 2.3: relay_domains is in parent_domain_matches_subdomains, virtual_mailbox_domains is not.
#[tokio::test]
async fn what_lies_below_a_relay_domain() {
    let memory = Memory::default()
        .domain("backup.test", "")
        .with_domain("backup.test", |row| row.backupmx = true)
        .domain("off.test", "")
        .with_domain("off.test", |row| {
            row.backupmx = true;
            row.active = false;
        })
        .domain("hub.test", "smtp:[10.0.0.1]")
        .domain("d.test", "virtual")
        .domain("all", "smtp:[10.0.0.2]");
    let memory = Arc::new(memory);
    let below = Rules {
        relay_subdomains: true,
        ..rules()
    };
    let directory = Asked::new(memory.clone(), below);
    let class = async |directory: &Asked, text: &str| {
        let recipient = Recipient::Address(address(text));
        directory.resolve(&recipient).await.unwrap().class
    };
    for (text, expected) in [
        ("u@backup.test", DomainClass::Relay),
        ("u@sub.backup.test", DomainClass::Relay),
        ("u@a.b.c.d.e.f.g.h.i.j.backup.test", DomainClass::Relay),
        ("u@sub.hub.test", DomainClass::Relay),
        ("u@sub.off.test", DomainClass::Foreign),
        ("u@sub.d.test", DomainClass::Foreign),
        ("u@notbackup.test", DomainClass::Foreign),
        ("u@host.all", DomainClass::Foreign),
    ] {
        assert_eq!(class(&directory, text).await, expected, "{text}");
    }
    let route = directory.route(&address("u@sub.hub.test")).await.unwrap();
    assert!(route.to_string().contains("10.0.0.1"), "{route}");
    // Tables of transports only name no relay domains.
    assert_eq!(
        class(&Asked::new(memory, rules()), "u@sub.backup.test").await,
        DomainClass::Foreign
    );
}

//! Folders: making, renaming, deleting, listing, subscribing; and names that must not work.

use super::world::World;

#[tokio::test]
async fn the_life_of_folders() {
    let world = World::new("").await;
    let mut client = world.log_in().await;
    for name in ["Sent", "a.b", "\"Entw&APw-rfe\"", "Lists."] {
        client.ok(&format!("CREATE {name}")).await;
    }
    client.tagged("CREATE Sent", "NO [ALREADYEXISTS]").await;
    client.tagged("CREATE INBOX.Sent", "NO [ALREADYEXISTS]").await;
    client.tagged("CREATE inbox", "NO [").await;
    assert_eq!(
        client.ok("LIST \"\" *").await,
        [
            "* LIST (\\HasNoChildren) \".\" \"Entw&APw-rfe\"",
            "* LIST (\\HasNoChildren) \".\" \"INBOX\"",
            "* LIST (\\HasNoChildren) \".\" \"Lists\"",
            "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent\"",
            "* LIST (\\Noselect \\HasChildren) \".\" \"a\"",
            "* LIST (\\HasNoChildren) \".\" \"a.b\"",
        ]
    );
    assert_eq!(
        client.ok("LIST \"\" \"\"").await,
        ["* LIST (\\Noselect) \".\" \"\""]
    );
    client.ok("RENAME a x").await;
    assert_eq!(
        client.ok("LIST x. %").await,
        ["* LIST (\\HasNoChildren) \".\" \"x.b\""]
    );
    client.ok("SUBSCRIBE x.b").await;
    client.ok("SUBSCRIBE INBOX.Sent").await;
    assert_eq!(
        client.ok("LSUB \"\" *").await,
        [
            "* LSUB (\\HasNoChildren \\Sent) \".\" \"Sent\"",
            "* LSUB (\\HasNoChildren) \".\" \"x.b\"",
        ]
    );
    client.ok("UNSUBSCRIBE Sent").await;
    assert_eq!(
        client.ok("LSUB \"\" %").await,
        ["* LSUB (\\Noselect) \".\" \"x\""]
    );
    client.ok("SELECT INBOX.x.b").await;
    client.ok("DELETE x.b").await;
    client.tagged("CHECK", "BAD No mailbox selected").await;
    client.tagged("DELETE x.b", "NO [NONEXISTENT]").await;
    client.tagged("SELECT x", "NO [NONEXISTENT]").await;
    assert!(
        world
            .events()
            .iter()
            .filter(|event| *event == "folder_changed")
            .count()
            >= 6
    );
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    // robustness.md I15, I17, I18
    let world = World::new("").await;
    let mut client = world.log_in().await;
    let long = "x".repeat(256);
    for name in [
        "../../x",
        "..",
        "/etc/x",
        "a/../../b",
        ".x",
        "a..b",
        "a//b",
        "\"\"",
        "~root/x",
        "a&b",
        &long,
        &vec!["x"; 1000].join("."),
    ] {
        client.tagged(&format!("CREATE {name}"), "NO [CANNOT]").await;
    }
    client.tagged("CREATE {3+}\r\na\nb", "NO [CANNOT]").await;
    client.tagged("SUBSCRIBE {2+}\r\n\r\n", "NO [CANNOT]").await;
    client.ok("CREATE Box").await;
    for command in ["RENAME INBOX ../x", "RENAME Box Box.child", "DELETE INBOX"] {
        client.tagged(command, "NO [CANNOT]").await;
    }
    client.tagged("RENAME Box INBOX", "NO [ALREADYEXISTS]").await;
    client.tagged("SELECT \"Other Users/x/INBOX\"", "NO [").await;
    // They are names like others here, and stay inside.
    for name in ["new", "cur", "tmp"] {
        client.ok(&format!("CREATE {name}")).await;
        assert!(world.files("").contains(&format!(".{name}")));
    }
}

#[tokio::test]
async fn renaming_inbox_moves_its_messages() {
    let world = World::new("").await;
    world.put("1.a", "Subject: x\n\nbody\n");
    let mut client = world.log_in().await;
    client.ok("RENAME INBOX Old").await;
    assert_eq!(
        client.ok("STATUS Old (MESSAGES)").await,
        ["* STATUS \"Old\" (MESSAGES 1)"]
    );
    assert_eq!(
        client.ok("STATUS INBOX (MESSAGES)").await,
        ["* STATUS \"INBOX\" (MESSAGES 0)"]
    );
}

#[tokio::test]
async fn a_folder_that_was_left_is_kept_and_still_looked_at() {
    let world = World::new("").await;
    let mut client = world.select("INBOX").await;
    client.ok("UNSELECT").await;
    assert_eq!(world.kept(), 1);
    world.put("1.a", "Subject: x\n\nbody\n");
    assert!(client.ok("SELECT INBOX").await.contains(&"* 1 EXISTS".to_owned()));
    client.ok("CREATE Box").await;
    client.ok("SELECT Box").await;
    client.append("Box", "a: b\r\n").await;
    client.ok("UNSELECT").await;
    assert_eq!(world.kept(), 2);
    // Removed and made again by somebody else: another directory, so another folder.
    std::fs::remove_dir_all(world.maildir().join(".Box")).unwrap();
    client.tagged("SELECT Box", "NO [NONEXISTENT]").await;
    client.ok("CREATE Box").await;
    assert!(client.ok("SELECT Box").await.contains(&"* 0 EXISTS".to_owned()));
}

//! Rows that change: by others, by ourselves, and while a pass runs.

use super::*;

#[tokio::test]
async fn what_is_written_while_the_file_is_replaced_is_not_lost() {
    let world = World::new(false);
    drop(world.filled().await);
    let origin = Origin {
        tables: "x".into(),
        servers: String::new(),
    };
    let file = Arc::new(crate::replica::file::File::open(&world.settings.path, origin));
    let work = move || {
        let new = file.making();
        let connection = crate::replica::format::create(&new).unwrap();
        let mut writer = None;
        file.replace(&new, |old| {
            crate::replica::format::set_meta(&connection, &old.unwrap().meta()).unwrap();
            connection.close().unwrap();
            let (file, (done, written)) = (file.clone(), std::sync::mpsc::channel());
            writer = Some(std::thread::spawn(move || {
                let row = mailbox("late@d.test", "hash");
                let put = |connection: &Connection, _: &mut Meta| {
                    crate::replica::rows::put(connection, Kind::Mailbox, "late@d.test", 5, &row)
                };
                file.change(put).unwrap();
                let _ = done.send(());
            }));
            // It has to wait, for the old file is not carried over any more.
            let waited = written.recv_timeout(Duration::from_millis(100));
            assert_eq!(waited, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
            Ok(())
        })
        .unwrap();
        writer.unwrap().join().unwrap();
        let connection = crate::replica::format::open(file.path()).unwrap();
        assert!(
            crate::replica::rows::get_login(&connection, "late@d.test")
                .unwrap()
                .is_some()
        );
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test]
async fn our_own_changes_hold_at_once() {
    let world = World::new(true);
    let layer = world.filled().await;
    let mailboxes = [(Kind::Mailbox, "u@d.test"), (Kind::Alias, "a@d.test")];
    world
        .tables
        .set(Kind::Mailbox, "u@d.test", mailbox("u@d.test", "new"));
    world.tables.remove(Kind::Alias, "a@d.test");
    assert!(layer.changed(&mailboxes).await);
    world.tables.mode(Mode::Errors);
    let row = layer.login("u@d.test").await.unwrap().row.unwrap();
    assert_eq!((row.password, row.app_passwords.len()), (Secret::new("new"), 1));
    assert_eq!(layer.alias("a@d.test").await.unwrap().row, None);
    // The database goes away right behind the change: what was true before must not be.
    assert!(layer.changed(&mailboxes).await);
    assert!(layer.login("u@d.test").await.unwrap().row.is_none());
}

#[tokio::test]
async fn our_own_changes_outlast_the_pass_that_runs() {
    for whole in [true, false] {
        let mut world = World::new(true);
        world.settings.max_rows = 100_000;
        if !whole {
            world.many_aliases();
        }
        let layer = world.filled().await;
        // The pass has read the mailboxes, but not yet written them.
        world.tables.hold.store(true, Ordering::SeqCst);
        let mut served = layer.refresher.served.subscribe();
        let request = layer.request_refresh(whole);
        while !world.tables.held.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        world
            .tables
            .set(Kind::Mailbox, "u@d.test", mailbox("u@d.test", "new"));
        assert!(layer.changed(&[(Kind::Mailbox, "u@d.test")]).await);
        world.tables.hold.store(false, Ordering::SeqCst);
        served.wait_for(|served| *served >= request).await.unwrap();
        assert_eq!(layer.status().await.last.unwrap().whole, whole);
        world.tables.mode(Mode::Errors);
        let row = layer.login("u@d.test").await.unwrap().row.unwrap();
        assert_eq!(row.password, Secret::new("new"));
    }
}

#[tokio::test]
async fn what_is_asked_for_during_a_pass_is_whole_too() {
    let mut world = World::new(true);
    world.settings.max_rows = 100_000;
    world.many_aliases();
    let layer = world.filled().await;
    world.tables.hold.store(true, Ordering::SeqCst);
    layer.request_refresh(false);
    while !world.tables.held.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let mut served = layer.refresher.served.subscribe();
    let request = layer.request_refresh(true);
    world.tables.hold.store(false, Ordering::SeqCst);
    served.wait_for(|served| *served >= request).await.unwrap();
    assert!(layer.status().await.last.unwrap().whole);
    // One that fails leaves the wish.
    world.tables.mode(Mode::Errors);
    assert!(layer.refresh(true).await.unwrap().error.is_some());
    world.tables.mode(Mode::Works);
    assert!(layer.refresh(false).await.unwrap().whole);
}

#[tokio::test]
async fn statements_of_the_site_are_asked_by_a_pass() {
    let world = World::new(false);
    let layer = world.filled().await;
    assert_eq!(layer.status().await.meta.unwrap().true_at(), 0);
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
    while layer.status().await.extent.rows.is_empty() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(Duration::from_secs(600));
    pass(&layer).await;
    // What is in it has not become newer by that.
    let meta = layer.status().await.meta.unwrap();
    assert_eq!((meta.true_at(), meta.read_at), (2_000_000_000, 2_000_000_600));
    // These do not need the tables to know what they can answer.
    world.tables.mode(Mode::NoRows);
    world.clock.advance(Duration::from_secs(600));
    pass(&layer).await;
    assert!(layer.status().await.last.unwrap().error.is_some());
    assert_eq!(layer.status().await.meta.unwrap().read_at, 2_000_000_600);
}

#[tokio::test]
async fn a_domain_is_switched_without_its_mailboxes() {
    let mut world = World::new(true);
    world.settings.max_rows = 100_000;
    world.many_aliases();
    let domain = |active| {
        Listed::Domain(DomainRow {
            active,
            backupmx: false,
            alias_only: false,
            transport: "virtual".into(),
        })
    };
    let Listed::Mailbox(mut row) = mailbox("u@d.test", "hash") else {
        panic!()
    };
    row.domain_active = false;
    world.tables.set(Kind::Domain, "d.test", domain(false));
    world.tables.set(Kind::Mailbox, "u@d.test", Listed::Mailbox(row));
    let layer = world.filled().await;
    let active = async || {
        world.tables.mode(Mode::Errors);
        let row = layer.login("u@d.test").await.unwrap().row.unwrap();
        world.tables.mode(Mode::Works);
        row.domain_active
    };
    assert!(!active().await);
    // As the row of the domain alone is read again.
    world.clock.advance(Duration::from_secs(60));
    world.tables.set(Kind::Domain, "d.test", domain(true));
    layer.changed(&[(Kind::Domain, "d.test")]).await;
    assert!(active().await);
    world.tables.set(Kind::Domain, "d.test", domain(false));
    layer.changed(&[(Kind::Domain, "d.test")]).await;
    assert!(!active().await);
}

#[tokio::test]
async fn big_tables_are_read_by_what_changed() {
    let mut world = World::new(true);
    world.settings.max_rows = 100_000;
    world.many_aliases();
    let layer = world.filled().await;
    assert_eq!(layer.status().await.last.unwrap().rows, SMALL_AND_SOME + 3);
    assert!(!world.tables.recent.load(Ordering::Relaxed));
    world
        .tables
        .set(Kind::Mailbox, "u@d.test", mailbox("u@d.test", "changed"));
    let last = layer.refresh(false).await.unwrap();
    assert!(
        !last.whole && world.tables.recent.load(Ordering::Relaxed),
        "{last:?}"
    );
    world.tables.mode(Mode::Errors);
    let row = layer.login("u@d.test").await.unwrap().row.unwrap();
    assert_eq!(
        (row.password, row.app_passwords.len()),
        (Secret::new("changed"), 1)
    );
    // A new process knows how many rows there are without counting them.
    world.tables.mode(Mode::Works);
    drop(layer);
    let layer = world.open("x");
    assert_eq!(layer.status().await.extent.rows["alias"], SMALL_AND_SOME + 1);
    assert!(!layer.refresh(false).await.unwrap().whole);
    // After full_refresh_interval everything again.
    world.clock.advance(Duration::from_secs(7200));
    assert!(layer.refresh(false).await.unwrap().whole);
}

#[tokio::test]
async fn a_new_process_reads_small_tables_whole() {
    let world = World::new(true);
    drop(world.filled().await);
    world.tables.remove(Kind::Alias, "a@d.test");
    let layer = world.open("x");
    assert!(layer.refresh(false).await.unwrap().whole);
    world.tables.mode(Mode::Errors);
    assert_eq!(layer.alias("a@d.test").await.unwrap().row, None);
}

//! The file itself: locked, damaged, readable for others.

use super::*;

#[tokio::test]
async fn a_file_that_is_locked_for_a_while_is_not_given_up() {
    let world = World::new(true);
    let layer = world.filled().await;
    world.tables.mode(Mode::Errors);
    // Whoever that is: a backup, an operator's shell.
    let other = Connection::open(&world.settings.path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(layer.login("u@d.test").await.is_err());
    other.execute_batch("COMMIT").unwrap();
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
    drop(layer);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let layer = world.open("x");
    assert!(world.settings.path.exists());
    other.execute_batch("COMMIT").unwrap();
    // The first pass opens it, though it finds no tables to read.
    pass(&layer).await;
    assert!(layer.login("u@d.test").await.unwrap().row.is_some());
}

#[tokio::test]
async fn a_damaged_file_is_made_anew() {
    use std::io::{Seek as _, Write as _};
    let world = World::new(true);
    for number in 0..800 {
        let key = format!("{number}@d.test");
        world.tables.set(Kind::Mailbox, &key, mailbox(&key, "hash"));
    }
    let layer = world.filled().await;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(&world.settings.path)
        .unwrap();
    let size = file.metadata().unwrap().len();
    // Behind what the file says about itself.
    file.seek(std::io::SeekFrom::Start(size / 2)).unwrap();
    file.write_all(&vec![7; usize::try_from(size / 2).unwrap()])
        .unwrap();
    world.tables.mode(Mode::Errors);
    for number in 0..800 {
        let _ = layer.login(&format!("{number}@d.test")).await;
    }
    assert!(layer.status().await.meta.is_none());
    pass(&layer).await;
    assert!(layer.status().await.meta.is_none());
    world.tables.mode(Mode::Works);
    pass(&layer).await;
    world.tables.mode(Mode::Errors);
    assert!(layer.login("799@d.test").await.unwrap().row.is_some());
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone_and_needs_no_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(true);
    let _layer = world.filled().await;
    let list = std::fs::read_dir(world.settings.path.parent().unwrap()).unwrap();
    let names: Vec<_> = list.map(|entry| entry.unwrap()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let mode = names[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let check: String = Connection::open(&world.settings.path)
        .unwrap()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

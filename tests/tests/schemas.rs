//! Tables of every form that sites have, in a real MariaDB and in SQLite: every question is asked over authd's
//! sockets and has the answer of compat.md.

#[path = "schemas/bench.rs"]
mod bench;
#[path = "../../crates/authd/tests/common/mod.rs"]
mod common;
#[path = "schemas/rows.rs"]
mod rows;

use anyhow::{Context as _, Result, ensure};
use bench::{Bench, same};
use rows::{Family, common_answers};
use tests::backend::{Backend, Engine, Form};
use tests::schema;

/// The page whose examples are tested here.
const PAGE: &str = include_str!("../../docs/schemas.md");
/// An upgrade of 2.1 that stopped half way (setup of 2.3): compat.md 1.1.
const UPGRADED: &str = "
ALTER TABLE domain ADD quota bigint(20) NOT NULL DEFAULT 0;
ALTER TABLE mailbox MODIFY quota bigint(20) NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD local_part varchar(255) NOT NULL DEFAULT '';
CREATE TABLE alias_domain (
  alias_domain varchar(255) NOT NULL DEFAULT '' PRIMARY KEY, target_domain varchar(255) NOT NULL DEFAULT '',
  created datetime NOT NULL DEFAULT '0000-00-00 00:00:00', modified datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE quota (
  username varchar(255) NOT NULL, path varchar(100) NOT NULL, current bigint(20), PRIMARY KEY (username, path));
";

/// An example of the page.
fn example(name: &str) -> Result<String> {
    let mark = format!("<!-- custom: {name} -->\n```toml\n");
    let (_, rest) = PAGE
        .split_once(&mark)
        .with_context(|| format!("no example {name}"))?;
    let (text, _) = rest.split_once("```").context("an example without an end")?;
    Ok(text.to_owned())
}

fn tables(engine: Engine, form: Form) -> &'static str {
    schema::tables(Backend { engine, form })
}

fn panel(form: Form) -> Family {
    Family::PostfixAdmin {
        marked: form != Form::V2_1,
        local_part: form != Form::V2_1,
    }
}

/// Rows of PostfixAdmin that no other family has.
const PANEL_ROWS: &str = "
INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, transport, backupmx, active) VALUES
  ('ALL', '', 0, 0, 0, '', 0, 1), ('off.test', '', 0, 0, 0, 'virtual', 0, 0), ('backup.test', '', 0, 0, 0, 'virtual', 1, 1),
  ('relay.test', '', 0, 0, 0, 'smtp:[192.0.2.9]:26', 0, 1);
INSERT INTO alias (address, goto, domain, active) VALUES
  ('idle@d.test', 'alice@d.test', 'd.test', 0), ('sales@relay.test', 'alice@d.test', 'relay.test', 1);
UPDATE mailbox SET quota = 512000 WHERE username = 'alice@d.test';
";

/// What PostfixAdmin's tables say beyond the common answers. By SQL of its manuals a backup MX has aliases, and
/// only mailboxes own their senders.
fn panel_answers(bench: &Bench, by_sql: bool) -> Result<()> {
    bench.recipients(&[
        ("idle@d.test", "550 5.1.1 User unknown in virtual mailbox table"),
        ("x@off.test", "Foreign: @x@off.test"),
        ("x@all", "Foreign: @x@all"),
        ("any@backup.test", "Relay: @any@backup.test"),
        ("any@relay.test", "Relay: @any@relay.test"),
        ("sales@relay.test", "Relay: alice@d.test"),
    ])?;
    same("route", bench.route("alice@d.test"), "local")?;
    same("backup MX", bench.route("any@backup.test"), "mx backup.test")?;
    same("relay", bench.route("any@relay.test"), "host 192.0.2.9:26")?;
    same(
        "quota",
        bench.mailbox("alice+x@d.test"),
        "d.test/alice/ 5000:5000 512000",
    )?;
    ensure!(bench.owns("alice@d.test", "alice+x@d.test")?, "own address");
    ensure!(bench.owns("alice@d.test", "list@d.test")? != by_sql, "alias");
    ensure!(!bench.owns("alice@d.test", "carol@c.test")?, "another's address");
    bench
        .database
        .execute("UPDATE mailbox SET active = 0 WHERE username = 'carol@c.test'")?;
    bench.logins(&[("carol@c.test", "Secret 1", "no")])?;
    bench.recipients(&[("carol@c.test", "550 5.1.1 User unknown in virtual mailbox table")])?;
    bench
        .database
        .execute("UPDATE domain SET active = 0 WHERE domain = 'c.test'")?;
    bench
        .database
        .execute("UPDATE mailbox SET active = 1 WHERE username = 'carol@c.test'")?;
    bench.logins(&[("carol@c.test", "Secret 1", "no")])
}

fn mirror_answers(bench: &Bench) -> Result<()> {
    bench
        .database
        .execute(&schema::insert_alias_domain("m.test", "d.test"))?;
    let row = "INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, transport, backupmx, active) \
               VALUES ('m.test', '', 0, 0, 0, 'virtual', 0, 1)";
    bench.database.execute(row)?;
    for (recipient, ends) in [
        ("alice@m.test", "alice@d.test"),
        ("list@m.test", "alice@d.test @far@away.test"),
        ("one+t@m.test", "alice+t@d.test @other+t@away.test"),
    ] {
        let told = bench.recipient(recipient)?;
        ensure!(told.ends_with(&format!(": {ends}")), "{recipient}: {told}");
    }
    ensure!(
        bench.recipient("nobody@m.test")?.starts_with("550 5.1.1"),
        "unknown user of a mirror"
    );
    bench.database.execute("UPDATE alias_domain SET active = 0")?;
    let told = bench.recipient("alice@m.test")?;
    ensure!(told.starts_with("550 5.1.1"), "inactive mirror: {told}");
    Ok(())
}

/// Vacation and usage; both tables came with later versions.
fn notices(bench: &Bench, form: Form, engine: Engine) -> Result<()> {
    let database = &bench.database;
    if form == Form::V2_1 {
        database.execute(
            "INSERT INTO vacation (email, subject, body, cache, domain) VALUES \
             ('alice@d.test', 'Away', 'back soon', '', 'd.test')",
        )?;
        same(
            "vacation",
            bench.vacation("alice@d.test"),
            "alice@d.test Away: None to None every 0",
        )?;
        return same("usage", bench.usage("alice@d.test"), "not counted");
    }
    let dates = match engine {
        Engine::MariaDb => "FROM_UNIXTIME(1700000000), FROM_UNIXTIME(2000000000)",
        Engine::Sqlite => "'2023-11-14 22:13:20', '2033-05-18 03:33:20'",
    };
    database.execute(&format!(
        "INSERT INTO vacation (email, subject, body, cache, domain, interval_time, activefrom, activeuntil, active) \
         VALUES ('alice@d.test', 'Away', 'back soon', '', 'd.test', 3600, {dates}, 1), \
         ('carol@c.test', 'Away', '', '', 'c.test', 0, {dates}, 0); \
         INSERT INTO quota2 (username, bytes, messages) VALUES ('alice@d.test', 77, 3)"
    ))?;
    let away = "alice@d.test Away: Some(1700000000) to Some(2000000000) every 3600";
    same("vacation", bench.vacation("alice@d.test"), away)?;
    same("inactive vacation", bench.vacation("carol@c.test"), "none")?;
    same("usage", bench.usage("alice@d.test"), "77 3")?;
    same("no usage", bench.usage("carol@c.test"), "not counted")?;
    same("usage of nobody", bench.usage("nobody@d.test"), "unknown")
}

/// Passwords that end, submission that is switched off, passwords of programs.
fn later_columns(bench: &Bench, form: Form) -> Result<()> {
    let database = &bench.database;
    database.execute("UPDATE mailbox SET password_expiry = '2001-01-01 00:00:00'")?;
    bench.logins(&[("alice@d.test", "Secret 1", "yes")])?;
    database.execute("UPDATE domain SET password_expiry = 90 WHERE domain = 'd.test'")?;
    bench.logins(&[("alice@d.test", "Secret 1", "no")])?;
    database.execute("UPDATE mailbox SET password_expiry = '2030-01-01 00:00:00'")?;
    bench.logins(&[("alice@d.test", "Secret 1", "yes")])?;
    if form == Form::V4_0 {
        database.execute(
            "INSERT INTO mailbox_app_password (username, description, password_hash) \
             VALUES ('alice@d.test', 'phone', '{PLAIN}app secret')",
        )?;
        bench.logins(&[
            ("alice@d.test", "app secret", "yes"),
            ("carol@c.test", "app secret", "no"),
        ])?;
        database.execute("UPDATE mailbox SET smtp_active = 0")?;
        ensure!(
            bench.login("smtp", "alice@d.test", "Secret 1") == "no",
            "smtp_active"
        );
        bench.logins(&[("alice@d.test", "Secret 1", "yes")])?;
    }
    Ok(())
}

fn postfixadmin(backend: Backend) -> Result<()> {
    let Backend { engine, form } = backend;
    let family = panel(form);
    let rows = family.rows(engine);
    let bench = Bench::new(
        engine,
        &[tables(engine, form), &rows, PANEL_ROWS],
        "[authd]\npassword_expiry = \"enforce\"\n",
    )?;
    common_answers(&bench)?;
    notices(&bench, form, engine)?;
    if form != Form::V2_1 {
        later_columns(&bench, form)?;
        mirror_answers(&bench)?;
    }
    panel_answers(&bench, false)?;
    bench.end();
    Ok(())
}

#[test]
fn postfixadmin_of_all_versions() -> Result<()> {
    tests::backend::each(postfixadmin)
}

#[test]
fn postfixadmin_between_versions() -> Result<()> {
    let family = Family::PostfixAdmin {
        marked: false,
        local_part: true,
    };
    let rows = family.rows(Engine::MariaDb);
    let tables = [tables(Engine::MariaDb, Form::V2_1), UPGRADED, &rows, PANEL_ROWS];
    let bench = Bench::new(
        Engine::MariaDb,
        &tables,
        "[authd]\nunmarked_passwords = \"cleartext\"\n",
    )?;
    common_answers(&bench)?;
    mirror_answers(&bench)?;
    bench.database.execute(
        "INSERT INTO quota VALUES ('alice@d.test', 'quota/storage', 512), ('alice@d.test', 'quota/messages', 4)",
    )?;
    same("usage", bench.usage("alice@d.test"), "512 4")?;
    panel_answers(&bench, false)?;
    bench.end();
    Ok(())
}

#[test]
fn postfixadmin_with_other_names() -> Result<()> {
    let rows = panel(Form::V4_0).rows(Engine::MariaDb);
    let rename = "RENAME TABLE mailbox TO mail_users, domain TO mail_domain, alias TO mail_alias, \
                  alias_domain TO mail_alias_domain, quota2 TO mail_quota2";
    let names = "[authd]\npostfixadmin.database_prefix = \"mail_\"\n\
                 postfixadmin.database_tables = [\"mailbox=users\"]\n";
    let tables = [tables(Engine::MariaDb, Form::V4_0), &rows, rename];
    let bench = Bench::new(Engine::MariaDb, &tables, names)?;
    common_answers(&bench)?;
    bench.end();
    Ok(())
}

#[test]
fn postfixadmin_by_its_own_sql() -> Result<()> {
    for (engine, form) in [
        (Engine::MariaDb, Form::V3_3),
        (Engine::MariaDb, Form::V4_0),
        (Engine::Sqlite, Form::V4_0),
    ] {
        let mut config = example("postfixadmin")?;
        if form == Form::V3_3 {
            config = config.replace("mailbox.smtp_active, ", "");
        }
        if engine == Engine::Sqlite {
            config = config
                .replace("CONCAT('%u', '@', ", "('%u' || '@' || ")
                .replace("CONCAT('@', ", "('@' || ")
                .replace("UNIX_TIMESTAMP(", "strftime('%%s', ");
        }
        let rows = panel(form).rows(engine);
        let bench = Bench::new(engine, &[tables(engine, form), &rows, PANEL_ROWS], &config)?;
        let asked = || {
            common_answers(&bench)?;
            notices(&bench, form, engine)?;
            mirror_answers(&bench)?;
            panel_answers(&bench, true)
        };
        asked().with_context(|| format!("{engine:?}, {form:?}"))?;
        ensure!(bench.change().contains("\"custom\""), "{}", bench.change());
        bench.end();
    }
    Ok(())
}

#[test]
fn maps_of_the_guides_over_postfixadmin_2() -> Result<()> {
    let engine = Engine::MariaDb;
    let form = Form::V2_1;
    for name in ["tutorial-1", "tutorial-4"] {
        let family = Family::PostfixAdmin {
            marked: name == "tutorial-4",
            local_part: false,
        };
        let rows = family.rows(engine);
        let config = example(name)?;
        let bench = Bench::new(engine, &[tables(engine, form), &rows, PANEL_ROWS], &config)?;
        let asked = || {
            common_answers(&bench)?;
            bench.recipients(&[("idle@d.test", "550 5.1.1 User unknown in virtual mailbox table")])?;
            if name == "tutorial-4" {
                same(
                    "backup MX",
                    bench.recipient("a@backup.test"),
                    "Relay: @a@backup.test",
                )?;
                same(
                    "quota",
                    bench.mailbox("alice@d.test"),
                    "d.test/alice/ 5000:5000 512000",
                )?;
            }
            bench.database.execute("UPDATE mailbox SET active = 0")?;
            bench.logins(&[("alice@d.test", "Secret 1", "no")])
        };
        asked().with_context(|| name.to_owned())?;
        bench.end();
    }
    Ok(())
}

/// The tables and rows of tutorial 2, by the profile and by its maps.
fn domains_users(engine: Engine, config: &str) -> Result<()> {
    let tables = match engine {
        Engine::MariaDb => include_str!("../schema/domains-users.mysql.sql"),
        Engine::Sqlite => include_str!("../schema/domains-users.sqlite.sql"),
    };
    let family = Family::DomainsUsers;
    let own = ["address@mydomain.com", "otheraddress@mydomain.com", "Bob@d.test"];
    let own: String = own
        .iter()
        .map(|address| family.mailbox(address, engine))
        .collect();
    let bench = Bench::new(engine, &[tables, &family.rows(engine), &own], config)?;
    common_answers(&bench)?;
    bench.recipients(&[
        (
            "myforward@mydomain.com",
            "Mailbox: address@mydomain.com otheraddress@mydomain.com",
        ),
        ("x@transport.com", "Foreign: @x@transport.com"),
    ])?;
    same(
        "transport",
        bench.route("x@transport.com"),
        "mx mail.transport.com",
    )?;
    same(
        "mailbox",
        bench.mailbox("address@mydomain.com"),
        "mydomain.com/address/ 5000:5000 102400",
    )?;
    if engine == Engine::MariaDb {
        // The path is made of what is written, not of what was asked for.
        same(
            "mailbox",
            bench.mailbox("bob@d.test"),
            "d.test/Bob/ 5000:5000 102400",
        )?;
    }
    ensure!(
        bench.change().contains("the site's own tools"),
        "{}",
        bench.change()
    );
    bench.end();
    Ok(())
}

#[test]
fn domains_and_users() -> Result<()> {
    let profile = "[authd]\nschema = \"domains-users\"\n";
    domains_users(Engine::MariaDb, profile)?;
    domains_users(Engine::Sqlite, profile)?;
    domains_users(Engine::MariaDb, &example("tutorial-2")?).context("by SQL")
}

/// The tables of tutorial 5, by the profile and by its maps.
fn postfix_tables(engine: Engine, config: &str, by_sql: bool) -> Result<()> {
    let tables = match engine {
        Engine::MariaDb => include_str!("../schema/postfix-tables.mysql.sql"),
        Engine::Sqlite => include_str!("../schema/postfix-tables.sqlite.sql"),
    };
    let family = Family::PostfixTables;
    let more = "INSERT INTO postfix_transport VALUES ('relay.test', 'smtp:[192.0.2.9]');
        INSERT INTO postfix_transport VALUES ('alice@far.test', 'smtp:[192.0.2.8]:2525'), ('.sub.test', 'error:gone');
        INSERT INTO postfix_relocated VALUES ('moved@d.test', 'me@new.test');
        INSERT INTO postfix_virtual VALUES ('only.test', 'anything'), ('x@only.test', 'alice@d.test');
        INSERT INTO postfix_access VALUES ('192.0.2', 'REJECT not you', 'client'), ('bad@out.test', 'REJECT', 'sender'),
          ('out.test', 'OK', 'sender'), ('alice@', '450 4.2.1 later', 'recipient'), ('alice@d.test', 'OK', 'client');
        INSERT INTO postfix_alias VALUES ('root', 'alice@d.test');
        INSERT INTO postfix_users (email, clear, maildir, postfix) VALUES ('idle@d.test', 'Secret 1', 'd.test/idle/', 'n');";
    let bench = Bench::new(engine, &[tables, &family.rows(engine), more], config)?;
    common_answers(&bench)?;
    bench.recipients(&[
        ("idle@d.test", "550 5.1.1 User unknown in virtual mailbox table"),
        ("moved@d.test", "550 5.1.6 User has moved to me@new.test"),
        ("any@relay.test", "Relay: @any@relay.test"),
    ])?;
    bench.logins(&[("idle@d.test", "Secret 1", "no")])?;
    same(
        "mailbox",
        bench.mailbox("alice@d.test"),
        "d.test/alice/ 5001:5002 10000000",
    )
    .or_else(|error| match by_sql {
        // The maps of the tutorial have no quota.
        true => same(
            "mailbox",
            bench.mailbox("alice@d.test"),
            "d.test/alice/ 5001:5002 0",
        ),
        false => Err(error),
    })?;
    same("relay", bench.route("x@relay.test"), "host 192.0.2.9")?;
    same("by address", bench.route("alice@far.test"), "host 192.0.2.8:2525")?;
    same("by parent", bench.route("x@a.sub.test"), "error 5.0.0 gone")?;
    same(
        "relocated",
        bench.route("moved@d.test"),
        "error 5.1.6 User has moved to me@new.test",
    )?;
    let hits =
        "client 192.0.2: REJECT not you; sender bad@out.test: REJECT; recipient alice@: 450 4.2.1 later";
    same(
        "access",
        bench.access("192.0.2.77", "bad@out.test", "alice@d.test"),
        hits,
    )?;
    same(
        "domain",
        bench.access("198.51.100.1", "x@out.test", "bob@d.test"),
        "sender out.test: OK",
    )?;
    if !by_sql {
        bench.recipients(&[
            ("x@only.test", "Alias: alice@d.test"),
            ("y@only.test", "550 5.1.1 User unknown in virtual alias table"),
        ])?;
        bench
            .database
            .execute("UPDATE postfix_users SET quota = 'much' WHERE email = 'alice@d.test'")?;
        bench.recipients(&[("alice@d.test", "temporary")])?;
    }
    bench.end();
    Ok(())
}

#[test]
fn postfix_users_and_relatives() -> Result<()> {
    let profile = "[authd]\nschema = \"postfix-tables\"\n";
    postfix_tables(Engine::MariaDb, profile, false)?;
    postfix_tables(Engine::Sqlite, profile, false)?;
    postfix_tables(Engine::MariaDb, &example("tutorial-5")?, true).context("by SQL")
}

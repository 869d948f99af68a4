//! PostfixAdmin itself, from Debian's package, beside our daemons on one database, whose tables it made itself: what
//! either side does counts on the other at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::panel::{Panel, VACATION_DOMAIN, texts};
use tests::{Backend, Site, wait};

const FIRST: &str = "First secret 12";
const SECOND: &str = "Second secret 34";

/// A file with a password, for mailctl.
fn password_file(site: &Site, password: &str) -> Result<String> {
    let path = site.directory().join("etc/new-password");
    fs::write(&path, format!("{password}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let (uid, gid) = site.ids();
    std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
    Ok(path.display().to_string())
}

/// Whether the mailbox opens by IMAP and POP3, and may submit: all three or none.
fn opens(site: &Site, address: &str, password: &str) -> Result<bool> {
    let imap = site.endpoints().imap_as(address, password).is_ok();
    let pop3 = site.endpoints().pop3_as(address, password).is_ok();
    let smtp = site.endpoints().submit_as(address, password).is_ok();
    ensure!(
        imap == pop3 && pop3 == smtp,
        "{address}: IMAP {imap}, POP3 {pop3}, SMTP {smtp}"
    );
    Ok(imap)
}

/// Sends a mail from outside; the answer to RCPT.
fn accepted(site: &Site, address: &str) -> Result<bool> {
    let mut smtp = site.smtp("mx")?;
    smtp.expect("MAIL FROM:<out@a.test>", 250)?;
    let reply = smtp.command(&format!("RCPT TO:<{address}>"))?;
    ensure!(matches!(reply.code, 250 | 550), "{address}: {}", reply.text());
    Ok(reply.code == 250)
}

fn with_panel(test: impl FnOnce(&mut Site, &mut Panel) -> Result<()>) -> Result<()> {
    Site::builder()
        .backend(Backend::MARIADB)
        .without_tables()
        .set("authd.new_passwords", "sha512-crypt")
        .set("authd.vacation_domain", VACATION_DOMAIN)
        .set("general.login_trusted_networks", vec!["127.0.0.0/8".to_owned()])
        .run(|site| {
            let mut panel = Panel::install(site, "php_crypt:SHA512")?;
            panel.upgrade()?;
            test(site, &mut panel)
        })
}

#[test]
fn what_the_panel_makes_works_at_once() -> Result<()> {
    with_panel(|site, panel| {
        ensure!(site.mailctl_json(&["domain", "list"])? == json!([]));
        panel.add_domain("panel.test", 2)?;
        ensure!(!accepted(site, "alice@panel.test")?, "before it is there");
        panel.add_mailbox("alice@panel.test", FIRST)?;
        panel.cli(&[
            "alias",
            "add",
            "team@panel.test",
            "--goto",
            "alice@panel.test",
            "--active",
            "1",
        ])?;

        let mut smtp = site.smtp("mx")?;
        for (number, recipient) in ["alice@panel.test", "team@panel.test"].iter().enumerate() {
            let mail = format!("Subject: {number}\r\n\r\nhello\r\n");
            smtp.send("out@a.test", &[recipient], &mail)?;
        }
        site.mailbox("alice@panel.test").wait(2)?;
        ensure!(
            site.endpoints()
                .imap_as("alice@panel.test", FIRST)?
                .select("INBOX")?
                == 2
        );
        ensure!(site.endpoints().pop3_as("alice@panel.test", FIRST)?.stat()?.0 == 2);
        ensure!(opens(site, "alice@panel.test", FIRST)? && !opens(site, "alice@panel.test", SECOND)?);

        // mailctl sees it, and keeps to the limits that the panel has set.
        let shown = site.mailctl_json(&["domain", "show", "panel.test"])?;
        ensure!(
            shown["mailboxes"] == 1 && shown["aliases"] == 1 && shown["max_mailboxes"] == 2,
            "{shown}"
        );
        let file = password_file(site, SECOND)?;
        let add = |address| ["mailbox", "add", address, "--password-file", &file].map(str::to_owned);
        let run = |words: [String; 5]| site.mailctl_output(&words.each_ref().map(String::as_str));
        ensure!(run(add("bob@panel.test"))?.status.success());
        let refused = run(add("carol@panel.test"))?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            refused.status.code() == Some(65) && said.contains("its limit is 2"),
            "{said}"
        );
        ensure!(
            panel.add_mailbox("carol@panel.test", FIRST).is_err(),
            "the panel counts bob"
        );

        // Off and on.
        panel.cli(&["mailbox", "update", "alice@panel.test", "--active", "0"])?;
        ensure!(!opens(site, "alice@panel.test", FIRST)?, "switched off");
        wait::for_true("RCPT to be refused", wait::LONG, || {
            Ok(!accepted(site, "alice@panel.test")?)
        })?;
        panel.cli(&["mailbox", "update", "alice@panel.test", "--active", "1"])?;
        ensure!(opens(site, "alice@panel.test", FIRST)? && accepted(site, "alice@panel.test")?);

        panel.cli(&["mailbox", "delete", "alice@panel.test"])?;
        ensure!(!opens(site, "alice@panel.test", FIRST)?, "deleted");
        wait::for_true("RCPT to be refused", wait::LONG, || {
            Ok(!accepted(site, "alice@panel.test")?)
        })?;
        let gone = site.mailctl_output(&["mailbox", "show", "alice@panel.test"])?;
        ensure!(gone.status.code() == Some(66));
        Ok(())
    })
}

#[test]
fn what_mailctl_makes_shows_in_the_panel() -> Result<()> {
    with_panel(|site, panel| {
        let file = password_file(site, FIRST)?;
        site.mailctl(&[
            "admin",
            "add",
            "root@ours.test",
            "--super",
            "--password-file",
            &file,
        ])?;
        site.mailctl(&["domain", "add", "ours.test", "--description", "made by mailctl"])?;
        site.mailctl(&["domain", "add", "mirror.test", "--alias-of", "ours.test"])?;
        let name = ["--name", "Bob Builder", "--quota", "2048000"];
        site.mailctl(
            &[
                &["mailbox", "add", "bob@ours.test", "--password-file", &file],
                &name[..],
            ]
            .concat(),
        )?;
        site.mailctl(&["alias", "add", "info@ours.test", "bob@ours.test", "far@away.test"])?;
        site.mailctl(&[
            "admin",
            "add",
            "help@ours.test",
            "--domain",
            "ours.test",
            "--password-file",
            &file,
        ])?;

        let bob = panel.cli(&["mailbox", "view", "bob@ours.test"])?;
        ensure!(
            bob.contains("Bob Builder") && bob.contains("Active: YES"),
            "{bob}"
        );
        let info = panel.cli(&["alias", "view", "info@ours.test"])?;
        ensure!(
            info.contains("bob@ours.test") && info.contains("far@away.test"),
            "{info}"
        );
        let mirror = panel.cli(&["aliasdomain", "view", "mirror.test"])?;
        ensure!(mirror.contains("ours.test"), "{mirror}");
        panel.serve()?;
        pages(site, panel)?;
        vacation(site, panel)?;

        // Off here is off there.
        site.mailctl(&["mailbox", "set", "bob@ours.test", "--active", "false"])?;
        ensure!(
            panel
                .cli(&["mailbox", "view", "bob@ours.test"])?
                .contains("Active: NO")
        );
        ensure!(!panel.browser("off").user_login("bob@ours.test", FIRST)?);
        site.mailctl(&["mailbox", "delete", "bob@ours.test"])?;
        ensure!(
            panel.cli(&["mailbox", "view", "bob@ours.test"]).is_err(),
            "deleted"
        );
        let info = panel.cli(&["alias", "view", "info@ours.test"])?;
        ensure!(!info.contains("bob@ours.test"), "{info}");
        Ok(())
    })
}

/// The lists and the log, as administrators of both kinds see them.
fn pages(site: &Site, panel: &Panel) -> Result<()> {
    let root = panel.browser("root");
    ensure!(!root.admin_login("root@ours.test", SECOND)?, "a wrong password");
    ensure!(
        root.admin_login("root@ours.test", FIRST)?,
        "an administrator made by mailctl"
    );
    let page = root.get("list-virtual.php?domain=ours.test")?;
    let seen = texts(&page);
    for text in ["bob@ours.test", "info@ours.test", "Bob Builder", "mirror.test"] {
        ensure!(seen.iter().any(|seen| seen.contains(text)), "{text}: {seen:?}");
    }
    let log = texts(&root.submit("viewlog.php", &[("fDomain", "ours.test")])?);
    for action in ["create domain", "create mailbox", "create alias"] {
        let row = log
            .windows(4)
            .any(|row| row[0] == "mailctl (localhost)" && row[1] == "ours.test" && row[2] == action);
        ensure!(row, "{action}: {log:?}");
    }
    // One who has a domain sees it, and no other.
    site.mailctl(&["domain", "add", "other.test"])?;
    let help = panel.browser("help");
    ensure!(help.admin_login("help@ours.test", FIRST)?);
    let domains = texts(&help.get("list.php?table=domain")?);
    ensure!(
        domains.iter().any(|text| text == "ours.test") && !domains.iter().any(|text| text == "other.test"),
        "{domains:?}"
    );
    // What the panel does shows in mailctl log, in the same words.
    panel.cli(&[
        "alias",
        "add",
        "late@ours.test",
        "--goto",
        "bob@ours.test",
        "--active",
        "1",
    ])?;
    let log = site.mailctl_json(&["log", "--domain", "ours.test"])?;
    let find = |who: &str, action: &str, data: &str| {
        log.as_array().is_some_and(|rows| {
            rows.iter()
                .any(|row| row["username"] == who && row["action"] == action && row["data"] == data)
        })
    };
    ensure!(find("CLI (localhost)", "create_alias", "late@ours.test"), "{log}");
    ensure!(
        find("mailctl (localhost)", "create_mailbox", "bob@ours.test"),
        "{log}"
    );
    Ok(())
}

/// An automatic reply, turned on here, changed there, turned off here.
fn vacation(site: &Site, panel: &Panel) -> Result<()> {
    let text = ["--subject", "Away", "--body", "Back on Monday."];
    site.mailctl(&[&["vacation", "set", "bob@ours.test"], &text[..]].concat())?;
    let bob = panel.browser("bob");
    ensure!(bob.user_login("bob@ours.test", FIRST)?);
    let page = bob.get("users/vacation.php")?;
    ensure!(
        page.contains("Away") && page.contains("Back on Monday."),
        "{page}"
    );
    let on = panel.cli(&["alias", "view", "bob@ours.test"])?;
    ensure!(on.contains("Auto Response: YES"), "{on}");
    // The panel keeps the mailbox and its reply when others are added, and so do we.
    panel.cli(&["alias", "update", "bob@ours.test", "--goto", "far@away.test"])?;
    site.mailctl(&["alias", "set", "bob@ours.test", "--add", "further@away.test"])?;
    let shown = site.mailctl_json(&["alias", "show", "bob@ours.test"])?;
    let mut targets: Vec<_> = shown["targets"].as_array().into_iter().flatten().collect();
    targets.sort_by_key(ToString::to_string);
    ensure!(
        json!(targets) == json!(["bob@ours.test", "far@away.test", "further@away.test"])
            && shown["vacation"] == true,
        "{shown}"
    );
    let fields = [
        ("fSubject", "Gone"),
        ("fBody", "For good."),
        ("fActiveFrom", "2026-01-01"),
        ("fActiveUntil", "2037-01-01"),
        ("fInterval_Time", "0"),
        ("action", "fChange"),
    ];
    bob.submit("users/vacation.php", &fields)?;
    let shown = site.mailctl_json(&["vacation", "show", "bob@ours.test"])?;
    ensure!(shown["subject"] == "Gone" && shown["active"] == true, "{shown}");
    site.mailctl(&["vacation", "clear", "bob@ours.test"])?;
    let off = panel.cli(&["alias", "view", "bob@ours.test"])?;
    ensure!(off.contains("Auto Response: NO"), "{off}");
    Ok(())
}

/// Every form of hash that both sides can be set to.
#[test]
fn a_password_set_on_either_side_works_on_the_other() -> Result<()> {
    with_panel(|site, panel| {
        panel.serve()?;
        panel.add_domain("both.test", 0)?;
        for (number, (encrypt, ours)) in [
            ("php_crypt:SHA512", "sha512-crypt"),
            ("php_crypt:SHA512::{SHA512-CRYPT}", "{SHA512-CRYPT}"),
            ("php_crypt:BLOWFISH:10", "bcrypt"),
            ("php_crypt:BLOWFISH:10:{BLF-CRYPT}", "{BLF-CRYPT}"),
            ("md5crypt", "md5-crypt"),
        ]
        .into_iter()
        .enumerate()
        {
            panel.configure(encrypt)?;
            site.set("authd.new_passwords", ours)?;
            site.reload("authd")?;
            let user = format!("user{number}@both.test");
            panel.add_mailbox(&user, FIRST)?;
            ensure!(opens(site, &user, FIRST)?, "{encrypt}: made by the panel");

            let file = password_file(site, SECOND)?;
            site.mailctl(&["mailbox", "password", &user, "--password-file", &file])?;
            ensure!(
                opens(site, &user, SECOND)? && !opens(site, &user, FIRST)?,
                "{ours}"
            );
            let browser = panel.browser(&format!("user{number}"));
            ensure!(
                !browser.user_login(&user, FIRST)?,
                "{ours}: the old password in the panel"
            );
            ensure!(
                browser.user_login(&user, SECOND)?,
                "{ours}: the new password in the panel"
            );

            let fields = [
                ("fPassword_current", SECOND),
                ("fPassword", FIRST),
                ("fPassword2", FIRST),
                ("submit", "Change"),
            ];
            browser.submit("users/password.php", &fields)?;
            ensure!(
                opens(site, &user, FIRST)? && !opens(site, &user, SECOND)?,
                "{encrypt}: changed in the panel"
            );
        }
        Ok(())
    })
}

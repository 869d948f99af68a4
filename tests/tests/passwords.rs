//! Every password format, checked against values that other programs make: live with random passwords, and once for
//! the table that the unit tests of `sasl` read (`UPDATE=1` writes it anew).

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use config::Config;
use mail_types::Secret;
use sasl::password::{NewScheme, Stored, Unmarked, store};
use tests::hashes::{self, Made};
use tests::mariadb::Server;
use tests::site::PASSWORD;
use tests::{Site, random_bytes};

/// The readings that a configuration with these forms allows; none for an empty text.
fn unmarked(form: &str) -> Result<Unmarked> {
    let form = if form.is_empty() { "refuse" } else { form };
    let text = format!("[general]\nmyhostname = \"mail.d.test\"\n[authd]\nunmarked_passwords = \"{form}\"\n");
    let config = Config::from_toml(&text).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let settings = authd::config::Settings::new(&config)?;
    settings.unmarked_passwords.context("not configured")
}

/// `right` fits, and nothing else does.
fn check(made: &Made, right: &str) -> Result<&'static str> {
    let stored = Stored::parse(&made.column, unmarked(made.unmarked)?)?;
    let fits = |password: &str| stored.verify(&Secret::new(password));
    ensure!(fits(right)?, "the right password does not fit");
    // What differs beyond its eighth octet is the same to DES, beyond the 72nd to bcrypt.
    let other_case: String = right
        .chars()
        .map(|c| {
            if c.is_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    for wrong in [
        format!("!{right}"),
        other_case,
        String::new(),
        right.chars().take(3).collect(),
    ] {
        ensure!(!fits(&wrong)?, "{wrong:?} fits");
    }
    ensure!(
        !stored.decoy().verify(&Secret::new(right))?,
        "its decoy lets somebody in"
    );
    if !made.unmarked.is_empty() {
        ensure!(
            Stored::parse(&made.column, Unmarked::REFUSED).is_err(),
            "it is taken without being configured"
        );
    }
    Ok(stored.scheme())
}

/// The same value with the name of its scheme in odd case.
fn odd_case(made: &Made) -> Option<Made> {
    let (name, data) = made.column.strip_prefix('{')?.split_once('}')?;
    let odd: String = name
        .char_indices()
        .map(|(at, c)| {
            if at % 2 == 0 {
                c.to_ascii_lowercase()
            } else {
                c.to_ascii_uppercase()
            }
        })
        .collect();
    Some(Made {
        column: format!("{{{odd}}}{data}"),
        ..made.clone()
    })
}

fn check_all(made: &[Made], password: &str) -> Result<()> {
    for made in made {
        check(made, password).with_context(|| format!("{made:?}, password {password:?}"))?;
        if let Some(odd) = odd_case(made) {
            check(&odd, password).with_context(|| format!("{odd:?}, password {password:?}"))?;
        }
    }
    Ok(())
}

/// So many letters that differ in upper and lower case.
fn letters(count: usize) -> Result<String> {
    let alphabet = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";
    let letters = random_bytes(count)?;
    Ok(letters
        .iter()
        .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
        .collect())
}

#[test]
fn what_the_tools_make_of_random_passwords() -> Result<()> {
    let server = Server::shared()?;
    let passwords = [
        letters(12)?,
        format!("pä€{} {} ", letters(4)?, letters(4)?),
        format!("{}é{}", letters(90)?, letters(90)?),
    ];
    for password in &passwords {
        check_all(&hashes::make(&server, password)?, password)?;
    }
    check_all(&hashes::make_expensive(&passwords[1])?, &passwords[1])
}

/// The committed table, whose rows the unit tests of `sasl` check without any of the tools.
#[test]
fn the_table_has_every_form() -> Result<()> {
    let path = tests::binaries::workspace_root().join("crates/sasl/src/password/made_by_others.tsv");
    let password = "Pässwörd with 1 space";
    let server = Server::shared()?;
    let made = [
        hashes::make(&server, password)?,
        hashes::make_expensive(password)?,
    ]
    .concat();
    if std::env::var_os("UPDATE").is_some() {
        let mut table = "# tool\tscheme\tunmarked\tvalue\tpassword\n".to_owned();
        for made in &made {
            let scheme = check(made, password).with_context(|| format!("{made:?}"))?;
            let (tool, column) = (&made.tool, &made.column);
            let unmarked = if made.unmarked.is_empty() {
                "-"
            } else {
                made.unmarked
            };
            writeln!(table, "{tool}\t{scheme}\t{unmarked}\t{column}\t{password}")?;
        }
        fs::write(&path, table)?;
    }
    let table = fs::read_to_string(&path)?;
    let tools: Vec<&str> = table.lines().filter_map(|line| line.split('\t').next()).collect();
    for made in &made {
        ensure!(
            tools.contains(&&*made.tool),
            "{} is not in {}: UPDATE=1",
            made.tool,
            path.display()
        );
    }
    Ok(())
}

/// What we store for each setting of `new_passwords`, PostfixAdmin verifies with the setting that the documentation
/// names beside it.
#[test]
fn postfixadmin_verifies_what_we_store() -> Result<()> {
    tests::packages::ensure(&hashes::MAKERS)?;
    let pairs = [
        (NewScheme::Md5Crypt, "md5crypt"),
        (NewScheme::Sha512Crypt, "php_crypt"),
        (NewScheme::Sha512Crypt, "system"),
        (NewScheme::Bcrypt, "php_crypt:BLOWFISH"),
        (NewScheme::MarkedSha512Crypt, "php_crypt:SHA512::{SHA512-CRYPT}"),
        (NewScheme::MarkedSha512Crypt, "dovecot:SHA512-CRYPT"),
        (NewScheme::MarkedBcrypt, "dovecot:BLF-CRYPT"),
        (NewScheme::MarkedBcrypt, "php_crypt"),
        (NewScheme::Argon2id, "dovecot:ARGON2ID"),
        (NewScheme::Cleartext, "cleartext"),
    ];
    for (scheme, encrypt) in pairs {
        let salt = random_bytes(16)?.try_into().ok().context("16 octets")?;
        let password = format!("{} ö", letters(10)?);
        let column = store(scheme, &Secret::new(&*password), salt)?;
        let accepts = |password: &str| hashes::postfixadmin_accepts(encrypt, password, &column);
        ensure!(accepts(&password)?, "{encrypt} does not read {column}");
        ensure!(!accepts("wrong")?, "{encrypt} takes anything for {column}");
    }
    Ok(())
}

/// Through the daemons: a mailbox for each form, in one site.
#[test]
fn mailboxes_of_every_form_log_in() -> Result<()> {
    let password = "Pässwörd 1";
    let made = hashes::make(&Server::shared()?, password)?;
    // Of these a site can have one only, as each takes every value.
    let made: Vec<Made> = made
        .into_iter()
        .filter(|made| made.unmarked != "cleartext")
        .collect();
    let mut statements = String::new();
    for (number, made) in made.iter().enumerate() {
        let column = made.column.replace('\'', "''");
        writeln!(
            statements,
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain) \
             VALUES ('u{number}@example.com', '{column}', '', 'example.com/u{number}/', 'u{number}', 'example.com');"
        )?;
    }
    let forms = ["des", "md5", "sha1", "sha256", "sha512", "ssha", "mysql-old"]
        .map(toml::Value::from)
        .to_vec();
    Site::builder()
        .only(&["authd", "imapd"])
        .set("authd.unmarked_passwords", forms)
        .set("authd.auth_failure_delay", "0s")
        .sql(&statements)
        .run(|site| {
            site.imap_as("alice@example.com", PASSWORD)?.logout()?;
            for (number, made) in made.iter().enumerate() {
                let user = format!("u{number}@example.com");
                site.imap_as(&user, password)
                    .with_context(|| format!("{made:?}"))?
                    .logout()?;
                ensure!(site.imap_as(&user, "wrong").is_err(), "{made:?}");
            }
            Ok(())
        })
}

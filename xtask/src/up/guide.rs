//! How to connect: addresses, passwords, ports, and commands to paste.

use tests::Site;

use super::accounts::Account;
use super::say::Say;

/// Prints it all.
pub fn print(site: &Site, accounts: &[Account], say: &Say) {
    let ports = site.ports;
    let ca = site.ca_file.display();
    say.line("");
    say.heading("How to connect");
    say.line(&format!("  host           localhost (certificates: trust {ca})"));
    say.line(&format!("  SMTP           {} (from other hosts)", ports.smtp));
    say.line(&format!(
        "  submission     {} (STARTTLS), {} (TLS)",
        ports.submission, ports.submissions
    ));
    say.line(&format!(
        "  IMAP           {} (STARTTLS), {} (TLS)",
        ports.imap, ports.imaps
    ));
    say.line(&format!(
        "  POP3           {} (STLS), {} (TLS)",
        ports.pop3, ports.pop3s
    ));
    for account in accounts {
        say.line(&format!(
            "  account        {}   password {}",
            account.address, account.password
        ));
    }
    let config = site.configuration_file();
    say.line(&format!(
        "  mailctl        {}/bin/mailctl --config {}",
        site.directory().display(),
        config.display()
    ));
    say.line(&format!(
        "  for scripts    {}/endpoints.json",
        site.directory().display()
    ));
    if let [alice, bob, ..] = accounts {
        say.line("");
        say.heading("To paste");
        for command in commands(site, alice, bob) {
            say.line(&format!("  {command}"));
        }
    }
    say.line("");
}

/// Commands for curl and openssl: two that send as the first account, the others read as the second.
fn commands(site: &Site, from: &Account, to: &Account) -> Vec<String> {
    let ports = site.ports;
    let ca = quoted(&site.ca_file.display().to_string());
    let message = format!(
        "printf 'From: {}\\r\\nTo: {}\\r\\nSubject: hello\\r\\n\\r\\nhello\\r\\n'",
        from.address, to.address
    );
    let curl = |account: &Account| {
        let login = quoted(&format!("{}:{}", account.address, account.password));
        format!("curl -sS --cacert {ca} --user {login}")
    };
    let send = |url: &str| {
        format!(
            "{message} | {} --ssl-reqd --mail-from {} --mail-rcpt {} --upload-file - {url}",
            curl(from),
            from.address,
            to.address
        )
    };
    let read = |url: &str| format!("{} '{url}'", curl(to));
    let openssl = |arguments: &str| {
        format!(
            "openssl s_client -quiet -crlf -verify_return_error -verify_hostname localhost -CAfile {ca} {arguments}"
        )
    };
    vec![
        send(&format!("smtp://localhost:{}", ports.submission)),
        send(&format!("smtps://localhost:{}", ports.submissions)),
        read(&format!("imaps://localhost:{}/INBOX;MAILINDEX=1", ports.imaps)),
        read(&format!("pop3s://localhost:{}/1", ports.pop3s)),
        openssl(&format!("-starttls smtp -connect localhost:{}", ports.submission)),
        openssl(&format!("-connect localhost:{}", ports.imaps)),
    ]
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

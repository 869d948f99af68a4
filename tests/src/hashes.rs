//! Stored passwords as other programs make them: openssl, mkpasswd, doveadm, PHP, PostfixAdmin, htpasswd, Courier, MariaDB.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::mariadb::Server;
use crate::packages::{self, Needed};

/// What the programs are and where Debian has them.
pub const MAKERS: [Needed; 7] = [
    packages::OPENSSL,
    packages::MKPASSWD,
    packages::DOVEADM,
    packages::PHP,
    packages::HTPASSWD,
    packages::POSTFIXADMIN,
    packages::AUTHTEST,
];

/// A value that another program made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The command, as far as it says how the value was made.
    pub tool: String,
    /// The form that `[authd] unmarked_passwords` has to name for it; empty where its mark says enough.
    pub unmarked: &'static str,
    /// The value.
    pub column: String,
}

impl Made {
    fn new(tool: impl Into<String>, unmarked: &'static str, column: impl Into<String>) -> Self {
        Self {
            tool: tool.into(),
            unmarked,
            column: column.into(),
        }
    }
}

/// Every program makes all that it can of a password, but for what takes more than about 0.1 s to check.
///
/// # Errors
/// When a program is missing or fails.
pub fn make(server: &Server, password: &str) -> Result<Vec<Made>> {
    packages::ensure(&MAKERS)?;
    let made = [
        by_openssl(password)?,
        by_mkpasswd(password)?,
        by_doveadm(password, DOVEADM)?,
        by_php(password, PHP)?,
        by_postfixadmin(password)?,
        by_htpasswd(password)?,
        by_courier(password)?,
        by_mariadb(server, password)?,
    ];
    Ok(made.concat())
}

/// The rest: what the programs make by default where that is expensive.
///
/// # Errors
/// When a program is missing or fails.
pub fn make_expensive(password: &str) -> Result<Vec<Made>> {
    packages::ensure(&MAKERS)?;
    let mkpasswd = ["yescrypt", "scrypt"].map(|method| mkpasswd(&["-m", method], password));
    let made = [
        by_doveadm(password, &["ARGON2I", "ARGON2ID"])?,
        by_php(
            password,
            "['password_hash(ARGON2ID)' => password_hash($p, PASSWORD_ARGON2ID)]",
        )?,
        mkpasswd.into_iter().collect::<Result<Vec<_>>>()?,
    ];
    Ok(made.concat())
}

/// What PostfixAdmin with an `encrypt` setting says of a password and a stored value.
///
/// # Errors
/// When it is missing or fails.
pub fn postfixadmin_accepts(encrypt: &str, password: &str, column: &str) -> Result<bool> {
    // With Dovecot's schemes it says no by throwing.
    let script = format!(
        "{PACRYPT} try {{ echo pa($argv[1], $p, $argv[2]) === $argv[2] ? 'yes' : 'no'; }}
        catch (Exception $e) {{ echo str_contains($e, 'doveadm pw failed') ? 'no' : $e; }}"
    );
    let answer = run("php", &["-r", &script, "--", encrypt, column], password)?;
    ensure!(answer == "yes" || answer == "no", "PostfixAdmin says {answer:?}");
    Ok(answer == "yes")
}

/// A program's output for an input, without the line end.
fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<String> {
    let path = packages::find(&[program]).with_context(|| format!("there is no {program}"))?;
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input.as_bytes())
        .with_context(|| format!("write to {program}"))?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?
        .trim_end_matches('\n')
        .to_owned())
}

fn by_openssl(password: &str) -> Result<Vec<Made>> {
    ["-1", "-5", "-6"]
        .into_iter()
        .map(|kind| {
            let column = run("openssl", &["passwd", kind, "-stdin"], &format!("{password}\n"))?;
            Ok(Made::new(format!("openssl passwd {kind}"), "", column))
        })
        .collect()
}

fn by_mkpasswd(password: &str) -> Result<Vec<Made>> {
    let kinds: [&[&str]; 9] = [
        &["-m", "md5crypt"],
        &["-m", "sha256crypt"],
        &["-m", "sha512crypt", "-R", "1000"],
        &["-m", "bcrypt", "-R", "5"],
        &["-m", "bcrypt-a", "-R", "5"],
        &["-m", "yescrypt", "-R", "1"],
        &["-m", "scrypt", "-R", "6"],
        &["-m", "descrypt"],
        &["-m", "bsdicrypt", "-R", "1001"],
    ];
    kinds
        .into_iter()
        .map(|arguments| mkpasswd(arguments, password))
        .collect()
}

fn mkpasswd(arguments: &[&str], password: &str) -> Result<Made> {
    let column = run(
        "mkpasswd",
        &[&["-s"], arguments].concat(),
        &format!("{password}\n"),
    )?;
    let unmarked = if column.starts_with('$') { "" } else { "des" };
    Ok(Made::new(
        format!("mkpasswd {}", arguments.join(" ")),
        unmarked,
        column,
    ))
}

/// The schemes of `doveadm pw -l` that can be verified without the login, some with their encodings.
const DOVEADM: &[&str] = &[
    "PLAIN",
    "CLEAR",
    "CLEARTEXT",
    "PLAIN.B64",
    "PLAIN.HEX",
    "MD5",
    "MD5.HEX",
    "MD5-CRYPT",
    "MD5-CRYPT.B64",
    "PLAIN-MD5",
    "LDAP-MD5",
    "LDAP-MD5.HEX",
    "SMD5",
    "SMD5.HEX",
    "SHA",
    "SHA.HEX",
    "SHA1",
    "SSHA",
    "SSHA.HEX",
    "SHA256",
    "SHA256.HEX",
    "SSHA256",
    "SSHA256.B64",
    "SHA512",
    "SHA512.BASE64",
    "SSHA512",
    "SSHA512.HEX",
    "CRAM-MD5",
    "CRAM-MD5.B64",
    "HMAC-MD5",
    "PBKDF2",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "DES-CRYPT",
    "CRYPT",
    "BLF-CRYPT",
    "SHA256-CRYPT",
    "SHA512-CRYPT",
    "SHA512-CRYPT.B64",
    "SHA512-CRYPT.HEX",
];

fn by_doveadm(password: &str, schemes: &[&str]) -> Result<Vec<Made>> {
    schemes
        .iter()
        .map(|scheme| {
            let column = run("doveadm", &["pw", "-s", scheme, "-p", password], "")?;
            Ok(Made::new(format!("doveadm pw -s {scheme}"), "", column))
        })
        .collect()
}

/// PHP's own functions, as a map from a label to the value. Labels end in the form of what has no mark.
const PHP: &str = "[
    'password_hash(BCRYPT)' => password_hash($p, PASSWORD_BCRYPT, ['cost' => 5]),
    'password_hash(ARGON2I)' => password_hash($p, PASSWORD_ARGON2I, ['memory_cost' => 1024, 'time_cost' => 2]),
    'password_hash(ARGON2ID)' => password_hash($p, PASSWORD_ARGON2ID, ['memory_cost' => 1024, 'threads' => 2]),
    'crypt(salt of DES) des' => crypt($p, $s(2)),
    'crypt(_J9..) des' => crypt($p, '_J9..' . $s(4)),
    'crypt($1$)' => crypt($p, '$1$' . $s(8)),
    'crypt($2y$04$)' => crypt($p, '$2y$04$' . $s(22)),
    'crypt($5$rounds=1234$)' => crypt($p, '$5$rounds=1234$' . $s(16)),
    'crypt($6$)' => crypt($p, '$6$' . $s(16)),
    'md5() md5' => md5($p),
    'sha1() sha1' => sha1($p),
    'hash(sha256) sha256' => hash('sha256', $p),
    'hash(sha512) sha512' => hash('sha512', $p),
    'base64_encode(sha1($p . $salt) . $salt) ssha' => base64_encode(sha1($p . 'salt', true) . 'salt'),
]";

fn by_php(password: &str, map: &str) -> Result<Vec<Made>> {
    let script = format!(
        "$p = stream_get_contents(STDIN); $s = fn($n) => substr(bin2hex(random_bytes(16)), 0, $n);
         foreach ({map} as $label => $value) echo $label, \"\\t\", $value, \"\\n\";"
    );
    labelled("php: ", &run("php", &["-r", &script], password)?)
}

/// PostfixAdmin's own function for all settings of `encrypt` that need no database.
const PACRYPT: &str = "
    $CONF = ['configured' => true];
    require_once '/usr/share/postfixadmin/model/Config.php';
    require_once '/usr/share/postfixadmin/functions.inc.php';
    $p = stream_get_contents(STDIN);
    function pa($encrypt, $p, $stored = '') {
        global $CONF;
        $parts = explode(':', $encrypt);
        if ($parts[0] == 'authlib') {
            $CONF['authlib_default_flavor'] = $parts[1];
            $encrypt = 'authlib';
        }
        $CONF['encrypt'] = $encrypt;
        Config::write('all', $CONF);
        Config::write('encrypt', $encrypt);
        return pacrypt($p, $stored);
    }";

fn by_postfixadmin(password: &str) -> Result<Vec<Made>> {
    let script = format!(
        "{PACRYPT}
        foreach (['md5crypt', 'md5 md5', 'cleartext cleartext', 'system des', 'php_crypt', 'php_crypt:DES des',
            'php_crypt:MD5', 'php_crypt:BLOWFISH:5', 'php_crypt:SHA256:2000', 'php_crypt:SHA512',
            'php_crypt:SHA512::{{SHA512-CRYPT}}', 'sha512.b64', 'authlib:md5raw', 'authlib:md5', 'authlib:SHA',
            'authlib:crypt'] as $label)
            echo $label, \"\\t\", pa(explode(' ', $label)[0], $p), \"\\n\";"
    );
    labelled(
        "PostfixAdmin: encrypt = ",
        &run("php", &["-r", &script], password)?,
    )
}

/// Lines of label, tab, value; the last word of a label is the unmarked form, where it is one.
fn labelled(tool: &str, lines: &str) -> Result<Vec<Made>> {
    const FORMS: [&str; 8] = [
        "des",
        "md5",
        "sha1",
        "sha256",
        "sha512",
        "ssha",
        "mysql-old",
        "cleartext",
    ];
    lines
        .split('\n')
        .map(|line| {
            let (label, column) = line.split_once('\t').with_context(|| format!("{tool}{line}"))?;
            let form = label.rsplit_once(' ').and_then(|(label, last)| {
                let form = FORMS.into_iter().find(|form| *form == last)?;
                Some((label, form))
            });
            let (label, form) = form.unwrap_or((label, ""));
            Ok(Made::new(format!("{tool}{label}"), form, column))
        })
        .collect()
}

fn by_htpasswd(password: &str) -> Result<Vec<Made>> {
    let kinds: [(&[&str], &'static str); 5] = [
        (&["-B", "-C", "5"], ""),
        (&["-2"], ""),
        (&["-5", "-r", "2000"], ""),
        (&["-d"], "des"),
        (&["-s"], ""),
    ];
    kinds
        .into_iter()
        .map(|(arguments, unmarked)| {
            let line = run("htpasswd", &[&["-ni"], arguments, &["u"]].concat(), password)?;
            let column = line.trim_start_matches("u:").trim_end();
            Ok(Made::new(
                format!("htpasswd {}", arguments.join(" ")),
                unmarked,
                column,
            ))
        })
        .collect()
}

fn by_courier(password: &str) -> Result<Vec<Made>> {
    ["md5", "md5raw", "sha", "sha256", "sha512", "ssha"]
        .into_iter()
        .map(|method| {
            let column = run("authpasswd", &[method], password)?;
            Ok(Made::new(format!("authpasswd {method}"), "", column))
        })
        .collect()
}

fn by_mariadb(server: &Server, password: &str) -> Result<Vec<Made>> {
    let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
    let made = [
        ("PASSWORD(?)", ""),
        ("OLD_PASSWORD(?)", "mysql-old"),
        ("ENCRYPT(?, 'ab')", "des"),
        ("ENCRYPT(?, '$1$saltsalt')", ""),
        ("ENCRYPT(?, '$6$saltsalt')", ""),
        ("MD5(?)", "md5"),
        ("SHA1(?)", "sha1"),
        ("SHA2(?, 256)", "sha256"),
        ("SHA2(?, 512)", "sha512"),
    ];
    made.into_iter()
        .map(|(expression, unmarked)| {
            let sql = format!("SELECT {}", expression.replace('?', &format!("x'{hex}'")));
            Ok(Made::new(
                format!("MariaDB: {expression}"),
                unmarked,
                server.text(&sql)?,
            ))
        })
        .collect()
}

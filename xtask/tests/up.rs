//! `cargo xtask up` as a newcomer and as an operator use it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::backend::{Database, Engine};
use tests::binaries::Binaries;
use tests::{Backend, Form, mariadb, schema, wait};

fn xtask(directory: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("up")
        .arg("--dir")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null());
    command.env("POSTRIDER_BIN_DIR", Binaries::locate()?.directory());
    Ok(command)
}

fn once(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output: Output = xtask(directory, &[arguments, &["--once"]].concat())?.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}\n{said}{errors}", output.status);
    ensure!(!said.contains('\x1b'), "colours where there is no terminal");
    Ok(said)
}

fn endpoints(directory: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(
        directory.join("endpoints.json"),
    )?)?)
}

fn place() -> Result<tempfile::TempDir> {
    // Short, as sockets lie below it, and open, as the daemons run under another account.
    let place = tempfile::Builder::new().prefix("up").tempdir()?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
    Ok(place)
}

#[test]
fn the_first_message_is_sent_and_read_back_and_the_accounts_stay() -> Result<()> {
    let place = place()?;
    let said = once(place.path(), &[])?;
    for part in ["over IMAPS", "over POP3S", "curl ", "openssl s_client", "stopped"] {
        ensure!(said.contains(part), "no {part} in\n{said}");
    }
    let first = endpoints(place.path())?;
    ensure!(first["host"] == "localhost", "{first}");
    for port in [
        "smtp",
        "submission",
        "submissions",
        "imap",
        "imaps",
        "pop3",
        "pop3s",
    ] {
        ensure!(
            first["ports"][port].as_u64().is_some_and(|port| port >= 1024),
            "{port}: {first}"
        );
    }
    let file = |key: &str| {
        first[key]
            .as_str()
            .map(Path::new)
            .map(Path::to_path_buf)
            .context(key.to_owned())
    };
    let mode = fs::metadata(file("ca_file")?)?.permissions().mode();
    ensure!(mode & 0o004 != 0, "the authority's file has mode {mode:o}");
    ensure!(file("mail_root")?.is_dir() && file("lmtp_socket")?.ends_with("lmtp/sock"));
    ensure!(
        first["accounts"]
            .as_array()
            .is_some_and(|accounts| accounts.len() == 2),
        "{first}"
    );
    once(place.path(), &[])?;
    ensure!(
        endpoints(place.path())?["accounts"] == first["accounts"],
        "the passwords have changed"
    );
    Ok(())
}

#[test]
fn a_database_of_the_operator_s_is_used_and_left_alone_where_it_is_in_use() -> Result<()> {
    let place = place()?;
    let backend = Backend {
        engine: Engine::MariaDb,
        form: Form::V3_3,
    };
    let database = Database::create(backend.engine, place.path(), false)?;
    database.load(backend)?;
    let Database::MariaDb { server, name } = &database else {
        anyhow::bail!("not MariaDB")
    };
    let password = mariadb::PASSWORD.replace(' ', "%20");
    let url = format!(
        "mysql://{}:{password}@localhost/{name}?socket={}",
        mariadb::USER,
        server.socket().display().to_string().replace('/', "%2F")
    );
    database.execute(&schema::insert_domain(
        backend.form,
        "in-use.example",
        "virtual",
        false,
    ))?;
    let directory = place.path().join("a");
    let said = once(&directory, &["--mysql", &url])?;
    ensure!(said.contains("no message was tried"), "{said}");
    ensure!(
        endpoints(&directory)?["accounts"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
    let secret = fs::metadata(directory.join("etc/db-password"))?
        .permissions()
        .mode();
    ensure!(secret & 0o077 == 0, "the database's password has mode {secret:o}");
    let said = once(&directory, &["--mysql", &url, "--demo"])?;
    ensure!(said.contains("over POP3S"), "{said}");
    // Another directory does not know the passwords, and gives new ones because it was asked for the demonstration.
    let said = once(&place.path().join("b"), &["--mysql", &url, "--demo"])?;
    ensure!(
        said.contains("a new password") && said.contains("over POP3S"),
        "{said}"
    );
    Ok(())
}

#[test]
fn settings_are_added_and_a_dead_daemon_is_started_again() -> Result<()> {
    let place = place()?;
    let settings = place.path().join("more.toml");
    fs::write(&settings, "[general]\nmessage_size_limit = \"7777777\"\n")?;
    let log = place.path().join("terminal");
    let mut command = xtask(place.path(), &["--config", &settings.display().to_string()])?;
    let mut child = command
        .stdout(File::create(&log)?)
        .stderr(Stdio::inherit())
        .spawn()?;
    let outcome = in_the_foreground(place.path(), &log, child.id());
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    kill(pid, Signal::SIGINT)?;
    let ended = wait::until("up to end after Ctrl-C", wait::LONG, || Ok(child.try_wait()?));
    let said = fs::read_to_string(&log)?;
    outcome.with_context(|| said.clone())?;
    ensure!(ended?.success(), "{said}");
    ensure!(said.trim_end().ends_with("stopped"), "{said}");
    Ok(())
}

fn in_the_foreground(directory: &Path, log: &Path, up: u32) -> Result<()> {
    let says = |what: &str| {
        wait::for_true(what, Duration::from_secs(60), || {
            let mut text = String::new();
            File::open(log)?.read_to_string(&mut text)?;
            Ok(text.contains(what))
        })
    };
    says("running; Ctrl-C stops it")?;
    let port = endpoints(directory)?["ports"]["smtp"]
        .as_u64()
        .context("a port")?;
    let offers = || -> Result<Vec<String>> {
        let line = tests::client::Line::tcp(format!("127.0.0.1:{port}").parse()?)?;
        tests::client::Smtp::greet(line)?.ehlo()
    };
    ensure!(offers()?.contains(&"SIZE 7777777".to_owned()), "{:?}", offers()?);
    kill(child_called(up, "smtpd")?, Signal::SIGKILL)?;
    says("smtpd has ended (signal: 9 (SIGKILL)); starting it again")?;
    wait::for_true("smtpd to serve again", wait::LONG, || Ok(offers().is_ok()))
}

/// The process of this name whose parent is `parent`.
fn child_called(parent: u32, name: &str) -> Result<Pid> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Processes come and go while the list is read.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        let Some((before, after)) = stat.rsplit_once(')') else {
            continue;
        };
        let its_parent = after.split_ascii_whitespace().nth(1);
        if before.ends_with(&format!("({name}")) && its_parent == Some(parent.to_string().as_str()) {
            let pid = before.split(' ').next().context("a process id")?;
            return Ok(Pid::from_raw(pid.parse()?));
        }
    }
    anyhow::bail!("process {parent} has no child called {name}")
}

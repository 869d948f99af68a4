//! A whole process: command line, signals, socket activation, what the service manager hears.
//!
//! The test program is itself the daemon when it is called with `--config` or `--help`; otherwise it answers
//! as cargo-nextest and cargo test expect of a test program (`--list`, `--exact NAME`).
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, ListenAddr, Networks};
use daemon::{BoxError, Connection, Context, Daemon, Limits, Peer, Refused, Service};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Greets with the host's name in force, waits for the client or the stop, says bye.
struct Probe;

impl Daemon for Probe {
    const NAME: &'static str = "probe";
    const ABOUT: &'static str = "Greets.";
    type Settings = Vec<ListenAddr>;

    fn settings(config: &Config) -> Result<Vec<ListenAddr>, BoxError> {
        if config.general.myhostname.as_str() == "refused.test" {
            return Err("this name is refused".into());
        }
        Ok(config.pop3d.listen.clone())
    }

    async fn run(ctx: Context<Vec<ListenAddr>>) -> Result<(), BoxError> {
        let listeners = ctx.listen("probe", &ctx.settings())?;
        for listener in &listeners {
            println!("{}", listener.local_addr().ok_or("TCP only")?);
        }
        ctx.ready();
        let drained = daemon::serve(&ctx, listeners, Arc::new(Greeter(ctx.clone()))).await;
        if drained.aborted > 0 {
            Err("sessions were cut off".into())
        } else {
            Ok(())
        }
    }
}

struct Greeter(Context<Vec<ListenAddr>>);

impl Service for Greeter {
    fn limits(&self) -> Limits {
        Limits {
            connections: 1000,
            per_client: 1000,
            rate: 1000,
            exceptions: Networks::default(),
        }
    }

    fn refusal(&self, _: Refused, _: &Peer) -> Vec<u8> {
        Vec::new()
    }

    async fn handle(self: Arc<Self>, mut connection: Connection) {
        let greeting = format!("{}\n", self.0.config().general.myhostname);
        let _ = connection.stream.write_all(greeting.as_bytes()).await;
        let mut byte = [0];
        tokio::select! {
            _ = connection.stream.read(&mut byte) => {}
            () = self.0.shutdown.cancelled() => {
                let _ = connection.stream.write_all(b"bye\n").await;
            }
        }
    }
}

fn main() -> ExitCode {
    let called_as_daemon =
        std::env::args().any(|arg| ["--config", "--help", "--wrong"].contains(&arg.as_str()));
    if called_as_daemon {
        return daemon::run::<Probe>();
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    let tests: [(&str, fn()); 6] = [
        ("command_line", command_line),
        ("reload_and_stop", reload_and_stop),
        ("service_manager", service_manager),
        ("socket_activation", socket_activation),
        ("wrong_start", wrong_start),
        ("no_descriptors_left", no_descriptors_left),
    ];
    let filter = args.iter().find(|arg| !arg.starts_with('-') && *arg != "terse");
    for (name, test) in tests {
        let wanted = filter.is_none_or(|f| {
            if has("--exact") {
                f == name
            } else {
                name.contains(f.as_str())
            }
        });
        if has("--ignored") || !wanted {
            continue;
        }
        if has("--list") {
            println!("{name}: test");
        } else {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// A directory with a configuration.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        site.write("first.test", "");
        site
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("postrider.toml")
    }

    fn write(&self, name: &str, more: &str) {
        let events = self.dir.path().join("events");
        let text = format!(
            "[general]\nmyhostname = \"{name}\"\nevents_dir = \"{}\"\n{more}\n[pop3d]\nlisten = [\"127.0.0.1:0\"]\n",
            events.display()
        );
        std::fs::write(self.path(), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--config").arg(self.path());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG")
            .env_remove("JOURNAL_STREAM");
        command
    }

    fn events(&self) -> Vec<String> {
        let mut names = Vec::new();
        events::read::scan(&self.dir.path().join("events"), |event| names.push(event.name())).unwrap();
        names
    }
}

/// A running daemon; killed when a test fails.
struct Running {
    child: Child,
    address: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            address: address.trim().to_owned(),
            log,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Reads the log up to a line with `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended before {text:?}"
            );
            if line.contains(text) {
                return line;
            }
        }
    }

    /// A new connection and its greeting.
    fn connect(&self) -> (BufReader<TcpStream>, String) {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stream = BufReader::new(stream);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).unwrap();
        (stream, greeting.trim().to_owned())
    }

    fn finish(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_to_end(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn command_line() {
    let site = Site::new();
    let (code, text) = run_to_end(site.command().arg("--check"));
    assert_eq!((code, text.as_str()), (0, "probe: the configuration is good\n"));
    let (code, text) = run_to_end(Command::new(std::env::current_exe().unwrap()).arg("--help"));
    assert!(
        code == 0 && text.contains("Usage: probe [OPTIONS]") && text.contains("Greets."),
        "{text}"
    );
    let (code, _) = run_to_end(Command::new(std::env::current_exe().unwrap()).arg("--wrong"));
    assert_eq!(code, 64);

    // A second --config is laid over the first.
    let over = site.dir.path().join("over.toml");
    std::fs::write(
        &over,
        "\n\n[general]\nmyhostnam = \"x\"\nshutdown_timeout = \"1y\"\n",
    )
    .unwrap();
    let (code, text) = run_to_end(site.command().arg("--config").arg(&over).arg("--check"));
    assert_eq!(code, 78);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("over.toml:4: general.myhostnam: ")
            && lines[0].contains("did you mean myhostname?")
    );
    assert!(
        lines[1].contains("over.toml:5: general.shutdown_timeout: "),
        "{text}"
    );
}

fn reload_and_stop() {
    let site = Site::new();
    let mut running = Running::start(site.command());
    running.wait_for("ready");
    let (mut old, greeting) = running.connect();
    assert_eq!(greeting, "first.test");

    site.write("second.test", "");
    running.signal(Signal::SIGHUP);
    running.wait_for("configuration reloaded");
    assert_eq!(running.connect().1, "second.test");

    for (name, more, complaint) in [
        ("third.test", "nonsense = 1", "there is no such option"),
        ("refused.test", "", "this name is refused"),
    ] {
        site.write(name, more);
        running.signal(Signal::SIGHUP);
        let line = running.wait_for("reload refused");
        assert!(line.contains(complaint), "{line}");
        assert_eq!(running.connect().1, "second.test");
    }

    // The decision log was rotated before the next reload.
    let events = site.dir.path().join("events");
    std::fs::rename(events.join("probe.jsonl"), events.join("probe.jsonl.1")).unwrap();
    site.write("fourth.test", "");
    running.signal(Signal::SIGHUP);
    running.wait_for("configuration reloaded");

    running.signal(Signal::SIGTERM);
    let mut rest = String::new();
    old.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye\n");
    let address = running.address.clone();
    assert_eq!(running.finish(), 0);
    assert!(TcpStream::connect(address).is_err());
    let names = site.events();
    assert_eq!(
        names,
        [
            "config_reloaded",
            "stopping",
            "stopped",
            "started",
            "config_reloaded",
            "config_refused",
            "config_refused"
        ],
        "the new file, then the old one"
    );
}

fn service_manager() {
    let site = Site::new();
    let path = site.dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = |wanted: &str| {
        let mut seen = Vec::new();
        loop {
            let mut text = vec![0; 4096];
            let length = manager
                .recv(&mut text)
                .unwrap_or_else(|_| panic!("{wanted} was not heard, but {seen:?}"));
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
            seen.push(text);
        }
    };
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let running = Running::start(command);
    hear("READY=1");
    hear("WATCHDOG=1");
    running.signal(Signal::SIGHUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    running.signal(Signal::SIGINT);
    hear("STOPPING=1");
    assert_eq!(running.finish(), 0);
}

fn socket_activation() {
    let site = Site::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let exe = std::env::current_exe().unwrap();
    // The shell moves the socket to descriptor 3, as systemd does.
    let start = |name: &str| {
        let script = format!(
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$0\" --config \"$1\""
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(&exe).arg(site.path());
        command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG");
        Running::start(command)
    };
    let running = start("probe");
    assert_eq!(running.address, address);
    assert_eq!(running.connect().1, "first.test");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish(), 0);

    // A name that no service has is said, and the configured address is used.
    let mut running = start("other");
    assert_ne!(running.address, address);
    running.wait_for("a name that no service has");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish(), 0);
}

fn wrong_start() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("[pop3d]\nlisten = [\"{}\"]\n", taken.local_addr().unwrap());
    let over = write(site.dir.path(), "over.toml", &text);
    let (code, text) = run_to_end(site.command().arg("--config").arg(over));
    assert!(
        code == 70 && text.contains("another process uses it"),
        "{code} {text}"
    );
}

/// Accepting pauses and goes on; nothing is lost by it.
fn no_descriptors_left() {
    let site = Site::new();
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("ulimit -n 40; exec \"$0\" --config \"$1\"")
        .arg(&exe)
        .arg(site.path());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("RUST_LOG");
    let mut running = Running::start(command);
    let mut waiting: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(&running.address).unwrap())
        .collect();
    let line = running.wait_for("accepting pauses");
    assert!(line.contains("Too many open files"), "{line}");
    // Those that wait are served as soon as others go.
    let last = waiting.pop().unwrap();
    drop(waiting);
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut greeting = String::new();
    BufReader::new(last).read_line(&mut greeting).unwrap();
    assert_eq!(greeting, "first.test\n");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish(), 0);
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

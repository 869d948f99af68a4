//! From `main` to the end of the process.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use config::Config;
use events::{About, Log, process};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Args;
use crate::blocking::{blocking, panic_message};
use crate::clock::Clock;
use crate::context::Context;
use crate::listen::Inherited;
use crate::tls::Tls;
use crate::{logging, reload, systemd};

/// Any error that ends a daemon.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// EX_USAGE, EX_SOFTWARE and EX_CONFIG of sysexits(3).
const WRONG_ARGUMENTS: u8 = 64;
const FAILED: u8 = 70;
const WRONG_CONFIG: u8 = 78;

/// How often lost lines of the logs are reported.
const LOSS_REPORT: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the logs and for blocking work each.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Descriptors that one process needs at most: more only make tables larger.
const MOST_DESCRIPTORS: u64 = 65_536;

/// A daemon: its names, its settings, its work.
pub trait Daemon: Sized + Send + Sync + 'static {
    /// Name of the program, e.g. `smtpd`.
    const NAME: &'static str;
    /// One sentence for `--help`.
    const ABOUT: &'static str;
    /// Whether the process shows the certificate of `[tls]`. Only then the key is read.
    const USES_TLS: bool = false;
    /// The process's umask.
    const UMASK: u32 = 0o077;

    /// The section of the configuration turned into checked values.
    type Settings: Send + Sync + 'static;

    /// Makes them; called at the start, by `--check`, and at every reload (where an error keeps the old ones).
    fn settings(config: &Config) -> Result<Self::Settings, BoxError>;

    /// The work: opens its sockets, says [`Context::ready`], and returns when it has drained after
    /// [`Context::shutdown`] was cancelled.
    fn run(ctx: Context<Self::Settings>) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// The whole `main` of a daemon.
pub fn run<D: Daemon>() -> ExitCode {
    let args = match Args::read(D::NAME, D::ABOUT, std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(WRONG_ARGUMENTS)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    harden(D::UMASK);
    raise_descriptor_limit();
    let (config, settings, tls) = match prepare::<D>(&args) {
        Ok(prepared) => prepared,
        Err(reason) => {
            for line in reason.lines() {
                eprintln!("{}: {line}", D::NAME);
            }
            return ExitCode::from(WRONG_CONFIG);
        }
    };
    if args.check {
        println!("{}: the configuration is good", D::NAME);
        return ExitCode::SUCCESS;
    }
    logging::start(&config.general.log_level);
    std::panic::set_hook(Box::new(log_panic));
    let result = start::<D>(args, config, settings, tls);
    if let Err(error) = &result {
        tracing::error!("{} ends: {}", D::NAME, describe(error.as_ref()));
    }
    logging::flush(LAST_WAIT);
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// An error with its causes, on one line.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors print their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// No core dumps with mail and keys in them, and files that nobody else reads.
fn harden(umask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("core dumps cannot be turned off: {error}");
    }
}

/// As many connections as the service manager allows (LimitNOFILE), not as shells are content with.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(MOST_DESCRIPTORS), hard));
    if let Err(error) = raised {
        eprintln!("the limit of open files cannot be raised: {error}");
    }
}

/// A fault of the program on one line of the log, with its place.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panic: {}", panic_message(panic.payload()));
}

fn prepare<D: Daemon>(args: &Args) -> Result<(Config, D::Settings, Option<Tls>), String> {
    let config = Config::load_layered(&args.config).map_err(|errors| errors.to_string())?;
    let settings = D::settings(&config).map_err(|error| describe(error.as_ref()))?;
    let tls = if D::USES_TLS {
        Tls::load(&config).map_err(|error| describe(&error))?
    } else {
        None
    };
    Ok((config, settings, tls))
}

fn start<D: Daemon>(
    args: Args,
    config: Config,
    settings: D::Settings,
    tls: Option<Tls>,
) -> Result<(), BoxError> {
    let clock = Clock::system();
    let host = config.general.myhostname.to_string();
    let wall = clock.clone();
    let events = Log::open(config.general.events_dir.as_path(), D::NAME, &host, move || {
        wall.now()
    })?;
    if let Some(trouble) = events.status().trouble {
        tracing::error!("the decision log is not written: {trouble}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(D::NAME)
        .build()?;
    let result = runtime.block_on(async {
        let signals = Signals::new()?;
        let inherited = Inherited::from_env();
        let ctx = Context::new(config, settings, tls, events.clone(), clock, inherited);
        announce_start(&ctx, D::NAME);
        let helpers = [
            tokio::spawn(handle_signals::<D>(ctx.clone(), args, signals)),
            tokio::spawn(systemd::watchdog()),
            tokio::spawn(report_losses(events.clone())),
        ];
        let result = D::run(ctx).await;
        for helper in helpers {
            helper.abort();
        }
        result
    });
    // Blocking work that has begun (a write, a hash) may come to its end.
    runtime.shutdown_timeout(LAST_WAIT);
    let reason = result
        .as_ref()
        .err()
        .map_or_else(|| "told to".to_owned(), |error| describe(error.as_ref()));
    events.emit(About::process(), process::Kind::Stopped { reason });
    events.flush(LAST_WAIT);
    if result.is_ok() {
        tracing::info!("{} has stopped", D::NAME);
    }
    result
}

fn announce_start<S>(ctx: &Context<S>, name: &str) {
    let kind = process::Kind::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    };
    ctx.events.emit(About::process(), kind);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} starts");
    let Some(tls) = ctx.tls() else {
        return;
    };
    reload::announce(ctx, &tls);
    let now = i64::try_from(ctx.clock.unix_millis() / 1000).unwrap_or(i64::MAX);
    if let Err(error) = tls.check_time(now) {
        tracing::error!("{error}; clients will refuse it");
    }
}

/// The signals that are handled, from the moment that this is made.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

async fn handle_signals<D: Daemon>(ctx: Context<D::Settings>, args: Args, mut signals: Signals) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                systemd::reloading();
                let (ctx, args) = (ctx.clone(), args.clone());
                let _ = blocking(move || reload::reload::<D>(&ctx, &args)).await;
                systemd::ready();
            }
            _ = signals.terminate.recv() => stop(&ctx, D::NAME),
            _ = signals.interrupt.recv() => stop(&ctx, D::NAME),
        }
    }
}

/// The first time asks, the second time ends.
fn stop<S>(ctx: &Context<S>, name: &str) {
    if ctx.shutdown.is_cancelled() {
        tracing::warn!("{name} was told twice to stop and ends at once");
        logging::flush(Duration::from_secs(1));
        std::process::exit(i32::from(FAILED));
    }
    tracing::info!("{name} stops");
    ctx.events.emit(About::process(), process::Kind::Stopping {});
    systemd::stopping();
    ctx.shutdown.cancel();
}

/// Says from time to time what the logs lost.
async fn report_losses(events: Log) {
    let mut tick = tokio::time::interval(LOSS_REPORT);
    let (mut known_events, mut known_lines, mut known_trouble) = (0, 0, None);
    loop {
        tick.tick().await;
        let status = events.status();
        if status.trouble != known_trouble {
            match &status.trouble {
                Some(trouble) => tracing::error!("the decision log is not written: {trouble}"),
                None => tracing::info!("the decision log is written again"),
            }
            known_trouble.clone_from(&status.trouble);
        }
        let lines = logging::dropped();
        if status.dropped > known_events || lines > known_lines {
            let (events, lines) = (status.dropped - known_events, lines - known_lines);
            tracing::warn!(events, lines, "lines of the logs were lost");
        }
        (known_events, known_lines) = (status.dropped, lines);
    }
}

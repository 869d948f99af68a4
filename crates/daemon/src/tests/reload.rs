//! SIGHUP: what is good takes effect, what is wrong does not.

use std::path::PathBuf;

use config::Config;
use events::{Kind, process};

use super::tls::{Pair, write_pair};
use crate::args::Args;
use crate::reload::reload;
use crate::{BoxError, Context, Daemon};

struct Greeter;

impl Daemon for Greeter {
    const NAME: &'static str = "greeter";
    const ABOUT: &'static str = "Says its name.";
    const USES_TLS: bool = true;
    type Settings = String;

    fn settings(config: &Config) -> Result<String, BoxError> {
        let name = config.general.myhostname.to_string();
        if name == "refused.test" {
            Err("not this one".into())
        } else {
            Ok(name)
        }
    }

    async fn run(_: Context<String>) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Site {
    pair: Pair,
    args: Args,
    ctx: Context<String>,
    events: events::Memory,
}

impl Site {
    fn new() -> Self {
        let pair = Pair::new();
        let args = Args {
            config: vec![pair.path("postrider.toml")],
            check: false,
        };
        write(&pair, "first.test");
        let config = Config::load_layered(&args.config).unwrap();
        let (ctx, events) = Context::for_test(config, "first.test".to_owned());
        assert!(ctx.tls().is_some());
        Self {
            pair,
            args,
            ctx,
            events,
        }
    }

    fn reload(&self) -> bool {
        reload::<Greeter>(&self.ctx, &self.args)
    }

    fn last(&self) -> process::Kind {
        match self.events.all().pop().unwrap().kind {
            Kind::Process(kind) => kind,
            other => panic!("{other:?}"),
        }
    }
}

fn write(pair: &Pair, name: &str) {
    let text = format!("[general]\nmyhostname = \"{name}\"\n{}", pair.config());
    std::fs::write(pair.path("postrider.toml"), text).unwrap();
}

#[test]
fn a_good_configuration_takes_effect_and_tells_who_waits() {
    let site = Site::new();
    let mut reloads = site.ctx.reloads();
    let before = site.ctx.tls().unwrap();
    write_pair(site.pair.dir.path(), |_| ());
    write(&site.pair, "second.test");
    assert!(site.reload());
    assert_eq!(*site.ctx.settings(), "second.test");
    assert_eq!(site.ctx.config().general.myhostname.as_str(), "second.test");
    assert!(reloads.has_changed().unwrap());
    assert_eq!(*reloads.borrow_and_update(), 1);
    assert!(!std::sync::Arc::ptr_eq(&before, &site.ctx.tls().unwrap()));
    assert_eq!(site.last(), process::Kind::ConfigReloaded {});
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let site = Site::new();
    let tls = site.ctx.tls().unwrap();
    let path: PathBuf = site.pair.path("postrider.toml");
    let texts = [
        "[general]\nmyhostnam = \"x.test\"\n",
        "not toml",
        "[general]\nmyhostname = \"refused.test\"\n",
    ];
    for text in texts {
        std::fs::write(&path, text).unwrap();
        assert!(!site.reload(), "{text}");
        assert_eq!(*site.ctx.settings(), "first.test");
        assert_eq!(site.ctx.config().general.myhostname.as_str(), "first.test");
        assert!(std::sync::Arc::ptr_eq(&tls, &site.ctx.tls().unwrap()));
        assert!(matches!(site.last(), process::Kind::ConfigRefused { .. }));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(!site.reload());
    write(&site.pair, "third.test");
    assert!(site.reload());
    assert_eq!(*site.ctx.settings(), "third.test");
}

/// What is done to the files, and its name.
type Spoil<'a> = (&'a str, Box<dyn Fn() + 'a>);

#[test]
fn a_bad_certificate_keeps_the_old_pair_and_the_rest_takes_effect() {
    let site = Site::new();
    let tls = site.ctx.tls().unwrap();
    let cert = site.pair.path("cert.pem");
    let good = std::fs::read(&cert).unwrap();
    let expire = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    let spoil: [Spoil<'_>; 4] = [
        (
            "cut",
            Box::new(|| std::fs::write(&cert, &good[..good.len() / 2]).unwrap()),
        ),
        ("missing", Box::new(|| std::fs::remove_file(&cert).unwrap())),
        (
            "expired",
            Box::new(|| drop(write_pair(site.pair.dir.path(), expire))),
        ),
        ("mismatched", Box::new(|| std::fs::write(&cert, &good).unwrap())),
    ];
    for (index, (what, spoil)) in spoil.iter().enumerate() {
        spoil();
        let name = format!("host{index}.test");
        write(&site.pair, &name);
        assert!(!site.reload(), "{what}");
        assert!(std::sync::Arc::ptr_eq(&tls, &site.ctx.tls().unwrap()), "{what}");
        assert_eq!(*site.ctx.settings(), name);
        let refused = |event: &events::Event| {
            matches!(
                event.kind,
                Kind::Process(process::Kind::CertificateRefused { .. })
            )
        };
        assert_eq!(
            site.events.all().iter().filter(|event| refused(event)).count(),
            index + 1,
            "{what}"
        );
    }
}

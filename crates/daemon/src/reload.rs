//! SIGHUP: configuration and certificate anew; what is wrong stays out and the old stays in force.

use std::sync::Arc;

use config::Config;
use events::{About, process};

use crate::args::Args;
use crate::context::Context;
use crate::logging;
use crate::run::{Daemon, describe};
use crate::tls::{Tls, TlsLoadError};

/// Reads everything again. True where all of it took effect.
pub(crate) fn reload<D: Daemon>(ctx: &Context<D::Settings>, args: &Args) -> bool {
    ctx.events.reopen();
    let (config, settings) = match read::<D>(args) {
        Ok(read) => read,
        Err(reason) => {
            for line in reason.lines() {
                tracing::error!("reload refused, the old configuration stays in force: {line}");
            }
            ctx.events
                .emit(About::process(), process::Kind::ConfigRefused { reason });
            return false;
        }
    };
    let certificate_good = !D::USES_TLS || reload_tls(ctx, &config);
    logging::set_level(&config.general.log_level);
    ctx.shared.config.store(Arc::new(config));
    ctx.shared.settings.store(Arc::new(settings));
    ctx.shared.reloads.send_modify(|count| *count += 1);
    tracing::info!("configuration reloaded");
    ctx.events
        .emit(About::process(), process::Kind::ConfigReloaded {});
    certificate_good
}

fn read<D: Daemon>(args: &Args) -> Result<(Config, D::Settings), String> {
    let config = Config::load_layered(&args.config).map_err(|errors| errors.to_string())?;
    let settings = D::settings(&config).map_err(|error| describe(error.as_ref()))?;
    if let (true, Some(missing)) = (D::USES_TLS, config.missing_certificate(D::NAME)) {
        return Err(missing);
    }
    Ok((config, settings))
}

/// Swaps the certificate where the new one is good and its time is not over.
fn reload_tls<S>(ctx: &Context<S>, config: &Config) -> bool {
    let now = i64::try_from(ctx.clock.unix_millis() / 1000).unwrap_or(i64::MAX);
    let loaded = Tls::load(config).and_then(|tls| {
        if let Some(tls) = &tls {
            tls.check_time(now)?;
        }
        Ok(tls)
    });
    match loaded {
        Ok(tls) => {
            if let Some(tls) = &tls {
                announce(ctx, tls);
            }
            ctx.shared.tls.store(tls.map(Arc::new));
            true
        }
        Err(error) => {
            refuse(ctx, config, &error);
            false
        }
    }
}

fn refuse<S>(ctx: &Context<S>, config: &Config, error: &TlsLoadError) {
    let reason = describe(error);
    tracing::error!("reload: the new certificate cannot be used, the old one stays in use: {reason}");
    let file = config
        .tls
        .certificate_file
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    ctx.events.emit(
        About::process(),
        process::Kind::CertificateRefused { file, reason },
    );
}

/// Says which certificate is in use.
pub(crate) fn announce<S>(ctx: &Context<S>, tls: &Tls) {
    let (file, not_after) = (tls.file().to_string(), tls.not_after());
    tracing::info!(file, not_after, "certificate loaded");
    ctx.events.emit(
        About::process(),
        process::Kind::CertificateLoaded { file, not_after },
    );
}

//! Logs and metrics: what the process tells of itself. Set up once, by the binary.

use std::io::IsTerminal;

use hubward_model::Problem;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::settings::LogFormat;

/// Libraries below us write headers and statements at their finest levels. They are asked for by name, or stay quiet, so
/// that `--log trace` shows no secret.
const QUIET: &str =
    "hyper=info,hyper_util=info,reqwest=info,rustls=info,sqlx=warn,axum=info,tower=info,h2=info,mio=info";

/// Writes logs to standard error.
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), Problem> {
    let filter = EnvFilter::builder().parse(format!("{QUIET},{filter}")).map_err(|error| {
        Problem::new(
            "bad_value",
            format!("the log filter {filter:?} is not understood: {error}"),
            "use error, warn, info, debug, trace, or a filter such as hubward_relay=debug,info",
        )
        .with_field("log")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let done = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    done.map_err(|error| Problem::new("internal", format!("logs cannot be set up: {error}"), "report it"))
}

/// Collects metrics from now on.
pub fn record_metrics() -> Result<PrometheusHandle, Problem> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Problem::new("internal", format!("metrics cannot be set up: {error}"), "report it"))
}

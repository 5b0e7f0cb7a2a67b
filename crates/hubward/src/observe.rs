//! Logs and metrics: what the process tells of itself. Set up once, by the binary.

use std::io::IsTerminal;

use hubward_model::Problem;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::settings::LogFormat;

/// Libraries below us write headers and statements at their finest levels. They are asked for by name, or stay quiet, so
/// that `--log trace` shows no secret.
const QUIET: &str =
    "hyper=info,hyper_util=info,reqwest=info,rustls=info,sqlx=warn,axum=info,tower=info,h2=info,mio=info";

/// The steps of delays: from a commit on a fast disk to a hub that was away for an hour.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

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

/// Histograms have the same steps everywhere, so that they can be added up.
fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
}

/// Collects metrics from now on.
pub fn record_metrics() -> Result<PrometheusHandle, Problem> {
    let refused = |error: metrics_exporter_prometheus::BuildError| {
        Problem::new("internal", format!("metrics cannot be set up: {error}"), "report it")
    };
    let handle = builder().map_err(refused)?.install_recorder().map_err(refused)?;
    hubward_api::metrics::describe();
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use hubward_api::metrics::{Kind, METRICS, describe};
    use metrics_exporter_prometheus::PrometheusRecorder;

    use super::*;

    /// Records one value of every figure.
    fn touch_all(recorder: &PrometheusRecorder) {
        metrics::with_local_recorder(recorder, || {
            describe();
            for metric in METRICS {
                let labels: Vec<metrics::Label> =
                    metric.labels.iter().map(|label| metrics::Label::new(*label, "some")).collect();
                match metric.kind {
                    Kind::Counter => metrics::counter!(metric.name, labels).increment(1),
                    Kind::Gauge => metrics::gauge!(metric.name, labels).set(1.0),
                    Kind::Histogram => metrics::histogram!(metric.name, labels).record(0.02),
                }
            }
        });
    }

    #[test]
    fn every_figure_of_the_page_has_help_and_type_and_histograms_have_steps() {
        let recorder = builder().unwrap().build_recorder();
        touch_all(&recorder);
        let page = recorder.handle().render();
        for metric in METRICS {
            let name = metric.name;
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(page.contains(&format!("# HELP {name} {}\n", metric.help)), "{name}:\n{page}");
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name}:\n{page}");
            if metric.kind == Kind::Histogram {
                assert!(page.contains(&format!("{name}_bucket")), "{name}:\n{page}");
            }
        }
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(METRICS.iter().any(|metric| metric.name == name || metric.name == plain), "{line}");
        }
    }
}

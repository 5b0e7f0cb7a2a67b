//! `hubward local-hub fault …`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hubward_local_hub::{FaultKind, FaultSpec, FaultView, Outage, WrongCertificate};
use reqwest::Method;

use crate::cli::api::Client;
use crate::cli::{Failure, output};
use crate::units;

/// `hubward local-hub fault`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FaultArgs {
    #[command(subcommand)]
    command: FaultCommand,
}

const EXAMPLES: &str = "\
Examples:
  hubward local-hub fault outage --as refuse --for 30s
  hubward local-hub fault throttle --device kitchen-1 --count 3
  hubward local-hub fault list
  hubward local-hub fault clear --all";

/// For whom, and for how long.
#[derive(Debug, Args)]
struct Scope {
    /// For this device alone [default: the whole hub]
    #[arg(long)]
    device: Option<String>,
    /// Over after it has struck so often
    #[arg(long)]
    count: Option<u64>,
    /// Over after this time, by the hub's clock
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    lasts: Option<Duration>,
}

/// For how long.
#[derive(Debug, Args)]
struct Lasts {
    /// Over after this time, by the hub's clock
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    lasts: Option<Duration>,
}

/// Which device.
#[derive(Debug, Args)]
struct Whom {
    /// The device
    #[arg(long)]
    device: String,
}

#[derive(Debug, Subcommand)]
enum FaultCommand {
    /// The hub cannot be reached, or says that it is busy
    #[command(after_help = "Examples:\n  hubward local-hub fault outage --as blackhole --for 1m")]
    Outage {
        /// How it shows
        #[arg(long = "as", value_name = "HOW", default_value = "refuse")]
        how: OutageArg,
        #[command(flatten)]
        scope: Scope,
    },
    /// Acknowledgements and answers come later
    #[command(after_help = "Examples:\n  hubward local-hub fault delay 2s --device kitchen-1")]
    Delay {
        /// How much later
        #[arg(value_name = "DURATION", value_parser = units::duration)]
        by: Duration,
        #[command(flatten)]
        scope: Scope,
    },
    /// Sends and requests are refused as too many
    #[command(after_help = "Examples:\n  hubward local-hub fault throttle --count 5")]
    Throttle {
        #[command(flatten)]
        scope: Scope,
    },
    /// Sends are refused as if the day's messages were gone
    #[command(after_help = "Examples:\n  hubward local-hub fault quota --for 10m")]
    Quota {
        #[command(flatten)]
        scope: Scope,
    },
    /// The connection is dropped instead of acknowledging a transfer
    #[command(after_help = "Examples:\n  hubward local-hub fault drop --after 10 --count 1")]
    Drop {
        /// At every so-manieth transfer
        #[arg(long, default_value_t = 1)]
        after: u64,
        /// The transfer is lost too, not only its acknowledgement
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        scope: Scope,
    },
    /// What is sent is stored and never acknowledged
    #[command(after_help = "Examples:\n  hubward local-hub fault no-disposition --device kitchen-1 --count 1")]
    NoDisposition {
        #[command(flatten)]
        scope: Scope,
    },
    /// A message is refused for good, and with it the whole batch it is in
    #[command(
        after_help = "Examples:\n  hubward local-hub fault poison --containing bad\n  hubward local-hub fault poison --property topic=Temp --close"
    )]
    Poison {
        /// One with this text in its body
        #[arg(long, value_name = "TEXT")]
        containing: Option<String>,
        /// One with this property
        #[arg(long, value_name = "NAME[=VALUE]")]
        property: Option<String>,
        /// One larger than this
        #[arg(long, value_name = "BYTES")]
        larger_than: Option<usize>,
        /// The connection is closed each time, instead of a refusal
        #[arg(long)]
        close: bool,
        #[command(flatten)]
        scope: Scope,
    },
    /// Good tokens and certificates are refused
    #[command(after_help = "Examples:\n  hubward local-hub fault token-refused --policy registryReadWrite --for 5m")]
    TokenRefused {
        /// Tokens of this shared access policy alone
        #[arg(long)]
        policy: Option<String>,
        #[command(flatten)]
        scope: Scope,
    },
    /// The device is disabled, and enabled again when the fault ends
    #[command(after_help = "Examples:\n  hubward local-hub fault disabled --device kitchen-1 --for 1m")]
    Disabled {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        lasts: Lasts,
    },
    /// The device is deleted, for good
    #[command(after_help = "Examples:\n  hubward local-hub fault deleted --device kitchen-1")]
    Deleted {
        #[command(flatten)]
        whom: Whom,
    },
    /// The device gets new keys, for good
    #[command(after_help = "Examples:\n  hubward local-hub fault rekeyed --device kitchen-1")]
    Rekeyed {
        #[command(flatten)]
        whom: Whom,
    },
    /// Another connection takes the device over
    #[command(after_help = "Examples:\n  hubward local-hub fault link-stolen --device kitchen-1 --count 3")]
    LinkStolen {
        #[command(flatten)]
        whom: Whom,
        /// So many times, whenever it connects again [default: once, unless there is a duration]
        #[arg(long)]
        count: Option<u64>,
        #[command(flatten)]
        lasts: Lasts,
    },
    /// The hub shows a certificate that no client must take
    #[command(after_help = "Examples:\n  hubward local-hub fault certificate --as expired --for 1m")]
    Certificate {
        /// Which
        #[arg(long = "as", value_name = "WHICH", default_value = "untrusted")]
        how: CertificateArg,
        #[command(flatten)]
        lasts: Lasts,
    },
    /// The faults in force
    #[command(after_help = "Examples:\n  hubward local-hub fault list --json")]
    List,
    /// End faults
    #[command(after_help = "Examples:\n  hubward local-hub fault clear 3\n  hubward local-hub fault clear --all")]
    Clear {
        /// Their numbers
        #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
        numbers: Vec<u64>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutageArg {
    /// Connections are ended and new ones refused
    Refuse,
    /// Connections are reset, new ones as soon as they are made
    Reset,
    /// Connections stay, and nothing is read or answered
    Blackhole,
    /// The hub answers that it is busy: 503, a detached link, a refused CONNECT
    Error,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CertificateArg {
    /// Of an authority that nobody trusts
    Untrusted,
    /// Expired yesterday
    Expired,
    /// For another host
    OtherName,
}

pub(super) async fn run(args: FaultArgs, client: &Client, json: bool) -> Result<(), Failure> {
    let spec = match args.command {
        FaultCommand::List => {
            let faults: Vec<FaultView> = client.get("/faults", &[]).await?;
            return if json { output::json(&faults) } else { table(&faults) };
        }
        FaultCommand::Clear { numbers, all } => {
            let ended = clear(client, &numbers, all).await?;
            if json {
                return output::json(&ended);
            }
            return output::line(&format!(
                "{} {} ended",
                ended.len(),
                if ended.len() == 1 { "fault" } else { "faults" }
            ));
        }
        command => command.spec(),
    };
    let view: FaultView = client.send(Method::POST, "/faults", &spec).await?;
    if json {
        return output::json(&view);
    }
    if view.id == 0 {
        return output::line(&format!("done: {}", describe(&view)));
    }
    output::line(&format!("fault {} is in force: {}", view.id, describe(&view)))?;
    output::line(&format!("it ends with: hubward local-hub fault clear {}", view.id))
}

async fn clear(client: &Client, numbers: &[u64], all: bool) -> Result<Vec<FaultView>, Failure> {
    if all {
        return client.delete("/faults", &[]).await;
    }
    let mut ended = Vec::new();
    for number in numbers {
        ended.push(client.delete(&format!("/faults/{number}"), &[]).await?);
    }
    Ok(ended)
}

impl FaultCommand {
    /// What the hub is asked for.
    fn spec(self) -> FaultSpec {
        let (kind, scope) = match self {
            Self::Outage { how, scope } => (FaultKind::Outage { how: how.into() }, scope),
            Self::Delay { by, scope } => (FaultKind::Delay { ms: millis(by) }, scope),
            Self::Throttle { scope } => (FaultKind::Throttle, scope),
            Self::Quota { scope } => (FaultKind::Quota, scope),
            Self::Drop { after, lost, scope } => (FaultKind::Drop { after, lost }, scope),
            Self::NoDisposition { scope } => (FaultKind::NoDisposition, scope),
            Self::Poison { containing, property, larger_than, close, scope } => {
                (FaultKind::Poison { containing, property, larger_than, close }, scope)
            }
            Self::TokenRefused { policy, scope } => (FaultKind::TokenRefused { policy }, scope),
            Self::Disabled { whom, lasts } => (FaultKind::Disabled, whom.scope(None, lasts.lasts)),
            Self::Deleted { whom } => (FaultKind::Deleted, whom.scope(None, None)),
            Self::Rekeyed { whom } => (FaultKind::Rekeyed, whom.scope(None, None)),
            Self::LinkStolen { whom, count, lasts } => (FaultKind::LinkStolen, whom.scope(count, lasts.lasts)),
            Self::Certificate { how, lasts } => {
                let scope = Scope { device: None, count: None, lasts: lasts.lasts };
                (FaultKind::Certificate { how: how.into() }, scope)
            }
            Self::List | Self::Clear { .. } => unreachable!("these put nothing in force"),
        };
        FaultSpec { kind, device: scope.device, count: scope.count, for_millis: scope.lasts.map(millis) }
    }
}

impl Whom {
    fn scope(self, count: Option<u64>, lasts: Option<Duration>) -> Scope {
        Scope { device: Some(self.device), count, lasts }
    }
}

impl From<OutageArg> for Outage {
    fn from(how: OutageArg) -> Self {
        match how {
            OutageArg::Refuse => Self::Refuse,
            OutageArg::Reset => Self::Reset,
            OutageArg::Blackhole => Self::Blackhole,
            OutageArg::Error => Self::Error,
        }
    }
}

impl From<CertificateArg> for WrongCertificate {
    fn from(how: CertificateArg) -> Self {
        match how {
            CertificateArg::Untrusted => Self::Untrusted,
            CertificateArg::Expired => Self::Expired,
            CertificateArg::OtherName => Self::OtherName,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn table(faults: &[FaultView]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> =
        faults.iter().map(|fault| vec![fault.id.to_string(), describe(fault), fault.hits.to_string()]).collect();
    output::table(&["NUMBER", "FAULT", "STRUCK"], &rows, "no faults are in force")
}

/// A fault in words: its name with what was asked, for whom, until when.
fn describe(view: &FaultView) -> String {
    let spec = serde_json::to_value(&view.spec).unwrap_or_default();
    let mut words = vec![spec["fault"].as_str().unwrap_or_default().to_owned()];
    for (name, value) in spec.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("fault" | "device" | "count" | "for_ms", _) | (_, serde_json::Value::Bool(false)) => {}
            (_, serde_json::Value::Bool(true)) => words.push(name.clone()),
            (_, serde_json::Value::String(text)) => words.push(format!("{name} {text}")),
            (_, value) => words.push(format!("{name} {value}")),
        }
    }
    words.push(view.spec.device.as_ref().map_or("the whole hub".to_owned(), |device| format!("device {device}")));
    if let Some(count) = view.spec.count {
        words.push(format!("{count} {}", if count == 1 { "time" } else { "times" }));
    }
    words.extend(view.until.as_ref().map(|until| format!("until {until}")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct OneFault {
        #[command(subcommand)]
        command: FaultCommand,
    }

    #[test]
    fn every_fault_has_an_example_in_the_documentation_that_is_understood() {
        use clap::{CommandFactory, Parser};
        let document = include_str!("../../../../../docs/local-hub.md");
        let mut shown = std::collections::BTreeSet::new();
        for line in document.lines().filter(|line| line.starts_with("| ")) {
            let Some((_, example)) = line.split_once("`hubward local-hub fault ") else { continue };
            let words: Vec<&str> = example.split('`').next().unwrap().split(' ').collect();
            let read = OneFault::try_parse_from(["fault"].iter().chain(&words));
            read.unwrap_or_else(|error| panic!("{words:?}: {error}")).command.spec();
            shown.insert(words[0].to_owned());
        }
        let all =
            OneFault::command().get_subcommands().map(|command| command.get_name().to_owned()).collect::<Vec<_>>();
        let missing: Vec<_> =
            all.iter().filter(|name| !shown.contains(*name) && !["list", "clear"].contains(&name.as_str())).collect();
        assert!(missing.is_empty() && shown.len() >= 13, "no example of {missing:?} in docs/local-hub.md");
        for how in ["refuse", "reset", "blackhole", "error"] {
            assert!(document.contains(&format!("`hubward local-hub fault outage --as {how}")), "{how}");
        }
    }

    #[test]
    fn a_fault_is_told_in_one_line() {
        let view = FaultView {
            id: 3,
            spec: FaultSpec {
                kind: FaultKind::Drop { after: 10, lost: true },
                device: Some("d1".to_owned()),
                count: Some(1),
                for_millis: Some(1000),
            },
            since: String::new(),
            until: Some("2026-11-23T00:00:00.000Z".to_owned()),
            hits: 0,
        };
        assert_eq!(describe(&view), "drop, after 10, lost, device d1, 1 time, until 2026-11-23T00:00:00.000Z");
    }
}

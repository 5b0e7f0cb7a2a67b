//! `make fuzz`: mutates the kept corpus against every target.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use clap::Parser;
use hubward_fuzz::targets::TARGETS;
use hubward_fuzz::{corpus, mutate};

/// Mutates the kept corpus against the decoders; an input that fails is kept in its folder.
#[derive(Parser)]
struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Start from this seed, to have the same inputs again.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(since_epoch.as_secs());
    let mut failed = false;
    for target in TARGETS.iter().filter(|target| args.target.as_deref().is_none_or(|name| name == target.name)) {
        let kept = corpus::read(target.name)?;
        let mut random = mutate::Random::new(seed);
        let (end, mut runs) = (Instant::now() + Duration::from_secs(args.seconds), 0u64);
        while Instant::now() < end {
            let input = mutate::mutated(&mut random, &kept);
            runs += 1;
            if catch_unwind(|| (target.run)(&input)).is_err() {
                let path = corpus::folder(target.name).join(format!("failed-{seed}-{runs}"));
                std::fs::write(&path, &input)?;
                eprintln!("{}: an input failed; it is kept as {}", target.name, path.display());
                failed = true;
                break;
            }
        }
        println!("{}: {runs} inputs, seed {seed}", target.name);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

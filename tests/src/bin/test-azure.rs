//! `make test-azure`: what Hubward does at a hub, done at a real one.

use std::path::Path;
use std::process::ExitCode;

use hubward_tests::azure::{self, Place};

const VARIABLE: &str = "HUBWARD_AZURE_CONNECTION_STRING_FILE";
const REPORT: &str = "HUBWARD_AZURE_REPORT";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(file) = std::env::var_os(VARIABLE) else {
        println!(
            "{VARIABLE} is not set: with a file that holds the iothubowner connection string of an IoT Hub (a free one is \
             enough) this would log in, make two identities named hubward-check-*, send under 200 messages over five \
             transports, read them back, disable, re-key and delete those identities, remove everything it made, and \
             write what the hub answered to azure-report.md ({REPORT})"
        );
        return ExitCode::SUCCESS;
    };
    let report = match Place::azure(Path::new(&file)) {
        Ok(place) => azure::run(&place).await,
        Err(error) => Err(error),
    };
    match report {
        Ok(report) => {
            let path = std::env::var_os(REPORT).unwrap_or_else(|| "azure-report.md".into());
            if let Err(error) = std::fs::write(&path, report.to_string()) {
                eprintln!("{}: {error}: choose another file by {REPORT}", Path::new(&path).display());
                return ExitCode::FAILURE;
            }
            println!("the report is in {}", Path::new(&path).display());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

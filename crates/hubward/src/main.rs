//! The binary: an allocator, the process's TLS provider, and the command line.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Nobody installed one before: this is the first line of the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    hubward::cli::run(std::env::args_os().collect())
}

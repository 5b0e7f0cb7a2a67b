//! Benchmarks beside peers

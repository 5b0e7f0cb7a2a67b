//! Fuzz targets as plain functions: whatever bytes come, a decoder answers or refuses; it never panics, hangs or grows.
//!
//! They run on stable Rust without an instrumented build: a seeded mutator works on a kept corpus (`fuzz/corpus/<target>`).
//! `make test` gives each target a moment, `make fuzz` as long as one likes. An input that fails is written beside the
//! corpus and belongs into it once the fault is mended. In reading order: [`targets`], [`mutate`], [`corpus`].

pub mod corpus;
pub mod mutate;
pub mod targets;

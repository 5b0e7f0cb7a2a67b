//! Provisioning against a small identity registry, with kills.

mod create;
mod edit;
mod fake_hub;
mod kit;
mod remove;

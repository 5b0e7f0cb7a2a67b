//! Provisioning against a small identity registry, with kills.

mod create;
mod drift;
mod edit;
mod fake_hub;
mod heal;
mod kit;
mod remove;

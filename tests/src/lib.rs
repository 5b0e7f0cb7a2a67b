//! End-to-end tests and their kit

//! The relay: lanes from the journal to the hubs, progress, dead letters, provisioning

//! What Hubward knows: devices, integrations, bindings, progress, dead letters, users

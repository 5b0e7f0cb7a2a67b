//! The durable journal: segments, group commit, readers, hold files

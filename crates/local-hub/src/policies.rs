//! The five shared access policies every new hub has, and what each may do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, FolderError, read_json, write_json};

/// Bytes of a generated key; the real hub's have 32.
const KEY_BYTES: usize = 32;

/// What a policy may allow (IoT Hub wire reference, section 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Read the identity registry.
    RegistryRead,
    /// Write the identity registry.
    RegistryWrite,
    /// The service side: read events, query.
    ServiceConnect,
    /// The device side, on behalf of any device.
    DeviceConnect,
}

/// Names and rights of the policies of a new hub.
const DEFAULT_POLICIES: [(&str, &[Right]); 5] = [
    ("iothubowner", &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect]),
    ("service", &[Right::ServiceConnect]),
    ("device", &[Right::DeviceConnect]),
    ("registryRead", &[Right::RegistryRead]),
    ("registryReadWrite", &[Right::RegistryRead, Right::RegistryWrite]),
];

/// A shared access policy.
pub(crate) struct Policy {
    /// Its name, `skn` of its tokens.
    pub(crate) name: &'static str,
    /// What it allows.
    pub(crate) rights: &'static [Right],
    /// Its two keys, as base64 text; either signs.
    pub(crate) keys: [String; 2],
}

/// All policies of the hub.
pub(crate) struct Policies(Vec<Policy>);

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    primary: String,
    secondary: String,
}

impl Policies {
    /// Reads the policies' keys, or makes them for a new hub.
    pub(crate) fn open(folder: &Folder) -> Result<Self, FolderError> {
        let path = folder.file("policies.json");
        let mut stored: Vec<Stored> = read_json(&path)?.unwrap_or_default();
        let mut made_one = false;
        let policies = DEFAULT_POLICIES.map(|(name, rights)| {
            if !stored.iter().any(|policy| policy.name == name) {
                stored.push(Stored { name: name.to_owned(), primary: new_key(), secondary: new_key() });
                made_one = true;
            }
            let keys = stored.iter().find(|policy| policy.name == name);
            let keys = keys.map(|policy| [policy.primary.clone(), policy.secondary.clone()]).unwrap_or_default();
            Policy { name, rights, keys }
        });
        if made_one {
            write_json(&path, &stored)?;
        }
        Ok(Self(policies.into()))
    }

    /// The policy called `name`; names are compared exactly.
    pub(crate) fn get(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name == name)
    }
}

/// A fresh random key, as the registry shows it: base64 of 32 bytes.
pub(crate) fn new_key() -> String {
    let mut bytes = [0u8; KEY_BYTES];
    // A key that can be guessed would be worse than no hub.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_restart_and_all_differ() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let first = Policies::open(&folder).unwrap();
        let second = Policies::open(&folder).unwrap();
        let mut keys: Vec<_> = first.0.iter().flat_map(|policy| policy.keys.clone()).collect();
        assert_eq!(keys, second.0.iter().flat_map(|policy| policy.keys.clone()).collect::<Vec<_>>());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 10);
    }
}

use std::collections::HashMap;

/// Handles below this are looked up by index.
const DENSE: u32 = 4096;

/// Our handle by the peer's. Peers number links from 0 up, so that an array serves; one that does not cannot make us
/// hold an array as long as its highest handle.
#[derive(Debug, Default)]
pub(super) struct Handles {
    dense: Vec<Option<u32>>,
    sparse: HashMap<u32, u32>,
}

impl Handles {
    pub(super) fn get(&self, remote: u32) -> Option<u32> {
        if remote < DENSE {
            return self.dense.get(remote as usize).copied().flatten();
        }
        self.sparse.get(&remote).copied()
    }

    pub(super) fn insert(&mut self, remote: u32, ours: u32) {
        if remote >= DENSE {
            self.sparse.insert(remote, ours);
            return;
        }
        let index = remote as usize;
        if index >= self.dense.len() {
            self.dense.resize(index + 1, None);
        }
        self.dense[index] = Some(ours);
    }

    pub(super) fn remove(&mut self, remote: u32) {
        if let Some(entry) = self.dense.get_mut(remote as usize) {
            *entry = None;
        }
        self.sparse.remove(&remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_and_high_handles_are_found_until_they_are_removed() {
        let mut handles = Handles::default();
        for (ours, remote) in [0, 7, DENSE - 1, DENSE, u32::MAX].into_iter().enumerate() {
            let ours = u32::try_from(ours).expect("five");
            assert_eq!(handles.get(remote), None);
            handles.insert(remote, ours);
            assert_eq!(handles.get(remote), Some(ours));
        }
        assert!(handles.dense.len() <= 4096);
        for remote in [0, 7, DENSE - 1, DENSE, u32::MAX] {
            handles.remove(remote);
            assert_eq!(handles.get(remote), None);
        }
    }
}

//! Passwords that people made: argon2id, off the runtime's threads, few at once.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// One hash takes 19 MiB and some 20 ms of a core: more at once would starve the rest.
const AT_ONCE: usize = 2;

/// Limits how many are worked on at once.
pub(crate) struct Passwords {
    permits: Semaphore,
    /// What the password of an unknown name is compared with.
    nobodys: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { permits: Semaphore::new(AT_ONCE), nobodys: Arc::default() }
    }
}

impl Passwords {
    /// The text to store for `password`.
    pub(crate) async fn hash(&self, password: &SecretString) -> String {
        let password = password.clone();
        self.work(move || hash(&password)).await
    }

    /// Whether `password` is the one `phc` was made of. Without one it takes as long, and answers no.
    pub(crate) async fn verify(&self, password: &SecretString, phc: Option<String>) -> bool {
        let (password, nobodys) = (password.clone(), Arc::clone(&self.nobodys));
        self.work(move || {
            let stored = match &phc {
                Some(phc) => phc,
                None => nobodys.get_or_init(|| hash(&crate::random::secret(""))),
            };
            let password = password.expose_secret().as_bytes();
            let right = PasswordHash::new(stored)
                .is_ok_and(|stored| Argon2::default().verify_password(password, &stored).is_ok());
            right && phc.is_some()
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed, and a permit that could not be had would only mean more at once.
        let _permit = self.permits.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn hash(password: &SecretString) -> String {
    let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
    // It fails only for passwords above 4 GiB and without randomness.
    hash.expect("argon2 hashes any password").to_string()
}

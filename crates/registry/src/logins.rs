//! Who may connect, judged from memory.
//!
//! The registry keeps every device's credential and every API token here, so a thousand devices that connect at once
//! ask no database. A write tells it before its commit that a change is on the way (`Logins::change`) and after it
//! what changed; if the second part never comes (the caller was dropped half way), the next login loads everything
//! again. So a credential that was taken back is never honoured.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use hubward_model::{DeviceId, DeviceKind, DeviceName, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::devices::{Device, digest};
use crate::directory::Card;
use crate::password::Passwords;
use crate::{ApiToken, Error, Registry, random};

/// What a client says of itself when it connects.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    /// Its MQTT client id.
    pub client_id: &'a str,
    /// Its user name.
    pub username: Option<&'a str>,
    /// Its password.
    pub password: Option<&'a SecretString>,
}

/// Who it is.
#[derive(Debug, Clone)]
pub enum Verified {
    /// A device.
    Device(LoginDevice),
    /// An app, by its API token; what it may do stands in the token's scopes.
    App(ApiToken),
}

/// A device that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginDevice {
    /// Its id.
    pub id: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// How it speaks.
    pub kind: DeviceKind,
    /// Uplink topic filters of its own; none: those of its kind.
    pub topics: Arc<[String]>,
}

/// Why a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown user name, wrong password, a token that is not the client id, or a device that is being removed.
    #[error("no device or app with these credentials")]
    BadCredentials,
    /// The registry could not tell.
    #[error("logins cannot be checked")]
    Unavailable(#[source] Error),
}

impl Registry {
    /// Judges a login. Devices of kind mqtt give their id (or user name) and secret, Pycom's firmware its token as
    /// client id and password, apps any user name and an API token.
    ///
    /// # Errors
    /// When it is refused, or cannot be judged.
    pub async fn verify_login(&self, attempt: &LoginAttempt<'_>) -> Result<Verified, LoginRefused> {
        self.refresh_logins().await.map_err(LoginRefused::Unavailable)?;
        let password = attempt.password.ok_or(LoginRefused::BadCredentials)?;
        let digest = digest(password);

        // Pycom's firmware: the token is looked up by its hash, the user name is checked if one is set.
        let (by_name, app) = {
            let index = self.inner.logins.read();
            if let Some((entry, which)) = index.of_token(&digest) {
                let same = bool::from(attempt.client_id.as_bytes().ct_eq(password.expose_secret().as_bytes()));
                let owner = entry.username.as_deref().is_none_or(|owner| attempt.username == Some(owner));
                let verified = same && owner && !entry.removing;
                return if verified { Ok(entry.verified(which)) } else { Err(LoginRefused::BadCredentials) };
            }
            (attempt.username.and_then(|name| index.by_name(name)).cloned(), index.app(&digest))
        };
        if let Some(entry) = by_name.filter(|entry| !entry.removing) {
            if self.inner.logins.proves(&entry.credential, password, &digest, &entry.id).await {
                return Ok(entry.verified(Which::New));
            }
            if let Some(old) = entry.old.as_ref().filter(|old| old.counts())
                && self.inner.logins.proves(&old.credential, password, &digest, &entry.id).await
            {
                return Ok(entry.verified(Which::Old));
            }
        }
        app.map(Verified::App).ok_or(LoginRefused::BadCredentials)
    }

    /// The Pycom device whose token this is.
    #[must_use]
    pub fn device_of_token(&self, token: &str) -> Option<DeviceId> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.inner.logins.read().of_token(&digest).map(|(entry, _)| entry.id.clone())
    }

    /// Whether the device may still use the credential before its present one, and was not seen with the present one
    /// since the rotation (or the start).
    #[must_use]
    pub fn still_on_old(&self, id: &DeviceId) -> bool {
        self.inner.logins.read().devices.get(id).is_some_and(|entry| entry.still_on_old())
    }

    /// The name of a device, from memory.
    #[must_use]
    pub fn device_name(&self, id: &DeviceId) -> Option<DeviceName> {
        self.inner.logins.read().devices.get(id).map(|entry| entry.name.clone())
    }

    /// The API token that this is the secret of, unless it expired.
    #[must_use]
    pub fn verify_api_token(&self, secret: &SecretString) -> Option<ApiToken> {
        self.inner.logins.read().app(&digest(secret))
    }

    /// Whether the API token of this id was neither revoked nor expired.
    #[must_use]
    pub fn token_lasts(&self, id: &str) -> bool {
        let now = Timestamp::now();
        let index = self.inner.logins.read();
        index.apps.values().any(|token| token.id == id && token.expires_at.is_none_or(|end| now < end))
    }

    /// The name of the API token of this id, from memory; expired ones too.
    #[must_use]
    pub fn token_name(&self, id: &str) -> Option<String> {
        self.inner.logins.read().apps.values().find(|token| token.id == id).map(|token| token.name.clone())
    }

    /// Loads all logins, at the start.
    pub(crate) async fn load_logins(&self) -> Result<(), Error> {
        self.inner.logins.stale.store(true, Ordering::SeqCst);
        self.refresh_logins().await
    }

    /// Loads all logins again if a change was begun and never told. A change that is under way is waited for.
    async fn refresh_logins(&self) -> Result<(), Error> {
        let logins = &self.inner.logins;
        if !logins.stale.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut writer = self.writer().await;
        if logins.stale.load(Ordering::SeqCst) {
            let entries = Self::login_entries(&mut writer.connection).await?;
            let apps = Self::token_entries(&mut writer.connection).await?;
            let mut index = logins.write();
            *index = Index::default();
            entries.into_iter().for_each(|entry| index.put(entry));
            index.apps.extend(apps);
            drop(index);
            logins.stale.store(false, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// All credentials, in memory.
pub(crate) struct Logins {
    index: RwLock<Index>,
    stale: AtomicBool,
    pub(crate) passwords: Passwords,
    /// When each API token's last use was written down.
    uses: Mutex<HashMap<String, Timestamp>>,
    /// Of this process alone: a stolen memory image apart, what it makes of a password is of no use.
    pepper: Zeroizing<[u8; 32]>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            index: RwLock::default(),
            stale: AtomicBool::new(true),
            passwords: Passwords::default(),
            uses: Mutex::default(),
            pepper: random::bytes(),
        }
    }
}

impl Logins {
    /// Says that a change will be committed; what the answer is told afterwards is what changed. Called by the writer.
    pub(crate) fn change(&self) -> Change<'_> {
        let missed_one = self.stale.swap(true, Ordering::SeqCst);
        Change { logins: self, missed_one }
    }

    /// Whether the password, or its digest, is what the device proves itself with.
    async fn proves(&self, credential: &Credential, password: &SecretString, digest: &[u8; 32], id: &DeviceId) -> bool {
        match credential {
            Credential::Digest(stored) => stored.ct_eq(digest).into(),
            Credential::Password { phc, seen } => self.verify_password(password, phc, seen, id).await,
        }
    }

    /// Devices whose old credential counts no more, each with whether it was not seen with the new one.
    pub(crate) fn ended_overlaps(&self, now: Timestamp) -> Vec<(DeviceId, bool)> {
        let index = self.read();
        let ended = index.overlaps.iter().filter(|(_, until)| **until <= now);
        ended.map(|(id, _)| (id.clone(), index.devices.get(id).is_some_and(|entry| entry.still_on_old()))).collect()
    }

    /// argon2id once for each password, then its keyed hash: devices reconnect with the same one.
    async fn verify_password(&self, password: &SecretString, phc: &str, seen: &Seen, id: &DeviceId) -> bool {
        let keyed: [u8; 32] = Sha256::new()
            .chain_update(self.pepper.as_slice())
            .chain_update(id.as_str())
            .chain_update(b"\0")
            .chain_update(password.expose_secret())
            .finalize()
            .into();
        let known = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|known| known.ct_eq(&keyed).into()) {
            return true;
        }
        let right = self.passwords.verify(password, Some(phc.to_owned())).await;
        if right {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(keyed);
        }
        right
    }

    /// See [`Registry::choose_devices`].
    pub(crate) fn cards<T>(&self, choose: &mut dyn FnMut(Card<'_>) -> Option<T>) -> Vec<T> {
        let index = self.read();
        let card = |entry: &Arc<Entry>| {
            choose(Card { id: &entry.id, name: &entry.name, kind: entry.kind, created_at: entry.created_at })
        };
        index.devices.values().filter(|entry| !entry.removing).filter_map(card).collect()
    }

    /// How many devices there are.
    pub(crate) fn len(&self) -> usize {
        self.read().devices.len()
    }

    /// The device of kind mqtt that logs in with this user name.
    pub(crate) fn device_of_username(&self, username: &str) -> Option<DeviceId> {
        self.read().by_name(username).map(|entry| entry.id.clone())
    }

    /// Whether this use of a token is to be written down: the first, and then one a minute.
    pub(crate) fn note_use(&self, token: &str, now: Timestamp) -> bool {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = uses.get(token).is_some_and(|last| (0..60_000).contains(&(now.as_millis() - last.as_millis())));
        if !noted {
            uses.insert(token.to_owned(), now);
        }
        !noted
    }

    /// A token that is gone is used no more.
    pub(crate) fn forget_use(&self, token: &str) {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that is being committed.
pub(crate) struct Change<'a> {
    logins: &'a Logins,
    /// An earlier change was never told: only loading all again helps.
    missed_one: bool,
}

impl Change<'_> {
    pub(crate) fn put(self, entries: impl IntoIterator<Item = Entry>) {
        self.apply(|index| entries.into_iter().for_each(|entry| index.put(entry)));
    }

    pub(crate) fn remove(self, id: &DeviceId) {
        self.apply(|index| index.remove(id));
    }

    pub(crate) fn put_app(self, digest: [u8; 32], token: ApiToken) {
        self.apply(|index| drop(index.apps.insert(digest, token)));
    }

    pub(crate) fn remove_app(self, id: &str) {
        self.apply(|index| index.apps.retain(|_, token| token.id != id));
    }

    fn apply(self, change: impl FnOnce(&mut Index)) {
        change(&mut self.logins.write());
        self.logins.stale.store(self.missed_one, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Index {
    devices: HashMap<DeviceId, Arc<Entry>>,
    /// User names of devices of kind mqtt that have their own.
    by_username: HashMap<String, DeviceId>,
    /// SHA-256 of tokens of devices of kind pycom, the old one of an overlap too.
    by_token: HashMap<[u8; 32], DeviceId>,
    /// Until when old credentials count.
    overlaps: HashMap<DeviceId, Timestamp>,
    apps: HashMap<[u8; 32], ApiToken>,
}

impl Index {
    fn put(&mut self, entry: Entry) {
        self.remove(&entry.id);
        match (entry.kind, &entry.credential, &entry.username) {
            (DeviceKind::Pycom, Credential::Digest(digest), _) => {
                self.by_token.insert(*digest, entry.id.clone());
            }
            (DeviceKind::Mqtt, _, Some(username)) => {
                self.by_username.insert(username.clone(), entry.id.clone());
            }
            _ => {}
        }
        if let Some(old) = &entry.old {
            if let (DeviceKind::Pycom, Credential::Digest(digest)) = (entry.kind, &old.credential) {
                self.by_token.insert(*digest, entry.id.clone());
            }
            self.overlaps.insert(entry.id.clone(), old.until);
        }
        self.devices.insert(entry.id.clone(), Arc::new(entry));
    }

    fn remove(&mut self, id: &DeviceId) {
        let Some(entry) = self.devices.remove(id) else { return };
        if let Credential::Digest(digest) = &entry.credential {
            self.by_token.remove(digest);
        }
        if let Some(Old { credential: Credential::Digest(digest), .. }) = &entry.old {
            self.by_token.remove(digest);
        }
        self.overlaps.remove(id);
        if let (DeviceKind::Mqtt, Some(username)) = (entry.kind, &entry.username) {
            self.by_username.remove(username);
        }
    }

    /// The device of kind mqtt that logs in with this user name.
    fn by_name(&self, username: &str) -> Option<&Arc<Entry>> {
        let id = match self.by_username.get(username) {
            Some(id) => id.clone(),
            None => username.parse().ok()?,
        };
        self.devices.get(&id).filter(|entry| entry.kind == DeviceKind::Mqtt)
    }

    /// The Pycom device of the token with this digest, and whether it is its present or its old one.
    fn of_token(&self, digest: &[u8; 32]) -> Option<(&Arc<Entry>, Which)> {
        let entry = self.by_token.get(digest).and_then(|id| self.devices.get(id))?;
        match &entry.credential {
            Credential::Digest(present) if bool::from(present.ct_eq(digest)) => Some((entry, Which::New)),
            _ => entry.old.as_ref().is_some_and(Old::counts).then_some((entry, Which::Old)),
        }
    }

    fn app(&self, digest: &[u8; 32]) -> Option<ApiToken> {
        let token = self.apps.get(digest)?;
        token.expires_at.is_none_or(|end| Timestamp::now() < end).then(|| token.clone())
    }
}

/// A device as logins know it.
pub(crate) struct Entry {
    id: DeviceId,
    name: DeviceName,
    kind: DeviceKind,
    username: Option<String>,
    topics: Arc<[String]>,
    credential: Credential,
    /// What it had before, while that counts too.
    old: Option<Old>,
    removing: bool,
    created_at: Timestamp,
}

/// Which credential a login proved itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    New,
    Old,
}

/// The credential before the present one.
pub(crate) struct Old {
    credential: Credential,
    until: Timestamp,
    /// The last login was with the present one. Forgotten when anything of the device changes: the cost is one
    /// connection more that is closed at the end.
    moved: AtomicBool,
}

impl Old {
    pub(crate) fn new(credential: Credential, until: Timestamp) -> Self {
        Self { credential, until, moved: AtomicBool::new(false) }
    }

    fn counts(&self) -> bool {
        Timestamp::now() < self.until
    }
}

impl Entry {
    pub(crate) fn new(device: &Device, credential: Credential, old: Option<Old>) -> Self {
        Self {
            id: device.id.clone(),
            name: device.name.clone(),
            kind: device.kind,
            username: device.username.clone(),
            topics: device.topics.clone().into(),
            credential,
            old,
            removing: device.removing,
            created_at: device.created_at,
        }
    }

    fn still_on_old(&self) -> bool {
        self.old.as_ref().is_some_and(|old| !old.moved.load(Ordering::Relaxed))
    }

    fn verified(&self, which: Which) -> Verified {
        if let Some(old) = &self.old {
            old.moved.store(which == Which::New, Ordering::Relaxed);
        }
        Verified::Device(LoginDevice {
            id: self.id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            topics: Arc::clone(&self.topics),
        })
    }
}

/// What a device proves itself with.
pub(crate) enum Credential {
    /// SHA-256 of a random secret.
    Digest([u8; 32]),
    /// An imported password.
    Password { phc: String, seen: Seen },
}

/// The keyed hash of the password that was right.
type Seen = Mutex<Option<[u8; 32]>>;

impl Credential {
    pub(crate) fn phc(phc: String) -> Self {
        Self::Password { phc, seen: Mutex::default() }
    }
}

#[cfg(test)]
mod tests;

//! A twin: tags, desired and reported properties, their versions, and when each of them was last changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::twin_rules::{self, Limit};

/// A device's twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Twin {
    /// Counts every change of the twin.
    pub(crate) version: u64,
    /// Counts what the service side changed; the etag is made of it.
    edits: u64,
    /// Seen by the service side only.
    pub(crate) tags: Map<String, Value>,
    /// Set by the service side, read by the device.
    pub(crate) desired: Section,
    /// Set by the device, read by the service side.
    pub(crate) reported: Section,
    /// The model the device said it follows when it last connected.
    #[serde(default)]
    pub(crate) model_id: String,
}

/// Desired or reported properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    /// The properties, without anything that begins with `$`.
    pub(crate) values: Map<String, Value>,
    /// When each was last changed, in the form the service shows.
    metadata: Map<String, Value>,
    /// `$version`.
    pub(crate) version: u64,
}

/// What the service side wants changed. An absent part is left alone by a PATCH and emptied by a PUT.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TwinChange {
    pub(crate) tags: Option<Map<String, Value>>,
    pub(crate) desired: Option<Map<String, Value>>,
}

/// What a device is told of its desired properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredUpdate {
    /// Their version now.
    pub(crate) version: u64,
    /// The change as JSON, `$version` included.
    pub(crate) patch_json: Bytes,
}

impl Twin {
    /// The twin of a device that nobody has written to yet. Versions and etag are what a new one has on the real hub
    /// (reference, 2.3 and 2.6).
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            version: 2,
            edits: 1,
            tags: Map::new(),
            desired: Section::new(now, true),
            reported: Section::new(now, false),
            model_id: String::new(),
        }
    }

    /// The etag, bare: it follows changes by the service side.
    ///
    /// UNCONFIRMED (reference, 2.3): that what a device reports leaves it as it is; seen on real twins' versions.
    pub(crate) fn etag(&self) -> String {
        STANDARD.encode(self.edits.to_be_bytes())
    }

    /// The twin after a PATCH of the service side, and what the device is to be told of it.
    pub(super) fn patched(&self, change: &TwinChange, now: Timestamp) -> Result<(Self, Option<DesiredUpdate>), String> {
        let mut twin = self.clone();
        if let Some(tags) = &change.tags {
            let tags = twin_rules::checked_patch("tags", tags)?;
            merge_plain(&mut twin.tags, &tags);
            twin_rules::check_whole(Limit::TAGS, &twin.tags)?;
        }
        let mut update = None;
        if let Some(desired) = &change.desired {
            let patch = twin_rules::checked_patch("properties.desired", desired)?;
            twin.desired.patch(&patch, now, true);
            twin_rules::check_whole(Limit::DESIRED, &twin.desired.values)?;
            update = Some(DesiredUpdate::new(&patch, twin.desired.version));
        }
        twin.version += 1;
        twin.edits += 1;
        Ok((twin, update))
    }

    /// The twin after a PUT of the service side: tags and desired properties are what the change says and nothing else.
    ///
    /// UNCONFIRMED (reference, 2.6): what the device is told of it. Here the new desired properties as a whole.
    pub(super) fn replaced(&self, change: &TwinChange, now: Timestamp) -> Result<(Self, DesiredUpdate), String> {
        let mut twin = self.clone();
        let (none, mut tags) = (Map::new(), Map::new());
        merge_plain(&mut tags, &twin_rules::checked_patch("tags", change.tags.as_ref().unwrap_or(&none))?);
        twin_rules::check_whole(Limit::TAGS, &tags)?;
        twin.tags = tags;
        let wanted = twin_rules::checked_patch("properties.desired", change.desired.as_ref().unwrap_or(&none))?;
        let version = twin.desired.version;
        twin.desired = Section { version, ..Section::new(now, true) };
        twin.desired.patch(&wanted, now, true);
        twin_rules::check_whole(Limit::DESIRED, &twin.desired.values)?;
        twin.version += 1;
        twin.edits += 1;
        let update = DesiredUpdate::new(&twin.desired.values, twin.desired.version);
        Ok((twin, update))
    }

    /// The twin after the device reported `patch`.
    pub(super) fn reported(&self, patch: &Map<String, Value>, now: Timestamp) -> Result<Self, String> {
        let mut twin = self.clone();
        let patch = twin_rules::checked_patch("properties.reported", patch)?;
        twin.reported.patch(&patch, now, false);
        twin_rules::check_whole(Limit::REPORTED, &twin.reported.values)?;
        twin.version += 1;
        Ok(twin)
    }

    /// The twin of a device that says it follows another model.
    pub(super) fn following(&self, model_id: &str) -> Self {
        Self { model_id: model_id.to_owned(), ..self.clone() }
    }

    /// What the device gets when it asks for its twin.
    pub(crate) fn for_device(&self) -> Value {
        json!({ "desired": self.desired.bare_json(), "reported": self.reported.bare_json() })
    }
}

impl Section {
    fn new(now: Timestamp, versioned: bool) -> Self {
        let mut metadata = Map::new();
        stamp(&mut metadata, now, versioned.then_some(1));
        Self { values: Map::new(), metadata, version: 1 }
    }

    fn patch(&mut self, patch: &Map<String, Value>, now: Timestamp, versioned: bool) {
        self.version += 1;
        let version = versioned.then_some(self.version);
        merge(&mut self.values, &mut self.metadata, patch, now, version);
    }

    /// As services see it: the properties, `$metadata` and `$version`.
    pub(crate) fn to_json(&self) -> Value {
        let mut all = self.values.clone();
        all.insert("$metadata".to_owned(), Value::Object(self.metadata.clone()));
        all.insert("$version".to_owned(), self.version.into());
        Value::Object(all)
    }

    /// As the device sees it: the properties and `$version`.
    pub(crate) fn bare_json(&self) -> Value {
        let mut all = self.values.clone();
        all.insert("$version".to_owned(), self.version.into());
        Value::Object(all)
    }
}

impl DesiredUpdate {
    fn new(patch: &Map<String, Value>, version: u64) -> Self {
        let mut patch = patch.clone();
        patch.insert("$version".to_owned(), version.into());
        Self { version, patch_json: Value::Object(patch).to_string().into() }
    }
}

/// Merges `patch` and notes when each property was changed. A null deletes, an object merges, all else replaces.
fn merge(
    values: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    now: Timestamp,
    version: Option<u64>,
) {
    stamp(metadata, now, version);
    for (key, wanted) in patch {
        match wanted {
            Value::Null => {
                values.shift_remove(key);
                metadata.shift_remove(key);
            }
            Value::Object(below) => {
                let value = object_at(values, key);
                // What was no object before has no properties whose times could be kept.
                if value.is_empty() {
                    metadata.insert(key.clone(), json!({}));
                }
                merge(value, object_at(metadata, key), below, now, version);
            }
            other => {
                values.insert(key.clone(), other.clone());
                let mut stamps = Map::new();
                stamp(&mut stamps, now, version);
                metadata.insert(key.clone(), Value::Object(stamps));
            }
        }
    }
}

/// The object at `key`, made if there is none.
fn object_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key.to_owned()).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("an object was put there just now"),
    }
}

/// The same without times: tags have none.
fn merge_plain(values: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, wanted) in patch {
        match wanted {
            Value::Null => {
                values.shift_remove(key);
            }
            Value::Object(below) => merge_plain(object_at(values, key), below),
            other => {
                values.insert(key.clone(), other.clone());
            }
        }
    }
}

fn stamp(metadata: &mut Map<String, Value>, now: Timestamp, version: Option<u64>) {
    metadata.insert("$lastUpdated".to_owned(), now.to_string().into());
    if let Some(version) = version {
        metadata.insert("$lastUpdatedVersion".to_owned(), version.into());
    }
}

//! What a client sent, as named fields.

use std::collections::{BTreeMap, BTreeSet};

/// Field and value.
pub(crate) type Fields = BTreeMap<String, String>;

/// The fields in which two differ.
pub(crate) fn differing(a: &Fields, b: &Fields) -> BTreeSet<String> {
    a.keys().chain(b.keys()).filter(|field| a.get(*field) != b.get(*field)).cloned().collect()
}

/// A SAS token, part by part: what it is for is compared, when it ends and its signature are not.
pub(crate) fn token(fields: &mut Fields, at: &str, text: &str) {
    let parts = text.strip_prefix("SharedAccessSignature ").expect("a SAS token");
    for part in parts.split('&') {
        let (name, value) = part.split_once('=').expect("name and value");
        let value = match name {
            "se" => format!("{} digits", value.len()),
            "sig" => "a signature".to_owned(),
            // Escaped with small or capital letters is the same.
            _ => value.replace("%2f", "%2F"),
        };
        fields.insert(format!("{at}.{name}"), value);
    }
}

/// A client's name for itself: that there is one is compared.
pub(crate) fn named(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { "a client's name".to_owned() }
}

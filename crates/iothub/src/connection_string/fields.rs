//! The grammar that all connection strings share: `Name=Value` pairs joined by `;`, each split at its first `=`.

use secrecy::{ExposeSecret, SecretString};

use super::ConnectionStringError;

/// Every field that any kind of connection string may hold, as Microsoft spells it.
pub(super) const KNOWN: &[&str] = &[
    "HostName",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "DeviceId",
    "ModuleId",
    "GatewayHostName",
    "x509",
    "Endpoint",
    "EntityPath",
    "UseDevelopmentEmulator",
];

/// The pairs of a connection string, in order, names not yet judged.
pub(super) struct Fields(Vec<(String, SecretString)>);

impl Fields {
    /// Splits `text`, after cutting blanks, quotes and line ends off both ends.
    pub(super) fn split(text: &str) -> Result<Self, ConnectionStringError> {
        const COPY: &str = "copy it again from the portal (your hub, Shared access policies); it looks like \
                            HostName=…;SharedAccessKeyName=…;SharedAccessKey=…";
        let grammar = |reason: &str, remedy| ConnectionStringError::Grammar { reason: reason.to_owned(), remedy };
        let text = trim(text);
        if text.is_empty() {
            return Err(grammar("it is empty", COPY));
        }
        if let Some(at) = text.chars().position(|c| c.is_whitespace() || c.is_control()) {
            let reason = format!("there is a blank or a line end in it, at character {}", at + 1);
            return Err(ConnectionStringError::Grammar { reason, remedy: "give one connection string, in one piece" });
        }
        let Some(text) = Some(text).filter(|text| !text.ends_with(';')) else {
            return Err(grammar(
                "it ends in ';', so a part of it may be missing",
                "copy it again, or cut the last ';' off",
            ));
        };
        let mut fields: Vec<(String, SecretString)> = Vec::new();
        for (index, pair) in text.split(';').enumerate() {
            let Some((name, value)) = pair.split_once('=') else {
                let reason = format!("part {} is not of the form Name=Value", index + 1);
                return Err(ConnectionStringError::Grammar { reason, remedy: COPY });
            };
            if name.is_empty() {
                let reason = format!("part {} has no name before its '='", index + 1);
                return Err(ConnectionStringError::Grammar { reason, remedy: COPY });
            }
            fields.push((name.to_owned(), SecretString::from(value)));
        }
        for (index, (name, _)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(ConnectionStringError::DuplicateField { field: name_or_place(name, index) });
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// The value of `name`; an empty one is as good as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.expose_secret()).filter(|v| !v.is_empty())
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&str, ConnectionStringError> {
        self.get(name).ok_or(ConnectionStringError::MissingField { field: name })
    }

    /// Refuses every field that is not in `allowed`.
    pub(super) fn only(&self, allowed: &[&'static str]) -> Result<(), ConnectionStringError> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                let meant = allowed.iter().copied().find(|known| near(name, known) && !self.has(known));
                return Err(ConnectionStringError::UnknownField { what: name_or_place(name, index), meant });
            }
        }
        Ok(())
    }
}

/// Cuts off both ends what comes along when a text is copied: blanks, line ends, quotes, a byte order mark.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '`' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' | '\u{feff}' | '\u{200b}'
            )
    })
}

/// The name if it surely is one, else where it stands: what precedes an `=` may be the end of a key.
fn name_or_place(name: &str, index: usize) -> String {
    let known = KNOWN.iter().any(|known| near(name, known));
    let word = name.len() <= 24 && name.bytes().all(|b| b.is_ascii_alphabetic());
    if known || word { name.to_owned() } else { format!("part {}", index + 1) }
}

/// Whether `name` is `known` but for case or up to two letters.
fn near(name: &str, known: &str) -> bool {
    let (name, known) = (name.to_ascii_lowercase(), known.to_ascii_lowercase());
    name.len() <= known.len() + 2 && distance(name.as_bytes(), known.as_bytes()) <= 2
}

/// How many letters must be put in, taken out or changed to make `b` of `a`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

//! The file browser's answers: one letter and text.

use super::frame::Reason;

/// What a device answers to the file browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAnswer<'a> {
    /// All its paths, as one text.
    Hierarchy(&'a str),
    /// A file.
    File {
        /// Its path.
        path: &'a str,
        /// Its size in words, as the device writes them.
        size: &'a str,
        /// What it holds.
        content: &'a str,
    },
    /// What the device is about to do; empty: nothing, it only answers.
    Activity(&'a str),
}

impl<'a> FileAnswer<'a> {
    /// The paths of a hierarchy.
    pub fn paths(&self) -> impl Iterator<Item = &'a str> {
        let text = match *self {
            Self::Hierarchy(text) => text,
            _ => "",
        };
        text.split(", ").filter(|path| !path.is_empty())
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Reason> {
        let (letter, text) = body.split_first().ok_or(Reason::FilesLetter)?;
        let text = std::str::from_utf8(text).map_err(|_| Reason::NotUtf8)?;
        match letter {
            b'h' => Ok(Self::Hierarchy(text)),
            b'p' => Ok(Self::Activity(text)),
            b'f' => {
                let (path, rest) = text.split_once(',').ok_or(Reason::File)?;
                let (size, content) = rest.split_once(',').ok_or(Reason::File)?;
                Ok(Self::File { path, size, content })
            }
            _ => Err(Reason::FilesLetter),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hierarchy(text) => {
                out.push(b'h');
                out.extend_from_slice(text.as_bytes());
            }
            Self::Activity(text) => {
                out.push(b'p');
                out.extend_from_slice(text.as_bytes());
            }
            Self::File { path, size, content } => {
                out.push(b'f');
                out.extend_from_slice([path, size, content].join(",").as_bytes());
            }
        }
    }
}

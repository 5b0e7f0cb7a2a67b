//! Secrets come from files or standard input, never as arguments that other users of the machine can read.

use std::io::Read;
use std::path::Path;

use secrecy::SecretString;

use super::Failure;

/// Largest secret that is read; a connection string has some 200 bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Largest list that is read: some hundred thousand names.
const MAX_LONG_BYTES: u64 = 16 << 20;

/// Reads the secret in `path`, `-` meaning standard input. Surrounding blanks and line ends are cut off.
pub fn read(path: &Path, what: &str) -> Result<SecretString, Failure> {
    let text = read_text(path, what)?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(Failure::new(
            "secret_empty",
            format!("the {what} in {} is empty", shown(path)),
            format!("write the {what} into the file, and nothing else"),
        ));
    }
    Ok(SecretString::from(trimmed.to_owned()))
}

/// Reads a text that may be large but not without limit (a connection string, a certificate).
pub fn read_text(path: &Path, what: &str) -> Result<String, Failure> {
    read_up_to(MAX_BYTES, path, what)
}

/// Reads a list of many lines (devices).
pub fn read_long_text(path: &Path, what: &str) -> Result<String, Failure> {
    read_up_to(MAX_LONG_BYTES, path, what)
}

fn read_up_to(most: u64, path: &Path, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| {
        Failure::new(
            "file_unreadable",
            format!("the {what} cannot be read from {}: {error}", shown(path)),
            "name a file that exists and that you may read, or '-' for standard input",
        )
    })?;
    if bytes.len() as u64 > most {
        return Err(Failure::new(
            "file_too_large",
            format!("{} holds more than {} KiB: that is no {what}", shown(path), most / 1024),
            format!("name the file that holds only the {what}"),
        ));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            "file_not_text",
            format!("{} is no UTF-8 text, so it holds no {what}", shown(path)),
            "name a text file",
        )
    })
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_read_without_the_line_end_an_editor_adds() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "  s3cret\r\n").unwrap();
        assert_eq!(read(&file, "password").unwrap().expose_secret(), "s3cret");
    }

    #[test]
    fn an_empty_missing_or_huge_file_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (content, code) in [(Vec::new(), "secret_empty"), (vec![b'x'; 70_000], "file_too_large")] {
            std::fs::write(&file, content).unwrap();
            let problem = read(&file, "password").unwrap_err().problem.unwrap();
            assert_eq!(problem.code, code);
            assert!(problem.message.contains(file.to_str().unwrap()));
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read(&file, "password").unwrap_err().problem.unwrap().code, "file_unreadable");
    }
}

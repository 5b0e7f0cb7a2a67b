use crate::fields::{Fields, named, token};

/// A request line by line; the names of headers have no case.
pub(crate) fn fields(bytes: &[u8]) -> Fields {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut fields = Fields::new();
    let mut set = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
    let mut words = lines.next().unwrap().split(' ');
    set("method", words.next().unwrap());
    let (path, query) = words.next().unwrap().split_once('?').unwrap();
    set("path", path);
    set("query", query);
    let mut chunked = false;
    let mut authorization = String::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "authorization" => authorization = value.to_owned(),
            "user-agent" => drop(set("header user-agent", &named(value))),
            "request-id" => drop(set("header request-id", "an id")),
            _ => drop(set(&format!("header {name}"), value)),
        }
        chunked |= name == "transfer-encoding";
    }
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    // Chunked: a length, the chunk, and an empty chunk.
    let body = if chunked { body.split("\r\n").nth(1).unwrap_or_default().to_owned() } else { body };
    set("body", &body);
    token(&mut fields, "token", &authorization);
    fields
}

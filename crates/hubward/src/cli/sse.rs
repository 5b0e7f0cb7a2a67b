//! Server-sent events, as the API sends them.

use reqwest::Response;

use super::Failure;

/// An event: its kind and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is: `signal`, `delivery`, …
    pub kind: String,
    /// JSON.
    pub data: String,
}

/// Events of an answer that goes on.
pub struct Events {
    response: Response,
    parser: Parser,
}

impl Events {
    /// The events in `response`.
    #[must_use]
    pub fn new(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// The next event; none when the server ended the answer. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.parser.bytes.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(Failure::new(
                        "connection_lost",
                        format!("the connection to the server was lost: {error}"),
                        "look whether it still runs",
                    ));
                }
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// The next whole event in what has been read.
    fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.bytes.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let (mut kind, mut data) = (String::new(), Vec::new());
            for line in block.lines() {
                match line.split_once(':') {
                    Some(("event", value)) => kind = value.trim().to_owned(),
                    Some(("data", value)) => data.push(value.strip_prefix(' ').unwrap_or(value)),
                    _ => {}
                }
            }
            // A block of comments alone keeps the connection alive.
            if !data.is_empty() {
                return Some(Event { kind, data: data.join("\n") });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_the_bytes_come() {
        let text = b": ok\n\nevent: signal\nid: 7\ndata: {\"a\":1}\n\ndata: x\ndata: y\n\n";
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for byte in text {
            parser.bytes.push(*byte);
            events.extend(parser.next());
        }
        assert_eq!(
            events,
            [
                Event { kind: "signal".into(), data: "{\"a\":1}".into() },
                Event { kind: String::new(), data: "x\ny".into() }
            ]
        );
    }
}

//! Server-sent events: the bytes of a `text/event-stream` come in as the network
//! cut them, whole events go out. Any cut gives the same events, and no event grows
//! without bound.

/// The longest event, 1 MiB. A capture's is some hundred bytes; larger would let a
/// broken server fill this process's memory.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The kind; `message` unless the stream says otherwise.
    pub kind: String,
    /// The lines of data.
    pub data: String,
}

/// An event is longer than any of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_EVENT_BYTES} bytes")]
pub struct TooLong;

/// Cuts a stream into events, by the WHATWG rules.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    id: String,
    last_id: String,
    kind: String,
    data: String,
}

impl Parser {
    /// Where to go on after this stream breaks: the id of its last whole event, or of
    /// a block that has an id and no data. Empty if it gave none.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// Takes what has arrived and gives the events that it completes.
    ///
    /// # Errors
    /// A line or an event is too long; the stream is of no use any more.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                // The second half of a line end that has been dealt with.
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&line));
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Event> {
        let text = String::from_utf8_lossy(line);
        let first = !std::mem::replace(&mut self.begun, true);
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) if first => rest,
            _ => &text,
        };
        if text.is_empty() {
            return self.end_event();
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => self.kind = value.into(),
            "id" if !value.contains('\0') => self.id = value.into(),
            // Comments have no name; `retry` is ours to choose; others are to come.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        self.last_id.clone_from(&self.id);
        data.pop()?;
        Some(Event {
            kind: if kind.is_empty() {
                "message".into()
            } else {
                kind
            },
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\n\nid: 7\nevent: capture\ndata: {\"a\":\ndata: 1}\n\n\
        retry: 10\ndata\r\n\r\nid:8\rdata:äö\r\rdata: cut off";

    fn expected() -> Vec<Event> {
        let event = |kind: &str, data: &str| Event {
            kind: kind.into(),
            data: data.into(),
        };
        vec![
            event("capture", "{\"a\":\n1}"),
            event("message", ""),
            event("message", "äö"),
        ]
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_events() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let mut parser = Parser::default();
            let mut events = parser.feed(&bytes[..cut]).unwrap();
            events.extend(parser.feed(&bytes[cut..]).unwrap());
            assert_eq!(events, expected(), "cut at {cut}");
        }
        let mut parser = Parser::default();
        let single = bytes.iter().flat_map(|b| parser.feed(&[*b]).unwrap());
        assert_eq!(single.collect::<Vec<_>>(), expected());
    }

    #[test]
    fn the_place_to_go_on_is_that_of_the_last_whole_event() {
        let mut parser = Parser::default();
        assert_eq!(parser.last_id(), "");
        // A number without data is where the stream begins.
        assert_eq!(parser.feed(b"id: 41\nretry: 5\n\n").unwrap(), []);
        assert_eq!(parser.last_id(), "41");
        parser.feed(b"id: 42\ndata: x\n").unwrap();
        assert_eq!(parser.last_id(), "41");
        parser.feed(b"\n").unwrap();
        assert_eq!(parser.last_id(), "42");
    }

    #[test]
    fn comments_alone_are_no_event() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b":\n\n: keep-alive\n\n\n").unwrap(), []);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let line = [b"data: ", vec![b'x'; 1000].as_slice(), b"\n"].concat();
        let fed = (0..2000).find_map(|_| parser.feed(&line).err());
        assert_eq!(fed, Some(TooLong));
    }
}

//! The Kafka topics and the client settings that every producer and consumer
//! must have: librdkafka's own defaults lose data.

/// Photos that are durable and wait to be prepared; key = capture id.
pub const CAPTURES: &str = "captures";
/// Photos that are prepared and wait to be organised; key = dataset id.
pub const PREPARED: &str = "prepared";
/// Verdicts; key = capture id.
pub const OUTCOMES: &str = "outcomes";
/// All of them, in the order the data moves.
pub const ALL: [&str; 3] = [CAPTURES, PREPARED, OUTCOMES];

/// How Kafka is reached: its addresses, and what it asks of clients, in librdkafka's words.
/// What is secret of it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConnection(Vec<(&'static str, String)>);

impl KafkaConnection {
    /// Kafka at `host:port`, with commas between several, without TLS.
    pub fn at(addresses: impl Into<String>) -> Self {
        Self(vec![("bootstrap.servers", addresses.into())])
    }

    /// With another setting of librdkafka.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Names and values for librdkafka.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The addresses.
    pub fn addresses(&self) -> &str {
        self.0.first().map_or("", |(_, addresses)| addresses)
    }
}

impl std::fmt::Debug for KafkaConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().skip(1).map(|(name, _)| *name);
        f.debug_tuple("KafkaConnection")
            .field(&self.addresses())
            .field(&names.collect::<Vec<_>>())
            .finish()
    }
}

impl From<&Self> for KafkaConnection {
    fn from(connection: &Self) -> Self {
        connection.clone()
    }
}

impl From<&str> for KafkaConnection {
    fn from(addresses: &str) -> Self {
        Self::at(addresses)
    }
}

impl From<&String> for KafkaConnection {
    fn from(addresses: &String) -> Self {
        Self::at(addresses)
    }
}

/// Settings of every producer. An upload is acknowledged on the delivery report
/// of its own message only; that report means what it says because of these.
pub const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Below every HTTP timeout: a caller hears of a dead broker, not of silence.
    ("message.timeout.ms", "8000"),
    // Waits this long for company in a batch; larger delays a lone photo.
    ("linger.ms", "2"),
    ("batch.num.messages", "1000"),
    ("batch.size", "1000000"),
    // A prepared photo carries its small JPEG: 1 MB is twenty times the usual one.
    ("message.max.bytes", "2000000"),
    // What may wait in memory for a slow broker; beyond it, sending fails at once
    // and the caller is refused. Larger hides a dead broker behind memory.
    ("queue.buffering.max.kbytes", "16384"),
];

/// Settings of every consumer. Positions come from the Delta log or from an
/// explicit commit after the work; nothing moves them by itself.
pub const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // How long the broker may hold an answer back that would be empty: it answers at once when
    // there is something. Shorter only asks oftener.
    ("fetch.wait.max.ms", "500"),
    ("fetch.message.max.bytes", "2000000"),
    ("fetch.max.bytes", "8000000"),
    // Read ahead per consumer; a larger queue only moves the backlog from disk to memory.
    ("queued.max.messages.kbytes", "8192"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_shows_its_addresses_and_no_secret() {
        let connection = KafkaConnection::at("a:1,b:2").with("sasl.password", "s3cret");
        let shown = format!("{connection:?}");
        assert!(shown.contains("a:1,b:2") && shown.contains("sasl.password"));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(connection.settings().count(), 2);
    }
}

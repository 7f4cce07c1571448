//! How the members of a consumer group share partitions: by which protocol, and whether a
//! member keeps its place while it is away for a moment.

use std::str::FromStr;

use rdkafka::config::ClientConfig;

/// After this long without a sign of life a member's partitions go to others: the least that
/// brokers allow as they come (`group.min.session.timeout.ms`). Longer lets the photos of a
/// machine that died wait; a busy member is not at risk, since a thread of librdkafka's gives
/// the signs.
const SESSION_MS: &str = "6000";

/// How often a member gives one, and so how soon it hears that partitions are to be shared
/// out anew, which takes two rounds. Rarer makes every coming and going slower; oftener only
/// adds small requests, three a member and time.
const HEARTBEAT_MS: &str = "1000";

/// Who this process is in its groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// How partitions move.
    pub protocol: Protocol,
    /// A name that is this process's alone and that it keeps over restarts, such as a pod's
    /// in a stateful set. With one, a process that is back within the session goes on with its
    /// own partitions and nobody else stops for it; without, each start and end moves some.
    pub instance: Option<String>,
}

/// The rebalance protocol. All members of a group must use the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// All partitions are given back, then shared out anew: every member stops for it.
    Eager,
    /// Only partitions that move are given back.
    #[default]
    Cooperative,
    /// The broker shares them out (KIP-848); needs a broker from 4.0 on, which also sets
    /// the session timeout (`group.consumer.session.timeout.ms`).
    Consumer,
}

impl Membership {
    /// Puts it into a consumer's settings.
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        match self.protocol {
            Protocol::Eager => config
                .set("session.timeout.ms", SESSION_MS)
                .set("heartbeat.interval.ms", HEARTBEAT_MS)
                .set("partition.assignment.strategy", "range"),
            Protocol::Cooperative => config
                .set("session.timeout.ms", SESSION_MS)
                .set("heartbeat.interval.ms", HEARTBEAT_MS)
                .set("partition.assignment.strategy", "cooperative-sticky"),
            Protocol::Consumer => config.set("group.protocol", "consumer"),
        };
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
    }
}

/// A word that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be eager, cooperative or consumer")]
pub struct UnknownProtocol;

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(word: &str) -> Result<Self, UnknownProtocol> {
        match word {
            "eager" => Ok(Self::Eager),
            "cooperative" => Ok(Self::Cooperative),
            "consumer" => Ok(Self::Consumer),
            _ => Err(UnknownProtocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;

    #[test]
    fn librdkafka_takes_the_settings_of_every_protocol() {
        for word in ["eager", "cooperative", "consumer"] {
            for instance in [None, Some("processor-0".to_owned())] {
                let protocol = word.parse().unwrap();
                let mut config = ClientConfig::new();
                for (name, value) in schemas::topics::CONSUMER {
                    config.set(*name, *value);
                }
                config.set("group.id", "x");
                Membership { protocol, instance }.apply(&mut config);
                let made: Result<BaseConsumer, _> = config.create();
                assert!(made.is_ok(), "{word}: {:?}", made.err());
            }
        }
        assert!("sticky".parse::<Protocol>().is_err());
    }
}

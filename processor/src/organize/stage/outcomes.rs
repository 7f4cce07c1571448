//! Outcomes on their way to the topic. The group's offset must not pass a record before
//! its outcome is durable, or a process that dies here leaves a client waiting.

use std::collections::VecDeque;

use futures::future::join_all;
use prost::Message as _;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use schemas::events::CaptureDecided;
use schemas::topics;

use crate::error::ProcessorError;
use crate::kafka::{Broker, producer};

/// Verdicts whose delivery is awaited together. More only delays noticing that the
/// broker is gone.
const MAX_IN_FLIGHT: usize = 500;

/// Tells outcomes, and knows which are durable.
pub(super) struct Outcomes {
    producer: FutureProducer,
    in_flight: VecDeque<DeliveryFuture>,
}

impl Outcomes {
    /// # Errors
    /// The settings of Kafka are no good.
    pub(super) fn open(broker: &Broker) -> Result<Self, ProcessorError> {
        let producer =
            producer(&broker.connection).map_err(ProcessorError::kafka("making a producer"))?;
        Ok(Self {
            producer,
            in_flight: VecDeque::new(),
        })
    }

    /// Whether all that was told is durable.
    pub(super) fn are_durable(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Publishes an outcome; its delivery is awaited before the group's offset passes it.
    pub(super) async fn tell(&mut self, told: CaptureDecided) -> Result<(), ProcessorError> {
        failpoints::before("kafka.produce", topics::OUTCOMES).await?;
        let payload = told.encode_to_vec();
        loop {
            let record = FutureRecord::to(topics::OUTCOMES)
                .key(&told.capture_id)
                .payload(&payload);
            match self.producer.send_result(record) {
                Ok(delivery) => {
                    self.in_flight.push_back(delivery);
                    break;
                }
                Err((
                    rdkafka::error::KafkaError::MessageProduction(
                        rdkafka::types::RDKafkaErrorCode::QueueFull,
                    ),
                    _,
                )) => {
                    self.settle().await?;
                }
                Err((error, _)) => {
                    return Err(ProcessorError::kafka("publishing an outcome")(error));
                }
            }
        }
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until every outcome told so far is durable.
    pub(super) async fn settle(&mut self) -> Result<(), ProcessorError> {
        let is_any = !self.in_flight.is_empty();
        for delivered in join_all(self.in_flight.drain(..)).await {
            match delivered {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => {
                    return Err(ProcessorError::kafka("publishing an outcome")(error));
                }
                Err(_) => {
                    return Err(ProcessorError::Subscription(
                        "the producer of outcomes ended".into(),
                    ));
                }
            }
        }
        if is_any {
            failpoints::after("kafka.produce", topics::OUTCOMES).await?;
        }
        Ok(())
    }
}

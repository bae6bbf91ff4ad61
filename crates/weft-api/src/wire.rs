//! Answers as the server writes them.
//!
//! The read model keeps every timeline entry as an encoded `TimelineEntry`. A field of type message and a field of type
//! bytes are the same on the wire, so the twins below copy those bytes into the answer; decoding and encoding a hundred
//! entries for every call would cost more than the query. The tests hold each twin equal to its message in
//! `proto/weft/v1/timeline.proto`, byte for byte.

use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::{ProstCodec, ProstDecoder};
use weft_model::proto::api::Cut;

use crate::error::{Error, detail};

/// Twin of `weft.v1.GetTimelineResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetTimelineResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) entries: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub(crate) next_page_token: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) known_at: Option<Cut>,
    #[prost(uint32, tag = "4")]
    pub(crate) parked_records: u32,
}

/// Twin of `weft.v1.StreamTimelineResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamTimelineResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) entries: Vec<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(crate) known_at: Option<Cut>,
    #[prost(bool, tag = "3")]
    pub(crate) caught_up: bool,
}

/// Twin of `weft.v1.GetEntryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetEntryResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) entry: Bytes,
    #[prost(string, tag = "2")]
    pub(crate) resource_json: String,
}

/// Protobuf in one allocation a message, and INVALID_ARGUMENT for a request that is not the message it should be.
pub(crate) struct Codec<T, U>(PhantomData<(T, U)>);

/// Encoder of [`Codec`].
pub(crate) struct OneAllocation<T>(PhantomData<T>);

/// Decoder of [`Codec`].
pub(crate) struct Readable<U>(ProstDecoder<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = OneAllocation<T>;
    type Decoder = Readable<U>;

    fn encoder(&mut self) -> Self::Encoder {
        OneAllocation(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Readable(ProstCodec::<T, U>::raw_decoder(BufferSettings::default()))
    }
}

impl<T: Message> Encoder for OneAllocation<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|source| Error::Internal(source.into()).to_status())
    }
}

impl<U: Message + Default> Decoder for Readable<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(buffer).map_err(|_| {
            Error::Invalid(vec![detail("request-unreadable", "", "not the message of this method")]).to_status()
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{
        Stream,
        proto::api::{self, TimelineEntry},
    };

    use super::*;

    fn entry(n: u32) -> TimelineEntry {
        TimelineEntry { entry_id: format!("entry-{n}"), title: "Admitted".to_owned(), ..TimelineEntry::default() }
    }

    fn cut() -> Option<Cut> {
        Some(Cut { sizes: vec![Stream::Feed.partition(0).at(7).to_proto()] })
    }

    fn check<Twin: Message, Original: Message + Default + PartialEq + std::fmt::Debug>(
        twin: &Twin,
        original: &Original,
    ) {
        assert_eq!(twin.encode_to_vec(), original.encode_to_vec());
        assert_eq!(&Original::decode(twin.encode_to_vec().as_slice()).unwrap(), original);
    }

    #[test]
    fn a_twin_is_its_message_byte_for_byte() {
        for count in [0, 1, 3] {
            let entries: Vec<TimelineEntry> = (0..count).map(entry).collect();
            let encoded: Vec<Bytes> = entries.iter().map(|e| e.encode_to_vec().into()).collect();
            check(
                &GetTimelineResponse {
                    entries: encoded.clone(),
                    next_page_token: "token".to_owned(),
                    known_at: cut(),
                    parked_records: count,
                },
                &api::GetTimelineResponse {
                    entries: entries.clone(),
                    next_page_token: "token".to_owned(),
                    known_at: cut(),
                    parked_records: count,
                },
            );
            check(
                &StreamTimelineResponse { entries: encoded, known_at: cut(), caught_up: count == 1 },
                &api::StreamTimelineResponse { entries, known_at: cut(), caught_up: count == 1 },
            );
        }
        check(
            &GetEntryResponse { entry: entry(1).encode_to_vec().into(), resource_json: "{}".to_owned() },
            &api::GetEntryResponse { entry: Some(entry(1)), resource_json: "{}".to_owned() },
        );
    }

    #[test]
    fn a_twin_has_every_field_of_its_message() {
        for (message, fields) in [
            ("GetTimelineResponse", ["entries=1", "next_page_token=2", "known_at=3", "parked_records=4"].as_slice()),
            ("StreamTimelineResponse", ["entries=1", "known_at=2", "caught_up=3"].as_slice()),
            ("GetEntryResponse", ["entry=1", "resource_json=2"].as_slice()),
        ] {
            let descriptors = prost_types::FileDescriptorSet::decode(weft_model::proto::DESCRIPTORS).unwrap();
            let described: Vec<String> = descriptors
                .file
                .iter()
                .flat_map(|file| &file.message_type)
                .filter(|m| m.name() == message)
                .flat_map(|m| &m.field)
                .map(|f| format!("{}={}", f.name(), f.number()))
                .collect();
            assert_eq!(described, fields, "{message}");
        }
    }
}

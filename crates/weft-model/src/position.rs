//! Where events are: streams, partitions, positions, and cuts across them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::proto::{api, event};

/// One of the four streams of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Messages and their facts.
    Feed,
    /// Links, merges, splits and stewards' decisions.
    Identity,
    /// Feeds, agreements, policies.
    Control,
    /// Disclosures.
    Access,
}

/// One partition of a stream. An embedded log has only partition 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The stream.
    pub stream: Stream,
    /// Its number.
    pub number: u32,
}

/// Where an event is. Offsets of a partition are dense and start at 0. Written `feed/0/1234`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// Number of events before this one in its partition.
    pub offset: u64,
}

/// A named set of sizes, one per partition: an exact "as known then" across the log. A partition that is not named is
/// not limited. Written `feed/0/120,identity/0/80`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut(pub BTreeMap<Partition, u64>);

/// A text or message that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position such as feed/0/1234")]
pub struct PositionError;

impl Stream {
    /// All four, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Feed, Self::Identity, Self::Control, Self::Access];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Identity => "identity",
            Self::Control => "control",
            Self::Access => "access",
        }
    }

    /// Partition `number` of this stream.
    #[must_use]
    pub fn partition(self, number: u32) -> Partition {
        Partition { stream: self, number }
    }

    /// The protobuf enum.
    #[must_use]
    pub fn to_proto(self) -> event::Stream {
        match self {
            Self::Feed => event::Stream::Feed,
            Self::Identity => event::Stream::Identity,
            Self::Control => event::Stream::Control,
            Self::Access => event::Stream::Access,
        }
    }
}

impl Partition {
    /// The position at `offset`.
    #[must_use]
    pub fn at(self, offset: u64) -> Position {
        Position { partition: self, offset }
    }
}

impl Cut {
    /// How many events of `partition` are known: `u64::MAX` where the cut does not name it.
    #[must_use]
    pub fn size(&self, partition: Partition) -> u64 {
        self.0.get(&partition).copied().unwrap_or(u64::MAX)
    }

    /// The message.
    #[must_use]
    pub fn to_proto(&self) -> api::Cut {
        api::Cut { sizes: self.0.iter().map(|(partition, size)| partition.at(*size).to_proto()).collect() }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`PositionError`] where a stream is not one of the four.
    pub fn from_proto(cut: &api::Cut) -> Result<Self, PositionError> {
        cut.sizes
            .iter()
            .map(|p| Position::from_proto(p).map(|p| (p.partition, p.offset)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Position {
    /// The message.
    #[must_use]
    pub fn to_proto(self) -> event::Position {
        event::Position {
            stream: self.partition.stream.to_proto().into(),
            partition: self.partition.number,
            offset: self.offset,
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`PositionError`] where the stream is not one of the four.
    pub fn from_proto(position: &event::Position) -> Result<Self, PositionError> {
        let wanted = event::Stream::try_from(position.stream).map_err(|_| PositionError)?;
        let stream = Stream::ALL.into_iter().find(|s| s.to_proto() == wanted).ok_or(PositionError)?;
        Ok(stream.partition(position.partition).at(position.offset))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.number)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, size)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{partition}/{size}")?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut parts = text.split('/');
        let (Some(stream), Some(number), Some(offset), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PositionError);
        };
        let stream = Stream::ALL.into_iter().find(|s| s.name() == stream).ok_or(PositionError)?;
        let number = number.parse().map_err(|_| PositionError)?;
        let offset = offset.parse().map_err(|_| PositionError)?;
        Ok(stream.partition(number).at(offset))
    }
}

impl FromStr for Cut {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let sizes = text.split(',').map(|p| p.trim().parse::<Position>().map(|p| (p.partition, p.offset)));
        sizes.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_what_they_write() {
        let position = Stream::Identity.partition(3).at(42);
        assert_eq!(position.to_string(), "identity/3/42");
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!(Position::from_proto(&position.to_proto()), Ok(position));
        for wrong in ["", "feed", "feed/0", "feed/0/x", "feed/0/1/2", "fed/0/1"] {
            assert_eq!(wrong.parse::<Position>(), Err(PositionError), "{wrong}");
        }
    }

    #[test]
    fn a_cut_limits_only_what_it_names() {
        let cut: Cut = "feed/0/120,identity/0/80".parse().unwrap();
        assert_eq!(cut.size(Stream::Feed.partition(0)), 120);
        assert_eq!(cut.size(Stream::Control.partition(0)), u64::MAX);
        assert_eq!(cut.to_string(), "feed/0/120,identity/0/80");
        assert_eq!(Cut::from_proto(&cut.to_proto()), Ok(cut));
    }
}

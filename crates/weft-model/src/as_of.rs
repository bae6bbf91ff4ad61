//! What "as known then" may be said by: sizes, a cut, or a time.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use crate::{
    Cut,
    proto::api::{self, as_of::Moment},
};

/// A moment in the life of a log. The same one names the same events, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// These sizes of partitions. Written `feed/0/120,identity/0/80`.
    Sizes(Cut),
    /// The notary's cut with this tick. Written `42`.
    Tick(u64),
    /// The greatest of the notary's cuts that was not taken after this time, in microseconds since 1970-01-01T00:00:00Z.
    /// Written as in RFC 3339, with its offset: `2026-03-01T09:30:00Z`.
    Time(i64),
}

/// A text or message that names no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tick (42), a time with its offset (2026-03-01T09:30:00Z) or sizes (feed/0/120,identity/0/80)")]
pub struct AsOfError;

impl FromStr for AsOf {
    type Err = AsOfError;
    fn from_str(text: &str) -> Result<Self, AsOfError> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Tick).map_err(|_| AsOfError);
        }
        if text.contains('/') {
            return text.parse().map(Self::Sizes).map_err(|_| AsOfError);
        }
        text.parse::<Timestamp>().map(|time| Self::Time(time.as_microsecond())).map_err(|_| AsOfError)
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes(cut) => cut.fmt(f),
            Self::Tick(tick) => tick.fmt(f),
            Self::Time(us) => match Timestamp::from_microsecond(*us) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{us} us"),
            },
        }
    }
}

impl AsOf {
    /// The message.
    #[must_use]
    pub fn to_proto(&self) -> api::AsOf {
        api::AsOf {
            moment: Some(match self {
                Self::Sizes(cut) => Moment::Cut(cut.to_proto()),
                Self::Tick(tick) => Moment::Tick(*tick),
                Self::Time(us) => Moment::TimeUs(*us),
            }),
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`AsOfError`] where it says nothing, or a stream is not one of the four.
    pub fn from_proto(as_of: &api::AsOf) -> Result<Self, AsOfError> {
        match as_of.moment.as_ref().ok_or(AsOfError)? {
            Moment::Cut(cut) => Cut::from_proto(cut).map(Self::Sizes).map_err(|_| AsOfError),
            Moment::Tick(tick) => Ok(Self::Tick(*tick)),
            Moment::TimeUs(us) => Ok(Self::Time(*us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: AsOf) {
        assert_eq!(text.parse(), Ok(wanted.clone()), "{text}");
        assert_eq!(AsOf::from_proto(&wanted.to_proto()), Ok(wanted.clone()));
        assert_eq!(wanted.to_string().parse(), Ok(wanted));
    }

    #[test]
    fn a_moment_is_said_in_three_ways() {
        check("42", AsOf::Tick(42));
        check(" feed/0/120,identity/0/80 ", AsOf::Sizes("feed/0/120,identity/0/80".parse().unwrap()));
        check("2024-05-01T10:30:05+01:00", AsOf::Time(1_714_555_805_000_000));
        check("2024-05-01T09:30:05.25Z", AsOf::Time(1_714_555_805_250_000));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        // A time without its offset would be another moment for each reader.
        for wrong in ["", "-1", "2024-05-01", "2024-05-01T09:30:05", "feed/0", "yesterday", "99999999999999999999"] {
            assert_eq!(wrong.parse::<AsOf>(), Err(AsOfError), "{wrong}");
        }
    }
}

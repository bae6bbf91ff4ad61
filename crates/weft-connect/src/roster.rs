//! The feeds as stream `control` has them: a fold, no sockets.

use std::{collections::BTreeMap, sync::Arc};

use weft_model::Payload;
use weft_translate::Profile;

use crate::exchange::Reading;

/// Every feed that was ever registered.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    feeds: BTreeMap<String, Registered>,
}

/// One feed as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    /// How it is read, or why its registration cannot be: for an operator.
    pub(crate) reading: Result<Arc<Reading>, String>,
    /// Offset of the event that registered it.
    pub(crate) revision: u64,
    pub(crate) paused: bool,
}

impl Roster {
    /// Applies the event at `offset` of stream `control`. A feed stays paused when it is registered again; the latest
    /// registration counts even where it cannot be read, so that a restart makes the same of it.
    pub(crate) fn apply(&mut self, offset: u64, payload: &Payload) {
        match payload {
            Payload::FeedRegistered(registered) => {
                let reading = read(&registered.profile_toml, offset);
                let paused = self.feeds.get(&registered.feed).is_some_and(|feed| feed.paused);
                self.feeds.insert(registered.feed.clone(), Registered { reading, revision: offset, paused });
            }
            Payload::FeedPaused(switched) => self.switch(&switched.feed, true),
            Payload::FeedResumed(switched) => self.switch(&switched.feed, false),
            _ => {}
        }
    }

    pub(crate) fn feeds(&self) -> impl Iterator<Item = (&String, &Registered)> {
        self.feeds.iter()
    }

    fn switch(&mut self, feed: &str, paused: bool) {
        if let Some(feed) = self.feeds.get_mut(feed) {
            feed.paused = paused;
        }
    }
}

fn read(toml: &str, revision: u64) -> Result<Arc<Reading>, String> {
    match Profile::parse(toml) {
        Ok(profile) => Ok(Arc::new(Reading { profile, revision })),
        Err(issues) => {
            let first = issues.first().map(|issue| format!("{}: {}", issue.location, issue.text));
            Err(format!("registration cannot be read: {}", first.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::proto::event::{FeedRegistered, FeedSwitched};

    use super::*;

    fn register(feed: &str, toml: &str) -> Payload {
        let (feed, profile_toml) = (feed.to_owned(), toml.to_owned());
        Payload::FeedRegistered(FeedRegistered { feed, profile_toml, by: String::new() })
    }

    fn switch(feed: &str) -> FeedSwitched {
        FeedSwitched { feed: feed.to_owned(), ..FeedSwitched::default() }
    }

    fn check(events: Vec<Payload>, wanted: &str) {
        let mut roster = Roster::default();
        for (offset, event) in events.iter().enumerate() {
            roster.apply(offset as u64, event);
        }
        let shown: Vec<String> = roster
            .feeds()
            .map(|(name, feed)| {
                let state = if feed.paused { "paused" } else { "on" };
                format!("{name}@{} {state} {}", feed.revision, if feed.reading.is_ok() { "read" } else { "unreadable" })
            })
            .collect();
        assert_eq!(shown.join(", "), wanted);
    }

    #[test]
    fn the_latest_word_counts() {
        let good = "feed = \"ab\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n";
        check(vec![], "");
        check(vec![register("ab", good)], "ab@0 on read");
        check(vec![register("ab", good), Payload::FeedPaused(switch("ab"))], "ab@0 paused read");
        check(vec![register("ab", good), Payload::FeedPaused(switch("ab")), register("ab", good)], "ab@2 paused read");
        check(
            vec![register("ab", good), Payload::FeedPaused(switch("ab")), Payload::FeedResumed(switch("ab"))],
            "ab@0 on read",
        );
        check(vec![register("ab", good), register("ab", "typo")], "ab@1 on unreadable");
        check(vec![Payload::FeedPaused(switch("unknown"))], "");
    }
}

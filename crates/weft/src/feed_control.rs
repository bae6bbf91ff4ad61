//! What the API needs to know of feeds, told by those who know: profiles by `weft-translate`, listeners by
//! `weft-connect`, those of other processes by the database that they tell of them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;
use weft_api::{FeedControl, FeedProfile, MessageReader, Reading};
use weft_connect::FeedStatuses;
use weft_model::proto::{api::FeedState, event::Issue};
use weft_readmodel::{Listening, ListeningState};
use weft_translate::{Profile, translate};

use crate::listening::said;

/// The feeds of this node, and of those beside it.
pub(crate) struct NodeFeeds {
    /// This process's listeners.
    own: watch::Receiver<FeedStatuses>,
    /// Those of other processes.
    others: watch::Receiver<Vec<Listening>>,
}

impl NodeFeeds {
    pub(crate) fn new(own: watch::Receiver<FeedStatuses>, others: watch::Receiver<Vec<Listening>>) -> Self {
        Self { own, others }
    }
}

impl FeedControl for NodeFeeds {
    fn check(&self, profile_toml: &str) -> Result<FeedProfile, Vec<Issue>> {
        let profile = Profile::parse(profile_toml)?;
        Ok(FeedProfile {
            feed: profile.feed().to_owned(),
            organisation: profile.organisation().to_owned(),
            description: profile.description().to_owned(),
        })
    }

    fn reader(&self, profile_toml: &str, revision: u64) -> Result<Arc<dyn MessageReader>, Vec<Issue>> {
        Ok(Arc::new(Reader { profile: Profile::parse(profile_toml)?, revision }))
    }

    fn statuses(&self) -> BTreeMap<String, weft_api::FeedStatus> {
        let own: Vec<Listening> = self.own.borrow().iter().map(|(feed, status)| said(feed, status)).collect();
        let others = self.others.borrow();
        let mut by_feed: BTreeMap<String, Vec<&Listening>> = BTreeMap::new();
        for listening in own.iter().chain(others.iter()) {
            by_feed.entry(listening.feed.clone()).or_default().push(listening);
        }
        by_feed.into_iter().map(|(feed, listeners)| (feed, together(&listeners))).collect()
    }
}

/// Reads messages as connectors do that have this profile.
struct Reader {
    profile: Profile,
    revision: u64,
}

impl MessageReader for Reader {
    fn read(&self, raw: Bytes) -> Reading {
        let translation = translate(raw, &self.profile, self.revision);
        Reading { message_type: translation.message_type, verdict: translation.verdict, message: translation.message }
    }
}

/// What the listeners of one feed come to: it is listened for where one of them listens.
fn together(listeners: &[&Listening]) -> weft_api::FeedStatus {
    let any = |state| listeners.iter().any(|listening| listening.state == state);
    let joined = |text: fn(&Listening) -> &str| {
        let mut texts: Vec<&str> = listeners.iter().map(|l| text(l)).filter(|text| !text.is_empty()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts.join(", ")
    };
    weft_api::FeedStatus {
        state: if any(ListeningState::Listening) {
            FeedState::Listening
        } else if any(ListeningState::Failed) {
            FeedState::Failed
        } else {
            FeedState::Paused
        },
        address: joined(|listening| &listening.address),
        connections: listeners.iter().map(|listening| listening.connections).sum(),
        problem: joined(|listening| &listening.problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(state: ListeningState, address: &str, problem: &str) -> Listening {
        let text = str::to_owned;
        Listening { feed: text("pas"), state, address: text(address), connections: 2, problem: text(problem) }
    }

    #[test]
    fn one_that_listens_is_enough() {
        let (first, second) = ("10.0.0.1:2575", "10.0.0.2:2575");
        let failed = listening(ListeningState::Failed, "", "address in use");
        let (one, other) =
            (listening(ListeningState::Listening, second, ""), listening(ListeningState::Listening, first, ""));
        let shown = together(&[&one, &failed, &other]);
        assert_eq!((shown.state, shown.connections), (FeedState::Listening, 6));
        assert_eq!(
            (shown.address.as_str(), shown.problem.as_str()),
            ("10.0.0.1:2575, 10.0.0.2:2575", "address in use")
        );
        assert_eq!(together(&[&failed]).state, FeedState::Failed);
        assert_eq!(together(&[&listening(ListeningState::Paused, "", "")]).state, FeedState::Paused);
    }
}

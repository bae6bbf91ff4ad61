//! What the API needs to know of feeds, told by those who know: profiles by `weft-translate`, listeners by
//! `weft-connect`.

use std::collections::BTreeMap;

use tokio::sync::watch;
use weft_api::{FeedControl, FeedProfile};
use weft_connect::{FeedStatus, FeedStatuses};
use weft_model::proto::{api::FeedState, event::Issue};
use weft_translate::Profile;

/// The feeds of this node.
pub(crate) struct NodeFeeds {
    statuses: watch::Receiver<FeedStatuses>,
}

impl NodeFeeds {
    pub(crate) fn new(statuses: watch::Receiver<FeedStatuses>) -> Self {
        Self { statuses }
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

    fn statuses(&self) -> BTreeMap<String, weft_api::FeedStatus> {
        let statuses = self.statuses.borrow();
        statuses.iter().map(|(feed, status)| (feed.clone(), shown(status))).collect()
    }
}

fn shown(status: &FeedStatus) -> weft_api::FeedStatus {
    weft_api::FeedStatus {
        state: match status.state {
            weft_connect::FeedState::Listening => FeedState::Listening,
            weft_connect::FeedState::Paused => FeedState::Paused,
            weft_connect::FeedState::Failed => FeedState::Failed,
        },
        address: status.address.map(|a| a.to_string()).unwrap_or_default(),
        connections: u32::try_from(status.connections).unwrap_or(u32::MAX),
        problem: status.problem.clone().unwrap_or_default(),
    }
}

//! The steward of the world, at the real API: says that two people are one, and takes that back.

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use weft_api::{Health, ServeOptions};
use weft_connect::FeedStatuses;
use weft_model::{
    PersonId,
    proto::{
        api::{DecideRequest, MergePersons, Proposal, RequestContext, Undo, proposal::Decision},
        event,
    },
};

use super::world::{Seeded, World};
use crate::{feed_control::NodeFeeds, link_models::NodeModels};

/// Two people who are said to be one, and the decision that says so.
pub(super) struct Joined {
    retired: u64,
    position: event::Position,
}

impl World {
    /// A steward looks at what is known, and decides.
    pub(super) async fn decide(&mut self) {
        self.link(None).await;
        self.project(None).await;
        if !self.joined.is_empty()
            && self.dice.chance(40)
            && let Some(Joined { retired, position }) = self.joined.pop()
        {
            self.ask(Decision::Undo(Undo { decision: Some(position) })).await;
            self.naive.part(retired);
            return;
        }
        let mut people = self.naive.apart();
        if people.len() < 2 {
            return;
        }
        let survivor = people.swap_remove(self.dice.below(people.len() as u64) as usize);
        let retired = people.swap_remove(self.dice.below(people.len() as u64) as usize);
        let persons = self.persons().await;
        let id = |truth| persons.get(&truth).map(PersonId::to_string).expect("a person");
        let merge = MergePersons { survivor_person_id: id(survivor), retired_person_id: id(retired) };
        let position = self.ask(Decision::Merge(merge)).await;
        self.naive.join(retired, survivor);
        self.joined.push(Joined { retired, position });
    }

    /// Asks a server over the wire; the projector is at work meanwhile.
    async fn ask(&mut self, decision: Decision) -> event::Position {
        self.decisions += 1;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let options = ServeOptions {
            listener,
            log: self.log.clone(),
            model: self.model.clone(),
            feeds: Arc::new(NodeFeeds::new(watch::channel(FeedStatuses::new()).1, watch::channel(Vec::new()).1)),
            link_models: Arc::new(NodeModels::new().unwrap()),
            clock: self.clock.clone(),
            random: Arc::new(Seeded::new(self.decisions)),
            health: watch::channel(Health::default()).1,
            allow_remote: false,
            shutdown: shutdown.clone(),
        };
        let asking = async {
            let mut client = weft_api::client::connect(&address).await.unwrap().link;
            let word = str::to_owned;
            let context = RequestContext {
                user: word("s.steward"),
                role: word("data-steward"),
                organisation: word("RYJ"),
                purpose: word("data-quality"),
                reason: word("looked at both"),
            };
            let request =
                DecideRequest { context: Some(context), proposal: Some(Proposal { decision: Some(decision) }) };
            let answer = client.decide(request).await.unwrap().into_inner();
            shutdown.cancel();
            answer.position.unwrap()
        };
        let projecting =
            weft_readmodel::project(self.log.clone(), self.model.clone(), self.projecting(), shutdown.clone());
        let (position, served, projected) = tokio::join!(asking, weft_api::serve(options), projecting);
        served.unwrap();
        projected.unwrap();
        position
    }
}

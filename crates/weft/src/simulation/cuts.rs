//! The notary of the world: cuts between everything else, and what they are good for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use weft_log::{
    EmbeddedEvidence, Evidence, LogEvidence, Notary, Remembered, SharedLog, SigningKey, VerifyOptions, cut, verify,
};
use weft_model::{AsOf, Clock, Cut, PersonId, Random, proto::api::TimelineFilter};

use super::{
    window::{Fault, Window},
    world::World,
};

/// The notary's key. What it signed last is remembered beside the log and outlives its crashes.
pub(super) struct Signing(SigningKey);

/// A cut, and what everybody's timeline was when it was taken.
pub(super) struct Moment {
    tick: u64,
    /// None for an identifier that nobody has any more, because its records were merged into another's.
    answers: BTreeMap<PersonId, Option<Vec<Bytes>>>,
}

impl Signing {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self(SigningKey::generate("simulation", random).unwrap())
    }
}

impl World {
    /// A notary that has just started.
    pub(super) fn notary(&self, log: SharedLog) -> Notary {
        Notary {
            log,
            key: self.signing.0.to_secret_text().parse().unwrap(),
            clock: self.clock.clone(),
            nodes: self.dir.path().join("merkle"),
            remembered: Remembered::new(self.remembered()),
        }
    }

    fn remembered(&self) -> PathBuf {
        self.dir.path().join("checkpoint")
    }

    /// The notary starts, takes a cut of what is there, and ends; or dies.
    pub(super) async fn cut(&mut self, fault: Option<Fault>) {
        let window = Arc::new(Window::new(self.log.clone(), HashMap::new(), fault));
        let notary = self.notary(window.clone());
        tokio::select! {
            taken = notary.cut_now() => { taken.unwrap(); }
            () = window.dead.cancelled() => {}
        }
        self.faults += u64::from(fault.is_some());
    }

    /// Everything is projected and a cut is taken: what is answered now is what must be answered as of it, for ever.
    pub(super) async fn look_at_a_cut(&mut self) {
        self.cut(None).await;
        self.project(None).await;
        let Some(newest) = cut::newest(&LogEvidence(self.log.clone())).await.unwrap() else { return };
        let links = self.model.linking_snapshot(&Cut::default()).await.unwrap().links;
        let persons: BTreeSet<PersonId> = links.into_iter().map(|(_, person)| person).collect();
        let mut answers = BTreeMap::new();
        for person in persons {
            answers.insert(person, self.timeline(person, None).await);
        }
        self.moments.push(Moment { tick: newest.tick, answers });
    }

    async fn timeline(&self, person: PersonId, as_of: Option<&Cut>) -> Option<Vec<Bytes>> {
        let page = self.model.timeline(person, &TimelineFilter::default(), 1000, None, as_of).await.unwrap();
        page.map(|page| page.entries)
    }

    /// The chain of cuts is whole, by everything that `weft verify --deep` looks at; and each moment is answered as it was.
    /// Returns the number of cuts.
    pub(super) async fn check_cuts(&mut self) -> u64 {
        let log: Arc<dyn Evidence> = if self.echo.is_some() {
            Arc::new(LogEvidence(self.log.clone()))
        } else {
            Arc::new(EmbeddedEvidence::open(&self.log_dir).await.unwrap())
        };
        let remembered = std::fs::read_to_string(self.remembered()).unwrap();
        let options = VerifyOptions {
            key: self.signing.0.public().clone(),
            deep: Some(self.vault.clone()),
            checkpoints: vec![("remembered".to_owned(), remembered)],
        };
        let report = verify(log.clone(), options).await.unwrap();
        assert!(report.damages.is_empty(), "{:#?}", report.damages);
        let uncovered: Vec<_> = report.partitions.iter().filter(|p| p.covered < p.events).collect();
        assert!(uncovered.iter().all(|p| p.partition.stream == weft_model::Stream::Control), "{uncovered:?}");
        for Moment { tick, answers } in &self.moments {
            let cut = cut::resolve(&*log, &AsOf::Tick(*tick), self.clock.now_us()).await.unwrap();
            for (person, then) in answers {
                assert_eq!(&self.timeline(*person, Some(&cut)).await, then, "as of cut {tick}");
            }
        }
        let tick = self.dice.below(report.cuts);
        let upto = cut::resolve(&*log, &AsOf::Tick(tick), self.clock.now_us()).await.unwrap();
        self.check_rebuilt("rebuilt-to-a-cut.db", Some(&upto)).await;
        report.cuts
    }
}

//! Messages in, acknowledgements out: translate, append, and only then answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;
use weft_log::{AppendError, Draft, Receipt, Same, SharedLog};
use weft_model::{Clock, Payload};
use weft_translate::{Outcome, Profile, Translation, refuse, translate};

use crate::{frame, status::Slot};

/// How a feed's messages are read now. Replaced as a whole when the feed is registered again.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) profile: Profile,
    pub(crate) revision: u64,
}

/// One frame that wants an answer.
#[derive(Debug)]
pub(crate) enum Arrival {
    Message(Bytes),
    Oversized,
}

/// What the connections of one feed answer by.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) control_ids: Arc<ControlIds>,
    pub(crate) slot: Slot,
    /// Waits before an append that was unavailable is tried again; after the last the sender is told.
    pub(crate) append_retries: Arc<[Duration]>,
}

/// Control ids of our own acknowledgements: at most 20 characters, different from process to process.
#[derive(Debug)]
pub(crate) struct ControlIds {
    started: String,
    next: AtomicU64,
}

impl Exchange {
    /// Stores `arrivals` in their order, all in one append, and writes their framed answers to `out`.
    pub(crate) async fn answer(&self, arrivals: &[Arrival], reading: &Reading, out: &mut Vec<u8>) {
        let received_us = self.clock.now_us();
        let mut translations: Vec<Option<Translation>> = Vec::with_capacity(arrivals.len());
        let mut drafts = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let Arrival::Message(raw) = arrival else {
                translations.push(None);
                continue;
            };
            let mut translation = translate(raw.clone(), &reading.profile, reading.revision);
            drafts.push(self.draft(&mut translation, received_us));
            translations.push(Some(translation));
        }
        let mut outcomes = self.store(drafts, arrivals, reading, received_us).await.into_iter();
        let now_us = self.clock.now_us();
        for translation in &translations {
            let control_id = self.control_ids.next();
            let answer = match translation {
                Some(translation) => {
                    let outcome = outcomes.next().unwrap_or(Outcome::NotStored);
                    translation.acknowledge(&reading.profile, outcome, now_us, &control_id)
                }
                None => refuse(&reading.profile, "too-large", now_us, &control_id),
            };
            // A sender may ask for no answer.
            if !answer.is_empty() {
                frame::encode(&answer, out);
            }
        }
    }

    /// One outcome per draft. `arrivals` are what the drafts were made of: making them again is cheaper than keeping a
    /// copy for the rare append that has to be repeated.
    async fn store(
        &self,
        drafts: Vec<Draft>,
        arrivals: &[Arrival],
        reading: &Reading,
        received_us: i64,
    ) -> Vec<Outcome> {
        let count = drafts.len();
        if count == 0 {
            return Vec::new();
        }
        let again = || self.drafts(arrivals, reading, received_us);
        match self.append(drafts, again).await {
            Ok(receipts) => outcomes(&receipts),
            Err(AppendError::TooLarge { .. }) if count == 1 => vec![Outcome::TooLarge],
            Err(AppendError::TooLarge { .. }) => self.store_singly(again()).await,
            Err(AppendError::Unavailable(_)) => vec![Outcome::NotStored; count],
        }
    }

    /// One of the drafts can never be stored: the others can. Once the log is unavailable the rest is not tried, so that
    /// nothing overtakes what its sender has to send again.
    async fn store_singly(&self, drafts: Vec<Draft>) -> Vec<Outcome> {
        let count = drafts.len();
        let mut all = Vec::with_capacity(count);
        for draft in drafts {
            match self.append(vec![draft.clone()], || vec![draft.clone()]).await {
                Ok(receipts) => all.extend(outcomes(&receipts)),
                Err(AppendError::TooLarge { .. }) => all.push(Outcome::TooLarge),
                Err(AppendError::Unavailable(_)) => break,
            }
        }
        all.resize(count, Outcome::NotStored);
        all
    }

    /// Appends, and while the log is unavailable tries again for a moment: appending twice is harmless.
    async fn append(&self, drafts: Vec<Draft>, again: impl Fn() -> Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let count = drafts.len() as u64;
        let mut appended = self.log.append(drafts).await;
        for wait in self.append_retries.iter() {
            let Err(AppendError::Unavailable(_)) = &appended else { break };
            sleep(*wait).await;
            appended = self.log.append(again()).await;
        }
        if let Err(AppendError::Unavailable(cause)) = &appended {
            let feed = self.slot.feed();
            tracing::error!(feed, messages = count, cause = %cause, "messages not stored, their sender was told to keep them");
            self.slot.change(|status| status.messages_unstored += count);
        }
        appended
    }

    fn drafts(&self, arrivals: &[Arrival], reading: &Reading, received_us: i64) -> Vec<Draft> {
        let raw = arrivals.iter().filter_map(|arrival| match arrival {
            Arrival::Message(raw) => Some(raw.clone()),
            Arrival::Oversized => None,
        });
        raw.map(|raw| self.draft(&mut translate(raw, &reading.profile, reading.revision), received_us)).collect()
    }

    /// Takes the payload out of `translation`: what is left is what the answer needs.
    fn draft(&self, translation: &mut Translation, received_us: i64) -> Draft {
        Draft {
            same: Same::Message,
            feed: self.slot.feed().to_owned(),
            control_id: std::mem::take(&mut translation.control_id),
            message_type: std::mem::take(&mut translation.message_type),
            verdict: translation.verdict,
            received_us,
            cause: None,
            payload: Payload::MessageReceived(std::mem::take(&mut translation.message)),
        }
    }
}

impl ControlIds {
    /// `started_us`: when the process started.
    pub(crate) fn new(started_us: i64) -> Self {
        let mut left = started_us.unsigned_abs() / 1000;
        let mut digits = Vec::new();
        while left > 0 {
            let digit = u32::try_from(left % 36).ok().and_then(|digit| char::from_digit(digit, 36));
            digits.extend(digit);
            left /= 36;
        }
        let started = digits.iter().rev().map(char::to_ascii_uppercase).collect();
        Self { started, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("W{}-{}", self.started, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn outcomes(receipts: &[Receipt]) -> Vec<Outcome> {
    receipts.iter().map(|r| Outcome::Stored { verdict: r.verdict, stored: r.stored }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_control_ids_fit_the_field() {
        let ids = ControlIds::new(1_714_555_805_250_000);
        assert_eq!((ids.next(), ids.next()), ("WLVNM9A9U-1".to_owned(), "WLVNM9A9U-2".to_owned()));
        assert!(ids.next().len() <= 20);
    }
}

//! The linker, loaded again where it cannot go on: it then knows what it knew, as after a restart. While it works it waits for
//! what is away by itself, for where there are many people loading takes long; what comes here is a read model that is away
//! while it loads, and a key that is damaged.
//!
//! Why it waits is said once, and again when it is for another reason or has come further: a key that stays damaged is one
//! line, and not one a second.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use weft_log::{OpenError, ReadError, SharedLog};
use weft_readmodel::{QueryError, ReadModel, StoreError};

use super::Linker;
use crate::system::SystemClock;

/// Before the linker is loaded again.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Decides until `shutdown`.
pub(crate) async fn run(
    log: SharedLog,
    model: Arc<ReadModel>,
    place: watch::Sender<u64>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut stopped: Option<(String, u64)> = None;
    loop {
        let linker = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            linker = Linker::load(log.clone(), model.clone(), Arc::new(SystemClock), place.clone()) => linker,
        };
        let ended = match (linker, &stopped) {
            (Ok(linker), None) => {
                info!(records = linker.deciding.records(), messages = linker.messages(), "linker loaded");
                linker.run(shutdown.clone()).await
            }
            (Ok(linker), Some((_, at))) => tokio::select! {
                ended = linker.run(shutdown.clone()) => ended,
                () = goes_on(place.subscribe(), *at) => Ok(()),
            },
            (Err(error), _) => Err(error),
        };
        match ended {
            Err(error) if passes(&error) => {
                let now = (format!("{error:#}"), *place.borrow());
                if stopped.as_ref() == Some(&now) {
                    debug!(reason = now.0, "still nothing can be linked");
                } else {
                    warn!(reason = now.0, "nothing can be linked now");
                }
                stopped = Some(now);
            }
            ended => return ended,
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(AWAY_PAUSE) => {}
        }
    }
}

/// Says, once, that the linker has come further than where it stopped. Never ends.
async fn goes_on(mut place: watch::Receiver<u64>, stopped_at: u64) {
    if place.wait_for(|at| *at > stopped_at).await.is_ok() {
        info!("linking goes on");
    }
    std::future::pending().await
}

/// Whether the same may succeed later. A question's error stands for the store's, which is no cause of it.
fn passes(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(ReadError::Unavailable(_)))
            || matches!(cause.downcast_ref(), Some(QueryError::Store(StoreError::Unavailable(_))))
            || matches!(cause.downcast_ref(), Some(OpenError::Vault(_)))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{self, Write},
        path::Path,
        sync::Mutex,
    };

    use weft_log::{Draft, EmbeddedLog, OpenOptions, ReadLimit, Same, Vault};
    use weft_model::{Payload, SourceRecordId, Stream, Verdict, proto::event::MessageReceived};

    use super::*;
    use crate::system::SystemRandom;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn count(&self, said: &str) -> usize {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(said).count()
        }

        /// Waits until `said` was logged so often.
        async fn wait(&self, said: &str, times: usize) {
            let seen = async {
                while self.count(said) < times {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), seen).await.expect(said);
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn open(dir: &Path) -> SharedLog {
        let vault = Vault::open(&dir.join("keys"), Arc::new(SystemRandom)).unwrap();
        Arc::new(EmbeddedLog::open(OpenOptions::new(dir.join("log"), Arc::new(vault))).await.unwrap())
    }

    fn message(value: &str) -> Draft {
        let record =
            SourceRecordId { organisation: "RYJ".to_owned(), system: "MRN".to_owned(), value: value.to_owned() };
        Draft {
            same: Same::Message,
            feed: "one".to_owned(),
            control_id: value.to_owned(),
            message_type: String::new(),
            verdict: Verdict::Accepted,
            received_us: 0,
            cause: None,
            payload: Payload::MessageReceived(MessageReceived { record: Some(record), ..MessageReceived::default() }),
        }
    }

    /// The log and its keys are real; one key is damaged, and mended later.
    #[tokio::test]
    async fn a_key_that_stays_damaged_is_said_once_and_linking_goes_on_when_it_is_mended() {
        damage_and_mend(0).await;
    }

    #[tokio::test]
    async fn what_comes_before_a_damaged_key_is_linked_also_where_the_linker_is_behind() {
        damage_and_mend(3 * ReadLimit::PAGE.events).await;
    }

    /// The key of the message after so many.
    async fn damage_and_mend(before: usize) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
        let dir = tempfile::tempdir().unwrap();
        Vault::create(&dir.path().join("keys"), &SystemRandom).unwrap();
        let log = open(dir.path()).await;
        log.append((0..=before).map(|n| message(&n.to_string())).collect()).await.unwrap();
        log.close().await;
        // The slot of the last record, which a new vault has not read yet; the first record's is the third.
        let keys = dir.path().join("keys/keys");
        let good = fs::read(&keys).unwrap();
        let mut damaged = good.clone();
        damaged[(2 + before) * 64 + 20] ^= 1;
        fs::write(&keys, damaged).unwrap();

        let log = open(dir.path()).await;
        let model = Arc::new(ReadModel::open(&dir.path().join("model.db")).await.unwrap());
        let (place, mut reached) = watch::channel(0);
        let shutdown = CancellationToken::new();
        let linking = tokio::spawn(run(log.clone(), model, place, shutdown.clone()));
        lines.wait("still nothing can be linked", 2).await;
        assert_eq!(lines.count("nothing can be linked now"), 1);
        assert_eq!(log.size(Stream::Identity.partition(0)).await.unwrap(), before as u64);
        fs::write(&keys, good).unwrap();
        reached.wait_for(|at| *at > before as u64).await.unwrap();
        lines.wait("linking goes on", 1).await;
        shutdown.cancel();
        linking.await.unwrap().unwrap();
        assert_eq!((lines.count("linker loaded"), lines.count("WARN")), (1, 1));
        log.close().await;
    }
}

//! Senders that go on whatever happens, as hospitals' interface engines do: each sends a message, and sends it again until it
//! is acknowledged.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::Sender;

/// Nothing that a test does to a node keeps a message from being acknowledged for longer.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// A load on one feed.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

struct Shared {
    address: Mutex<String>,
    next: AtomicU64,
    over: AtomicBool,
    acknowledged: Mutex<BTreeSet<String>>,
    /// Answers that were no acceptance: the message was sent again.
    refused: AtomicU64,
    given_up: AtomicU64,
}

impl Load {
    /// Starts `senders` connections to `address`.
    #[must_use]
    pub fn start(senders: u64, address: &str) -> Self {
        let shared = Arc::new(Shared {
            address: Mutex::new(address.to_owned()),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            refused: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        });
        let run = |shared: Arc<Shared>| std::thread::spawn(move || shared.send_all());
        let senders = (0..senders).map(|_| run(Arc::clone(&shared))).collect();
        Self { shared, senders }
    }

    /// The feed listens elsewhere now.
    pub fn go_to(&self, address: &str) {
        address.clone_into(&mut self.shared.address.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Messages acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged().len()
    }

    /// Answers so far that were no acceptance.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Waits until this many more messages are acknowledged.
    ///
    /// # Errors
    /// When they are not within 90 seconds.
    pub fn wait_for_more(&self, messages: usize) -> anyhow::Result<()> {
        let (wanted, deadline) = (self.acknowledged() + messages, Instant::now() + PATIENCE);
        while self.acknowledged() < wanted {
            if Instant::now() > deadline {
                bail!("{} messages acknowledged, {wanted} wanted", self.acknowledged());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends once every message that was begun is acknowledged. Returns the control ids of all.
    ///
    /// # Errors
    /// When one was not acknowledged in 90 seconds.
    pub fn finish(self) -> anyhow::Result<BTreeSet<String>> {
        self.shared.over.store(true, Ordering::SeqCst);
        for sender in self.senders {
            if sender.join().is_err() {
                bail!("a sender panicked");
            }
        }
        match self.shared.given_up.load(Ordering::SeqCst) {
            0 => Ok(std::mem::take(&mut *self.shared.acknowledged())),
            given_up => bail!("{given_up} messages were never acknowledged"),
        }
    }
}

impl Shared {
    fn acknowledged(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_all(&self) {
        let mut connection = None;
        while !self.over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let control_id = format!("K{number}");
            let deadline = Instant::now() + PATIENCE;
            while !self.send(&mut connection, number) {
                connection = None;
                if Instant::now() > deadline {
                    self.given_up.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                std::thread::sleep(PAUSE);
            }
            self.acknowledged().insert(control_id);
        }
    }

    /// Sends once, on the connection that there is or a new one; true where it was accepted.
    fn send(&self, connection: &mut Option<Sender>, number: u64) -> bool {
        if connection.is_none() {
            let address = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *connection = Sender::connect(&address).ok();
        }
        let Some(sender) = connection else { return false };
        match sender.send(&message(number)) {
            Ok(ack) if ack.code == "AA" => true,
            Ok(_) => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                false
            }
            Err(_) => false,
        }
    }
}

/// The `number`-th message: about one of 97 patients, of one of five kinds. Its control id is `K{number}`.
#[must_use]
pub fn message(number: u64) -> Vec<u8> {
    let patient = number % 97;
    let event = ["A01", "A02", "A03", "A08", "A31"].get(number as usize % 5).copied().unwrap_or("A31");
    format!(
        "MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20260301101500||ADT^{event}|K{number}|P|2.4\r\
         EVN||20260301101500||||2026030110{:02}00\r\
         PID|1||P{patient}^^^RYJ^MR||FAMILY{patient}^Given||19800214|2|||1 Street^^London^^W2 1NY\r\
         PV1|1|I|WARD{}^B^1||||||||||||||||V{patient}|||||||||||||||||||||||||20260301100000\r",
        number % 60,
        number % 7
    )
    .into_bytes()
}

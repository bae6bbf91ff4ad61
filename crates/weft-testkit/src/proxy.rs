//! A TCP proxy between two parts of Weft, with a network that can be cut or hang.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// Forwards connections to one target. Dropping it cuts the network.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<String>,
    network: AtomicU8,
}

/// Bytes pass.
const OPEN: u8 = 0;
/// Connections stay open and no byte passes.
const STALLED: u8 = 1;
/// Connections are closed, and new ones are closed at once.
const CUT: u8 = 2;
/// The proxy is gone.
const GONE: u8 = 3;
/// What goes to the target passes, and none of its answers.
const MUTE: u8 = 4;

/// How soon a change of the network is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Proxy {
    /// Listens on a free port; connections fail until [`forward_to`](Self::forward_to).
    ///
    /// # Errors
    /// When no port can be had.
    pub fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared { target: Mutex::new(String::new()), network: AtomicU8::new(OPEN) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared })
    }

    /// A proxy in front of `target`, `host:port`.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn to(target: &str) -> anyhow::Result<Self> {
        let proxy = Self::listen()?;
        proxy.forward_to(target);
        Ok(proxy)
    }

    /// Where it listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where connections go from now on.
    pub fn forward_to(&self, target: &str) {
        if let Ok(mut known) = self.shared.target.lock() {
            target.clone_into(&mut known);
        }
    }

    /// Closes every connection, and every new one at once.
    pub fn cut(&self) {
        self.set(CUT);
    }

    /// Holds every byte back; nobody is told.
    pub fn stall(&self) {
        self.set(STALLED);
    }

    /// Holds answers back, and lets questions pass: what is asked is done, and whoever asked does not hear of it.
    pub fn hold_answers(&self) {
        self.set(MUTE);
    }

    /// Lets bytes pass again: those held back first.
    pub fn restore(&self) {
        self.set(OPEN);
    }

    fn set(&self, network: u8) {
        self.shared.network.store(network, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(GONE);
    }
}

impl Shared {
    fn network(&self) -> u8 {
        self.network.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while shared.network() != GONE {
        match listener.accept() {
            Ok((client, _)) if shared.network() != CUT => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || connect(client, &shared));
            }
            // Dropping it closes it.
            Ok(_) => {}
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// One connection: a thread for each direction.
fn connect(client: TcpStream, shared: &Arc<Shared>) {
    let target = shared.target.lock().map(|target| target.clone()).unwrap_or_default();
    let Ok(server) = TcpStream::connect(target) else { return };
    let (Ok(client_reads), Ok(server_reads)) = (client.try_clone(), server.try_clone()) else { return };
    let other = Arc::clone(shared);
    std::thread::spawn(move || pump(&client_reads, server, &other, &[STALLED]));
    pump(&server_reads, client, shared, &[STALLED, MUTE]);
}

/// Carries bytes one way until an end is gone or the network is cut, and holds them while it is one of `held`.
fn pump(mut from: &TcpStream, mut to: TcpStream, shared: &Shared, held: &[u8]) {
    let _ = from.set_nonblocking(false);
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(_) => break,
        };
        while held.contains(&shared.network()) {
            std::thread::sleep(LOOK_EVERY);
        }
        if ![OPEN, MUTE].contains(&shared.network()) || to.write_all(buffer.get(..read).unwrap_or_default()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

//! One feed's socket: accepts, counts, and at the end lets connections finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{self, Site},
    exchange::{Exchange, Reading},
    status::Slot,
    supervisor::Limits,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed for a reason of this machine (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket and the task that serves it.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Replaces how messages are read, from the next one on.
    pub(crate) reading: watch::Sender<Arc<Reading>>,
    stop: CancellationToken,
    socket_closed: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Binds `address` and begins to accept.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        reading: Arc<Reading>,
        exchange: Exchange,
        limits: Limits,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let (reading, followed) = watch::channel(reading);
        let stop = CancellationToken::new();
        let site = Site { exchange, reading: followed, limits, drain: stop.clone() };
        let (closed, socket_closed) = oneshot::channel();
        let accepting = Accepting { site, tls, connections: JoinSet::new(), open: Arc::new(()), refused: 0 };
        let task = tokio::spawn(accepting.run(socket, closed));
        Ok(Self { address, reading, stop, socket_closed, task })
    }

    /// Closes the socket and returns the task in which the connections finish, within [`Limits::drain_timeout`].
    pub(crate) async fn stop(self) -> JoinHandle<()> {
        self.stop.cancel();
        // An error means that the task has ended, and the socket with it.
        let _ = self.socket_closed.await;
        self.task
    }
}

struct Accepting {
    site: Site,
    tls: Option<TlsAcceptor>,
    connections: JoinSet<()>,
    /// Held once more by every connection that is open.
    open: Arc<()>,
    refused: u64,
}

impl Accepting {
    async fn run(mut self, socket: TcpListener, closed: oneshot::Sender<()>) {
        loop {
            tokio::select! {
                biased;
                () = self.site.drain.cancelled() => break,
                Some(ended) = self.connections.join_next() => self.reap(ended),
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => {
                        tracing::warn!(feed = self.slot().feed(), error = %error, "connection not accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        let _ = closed.send(());
        self.finish().await;
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let connections_max = self.site.reading.borrow().profile.listener().connections_max;
        if Arc::strong_count(&self.open) > connections_max {
            self.refused += 1;
            self.slot().change(|status| status.connections_refused += 1);
            // A sender that tries again every second must not fill the log.
            if self.refused.is_power_of_two() {
                let (feed, refused) = (self.slot().feed(), self.refused);
                tracing::warn!(feed, %peer, connections_max, refused, "connection refused: too many");
            }
            return;
        }
        let counted = self.slot().count_connection();
        let (site, tls, open) = (self.site.clone(), self.tls.clone(), Arc::clone(&self.open));
        self.connections.spawn(async move {
            // Dropped in reverse: the place is free before the status says so.
            let _counted = counted;
            let _open = open;
            serve(stream, peer, site, tls).await;
        });
    }

    async fn finish(&mut self) {
        let limit = self.site.limits.drain_timeout;
        let ending = async {
            while let Some(ended) = self.connections.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(error = %error, "connection task failed");
                }
            }
        };
        if timeout(limit, ending).await.is_err() {
            let feed = self.slot().feed();
            tracing::warn!(feed, connections = self.connections.len(), "connections cut off: they did not end in time");
            self.connections.shutdown().await;
        }
    }

    fn reap(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            tracing::error!(feed = self.slot().feed(), error = %error, "connection task failed");
        }
    }

    fn slot(&self) -> &Slot {
        &self.site.exchange.slot
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, site: Site, tls: Option<TlsAcceptor>) {
    let feed = site.exchange.slot.feed();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::warn!(feed, %peer, error = %error, "connection failed");
        return;
    }
    tracing::info!(feed, %peer, "connection opened");
    let Some(acceptor) = tls else {
        connection::serve(stream, peer, site).await;
        return;
    };
    let shaken = tokio::select! {
        biased;
        () = site.drain.cancelled() => return,
        shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => connection::serve(stream, peer, site).await,
        Ok(Err(error)) => tracing::warn!(feed, %peer, error = %error, "TLS handshake failed"),
        Err(_) => tracing::warn!(feed, %peer, "TLS handshake not finished in time"),
    }
}

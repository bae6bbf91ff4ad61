//! One connection: read, answer, write, in one task.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    exchange::{Arrival, Exchange, Reading},
    frame::{Decoder, Frame},
    supervisor::Limits,
};

/// Room made for each read.
const READ_BYTES: usize = 16 << 10;
/// How long a sender that omits the last byte of its end block keeps silent before the frame is taken as ended.
const END_SILENCE: Duration = Duration::from_millis(50);
/// After our last byte, how long to keep reading and dropping: closing a socket that holds unread bytes would destroy
/// the answers still on their way.
const LINGER: Duration = Duration::from_millis(500);
/// How many reads of waiting bytes are answered when a connection is to end.
const LAST_READS_MAX: usize = 256;

/// What all connections of a listener share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) exchange: Exchange,
    pub(crate) reading: watch::Receiver<Arc<Reading>>,
    pub(crate) limits: Limits,
    /// Cancelled when connections are to end, once what was sent is stored.
    pub(crate) drain: CancellationToken,
}

/// Serves one connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, mut site: Site) {
    let reading = Arc::clone(&site.reading.borrow_and_update());
    let decoder = Decoder::new(reading.profile.listener().message_bytes_max);
    let mut connection = Connection {
        stream,
        peer,
        reading,
        decoder,
        buffer: BytesMut::new(),
        arrivals: Vec::new(),
        out: Vec::new(),
        last_active: Instant::now(),
        idle: Box::pin(sleep(Duration::ZERO)),
        messages: 0,
        skipped: 0,
        site,
    };
    let deadline = connection.idle_deadline();
    connection.idle.as_mut().reset(deadline);
    let end = connection.run().await;
    let feed = connection.site.exchange.slot.feed();
    match end {
        Ok(end) => tracing::info!(feed, %peer, messages = connection.messages, end = end.name(), "connection ended"),
        Err(error) => {
            tracing::warn!(feed, %peer, messages = connection.messages, error = %error, "connection failed");
        }
    }
}

struct Connection<S> {
    stream: S,
    peer: SocketAddr,
    site: Site,
    reading: Arc<Reading>,
    decoder: Decoder,
    buffer: BytesMut,
    arrivals: Vec<Arrival>,
    out: Vec<u8>,
    last_active: Instant,
    /// Fires at or before the idle deadline: set again only when it fires, not for every read.
    idle: Pin<Box<Sleep>>,
    messages: u64,
    skipped: u64,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Peer,
    Idle,
    Drained,
}

enum Happened {
    Read,
    /// Nothing followed an end byte.
    Silence,
    Ended(End),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> io::Result<End> {
        let drain = self.site.drain.clone();
        let mut drained = std::pin::pin!(drain.cancelled());
        loop {
            self.answer_complete_frames().await?;
            match self.next(drained.as_mut()).await? {
                Happened::Read => {}
                Happened::Silence => {
                    let ended = self.decoder.settle(&mut self.buffer);
                    self.take(ended);
                }
                Happened::Ended(end) => {
                    if end == End::Drained {
                        self.answer_waiting_bytes().await?;
                    } else {
                        let last = self.decoder.finish(&mut self.buffer);
                        self.take(last);
                        self.answer().await?;
                    }
                    self.close().await;
                    return Ok(end);
                }
            }
        }
    }

    /// Waits for the next thing to do. Reading comes last in the order of asking, so that a sender that never pauses
    /// does not keep a connection from ending.
    async fn next(&mut self, drained: Pin<&mut impl Future<Output = ()>>) -> io::Result<Happened> {
        let mut drained = drained;
        loop {
            self.buffer.reserve(READ_BYTES);
            tokio::select! {
                biased;
                () = drained.as_mut() => return Ok(Happened::Ended(End::Drained)),
                read = self.stream.read_buf(&mut self.buffer) => {
                    self.last_active = Instant::now();
                    return Ok(if read? == 0 { Happened::Ended(End::Peer) } else { Happened::Read });
                }
                () = sleep(END_SILENCE), if self.decoder.ends_if_silent() => return Ok(Happened::Silence),
                () = self.idle.as_mut() => {
                    let deadline = self.idle_deadline();
                    if Instant::now() >= deadline {
                        return Ok(Happened::Ended(End::Idle));
                    }
                    self.idle.as_mut().reset(deadline);
                }
            }
        }
    }

    async fn answer_complete_frames(&mut self) -> io::Result<()> {
        loop {
            self.follow_profile();
            while self.arrivals.len() < self.site.limits.in_flight_max {
                let Some(frame) = self.decoder.decode(&mut self.buffer) else { break };
                self.take(Some(frame));
            }
            self.report_skipped();
            if self.arrivals.is_empty() {
                return Ok(());
            }
            self.answer().await?;
        }
    }

    /// Whatever has reached this machine already was sent before the end: it is read, stored and answered.
    async fn answer_waiting_bytes(&mut self) -> io::Result<()> {
        for _ in 0..LAST_READS_MAX {
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).now_or_never() {
                Some(Ok(bytes)) if bytes > 0 => self.answer_complete_frames().await?,
                _ => break,
            }
        }
        let ended = self.decoder.settle(&mut self.buffer);
        self.take(ended);
        self.answer().await
    }

    fn take(&mut self, frame: Option<Frame>) {
        let slot = &self.site.exchange.slot;
        match frame {
            None => {}
            Some(Frame::Message(raw)) => self.arrivals.push(Arrival::Message(raw)),
            Some(Frame::Oversized) => {
                let (feed, peer) = (slot.feed(), self.peer);
                tracing::warn!(feed, %peer, bytes_max = self.reading.profile.listener().message_bytes_max, "frame refused: too large");
                slot.change(|status| status.frames_oversized += 1);
                self.arrivals.push(Arrival::Oversized);
            }
            Some(Frame::Broken { bytes }) => {
                let (feed, peer) = (slot.feed(), self.peer);
                tracing::warn!(feed, %peer, bytes, "frame without end block: not stored, not acknowledged");
                slot.change(|status| status.frames_broken += 1);
            }
        }
    }

    /// Stores what has arrived and writes the answers, all in one write. Nothing is read meanwhile.
    async fn answer(&mut self) -> io::Result<()> {
        if self.arrivals.is_empty() {
            return Ok(());
        }
        self.out.clear();
        self.site.exchange.answer(&self.arrivals, &self.reading, &mut self.out).await;
        self.messages += self.arrivals.len() as u64;
        self.arrivals.clear();
        let writing = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        let Ok(written) = timeout(self.site.limits.write_timeout, writing).await else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "peer does not read its acknowledgements"));
        };
        // Time that the log took is not the sender's silence.
        self.last_active = Instant::now();
        written
    }

    /// A changed profile applies to the next frame.
    fn follow_profile(&mut self) {
        if self.site.reading.has_changed().unwrap_or(false) {
            self.reading = Arc::clone(&self.site.reading.borrow_and_update());
            self.decoder.set_message_bytes_max(self.reading.profile.listener().message_bytes_max);
        }
    }

    fn report_skipped(&mut self) {
        let skipped = self.decoder.skipped();
        if skipped == self.skipped {
            return;
        }
        let slot = &self.site.exchange.slot;
        if self.skipped == 0 {
            let (feed, peer) = (slot.feed(), self.peer);
            tracing::warn!(feed, %peer, bytes = skipped, "bytes between frames skipped; told once per connection");
        }
        slot.change(|status| status.bytes_skipped += skipped - self.skipped);
        self.skipped = skipped;
    }

    async fn close(&mut self) {
        let closing = async {
            self.stream.shutdown().await?;
            loop {
                self.buffer.clear();
                self.buffer.reserve(READ_BYTES);
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // The answers are written; whether the peer hangs up in time or not changes nothing.
        let _ = timeout(LINGER, closing).await;
    }

    fn idle_deadline(&self) -> Instant {
        self.last_active + Duration::from_secs(self.reading.profile.listener().idle_timeout_s)
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Peer => "closed by the sender",
            Self::Idle => "idle",
            Self::Drained => "closed by this node",
        }
    }
}

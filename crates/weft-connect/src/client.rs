//! A sender: one connection, one message after the other, each awaiting its acknowledgement.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
    time::timeout,
};

use crate::{
    frame::{self, Decoder, Frame},
    tls::ClientTls,
};

/// Longest acknowledgement that is read.
const ACK_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to an MLLP listener.
pub struct MllpClient {
    stream: Box<dyn Transport>,
    decoder: Decoder,
    buffer: BytesMut,
    out: Vec<u8>,
    timeout: Duration,
    /// An acknowledgement did not come in time: the next one to arrive would answer the wrong message.
    out_of_step: bool,
}

/// Why there is no acknowledgement.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing was sent: try again.
    #[error("cannot connect")]
    NotConnected(#[source] io::Error),
    /// The message may be stored or not: send the same bytes again on a new connection.
    #[error("no acknowledgement")]
    Unanswered(#[source] io::Error),
}

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

impl MllpClient {
    /// Connects, in the clear or with TLS, within 30 seconds.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`]: refused, timed out, or the handshake failed. With TLS 1.3 a server refuses a client's
    /// certificate after the handshake: that shows on the first [`send`](Self::send).
    pub async fn connect(address: impl ToSocketAddrs, tls: Option<&ClientTls>) -> Result<Self, ClientError> {
        let connecting = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok(match tls {
                None => Box::new(tcp) as Box<dyn Transport>,
                Some(tls) => {
                    let (connector, name) = tls.connector();
                    Box::new(connector.connect(name, tcp).await?)
                }
            })
        };
        let stream = in_time(TIMEOUT, connecting).await.map_err(ClientError::NotConnected)?;
        Ok(Self {
            stream,
            decoder: Decoder::new(ACK_BYTES_MAX),
            buffer: BytesMut::with_capacity(READ_BYTES),
            out: Vec::new(),
            timeout: TIMEOUT,
            out_of_step: false,
        })
    }

    /// How long to wait for each acknowledgement; 30 seconds unless changed.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends `message` (without framing) and returns the bytes that answer it, without framing.
    ///
    /// # Errors
    /// [`ClientError::Unanswered`]; the connection is of no more use then.
    pub async fn send(&mut self, message: &[u8]) -> Result<Bytes, ClientError> {
        self.write([message]).await?;
        self.receive().await
    }

    /// Sends `messages` in one write, without awaiting their acknowledgements: [`receive`](Self::receive) each, in order.
    ///
    /// # Errors
    /// [`ClientError::Unanswered`].
    pub async fn write<'a>(&mut self, messages: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ClientError> {
        self.out.clear();
        for message in messages {
            frame::encode(message, &mut self.out);
        }
        let out = std::mem::take(&mut self.out);
        let written = self.write_raw(&out).await;
        self.out = out;
        written
    }

    /// Sends bytes as they are, framing and all.
    ///
    /// # Errors
    /// [`ClientError::Unanswered`].
    pub async fn write_raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = if self.out_of_step { Err(out_of_step()) } else { in_time(self.timeout, writing).await };
        self.out_of_step |= written.is_err();
        written.map_err(ClientError::Unanswered)
    }

    /// The next acknowledgement, without framing.
    ///
    /// # Errors
    /// [`ClientError::Unanswered`]: the listener closed the connection, or did not answer in time.
    pub async fn receive(&mut self) -> Result<Bytes, ClientError> {
        if self.out_of_step {
            return Err(ClientError::Unanswered(out_of_step()));
        }
        let received = in_time(self.timeout, receive(&mut self.stream, &mut self.decoder, &mut self.buffer)).await;
        self.out_of_step |= received.is_err();
        received.map_err(ClientError::Unanswered)
    }

    /// Says that nothing more will be sent; acknowledgements can still be received.
    ///
    /// # Errors
    /// [`ClientError::Unanswered`].
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        in_time(self.timeout, self.stream.shutdown()).await.map_err(ClientError::Unanswered)
    }
}

async fn receive(stream: &mut dyn Transport, decoder: &mut Decoder, buffer: &mut BytesMut) -> io::Result<Bytes> {
    loop {
        let found = match decoder.decode(buffer) {
            None if decoder.ends_if_silent() => decoder.settle(buffer),
            found => found,
        };
        match found {
            Some(Frame::Message(ack)) => return Ok(ack),
            Some(Frame::Oversized) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "acknowledgement over 1 MiB"));
            }
            Some(Frame::Broken { .. }) => {}
            None => {
                buffer.reserve(READ_BYTES);
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed by the listener"));
                }
            }
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

fn out_of_step() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "connection is out of step after an earlier failure")
}

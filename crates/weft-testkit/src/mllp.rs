//! A plain MLLP sender over a blocking socket, written apart from the code under test.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, bail};

/// One connection to a feed.
pub struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An acknowledgement as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// MSA-1.
    pub code: String,
    /// MSA-2.
    pub control_id: String,
    /// The whole reply, segments ending in carriage returns.
    pub text: String,
}

impl Sender {
    /// Connects; replies are waited for 20 seconds.
    ///
    /// # Errors
    /// When nobody listens at `address`.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends one message and waits for its acknowledgement.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn send(&mut self, message: &[u8]) -> anyhow::Result<Ack> {
        self.write(&frame(message))?;
        self.reply()
    }

    /// Writes bytes as they are, for tests of framing.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Waits for one acknowledgement.
    ///
    /// # Errors
    /// When the connection ends, or no reply comes in 20 seconds.
    pub fn reply(&mut self) -> anyhow::Result<Ack> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == [0x1c, 0x0d]) {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let body = frame.get(1..end).unwrap_or_default();
                return Ok(Ack::read(&String::from_utf8_lossy(body)));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => bail!("connection ended before an acknowledgement"),
                read => self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
        }
    }
}

impl Ack {
    fn read(text: &str) -> Self {
        let msa = text.split('\r').find(|segment| segment.starts_with("MSA")).unwrap_or_default();
        let field = |n: usize| msa.split('|').nth(n).unwrap_or_default().to_owned();
        Self { code: field(1), control_id: field(2), text: text.to_owned() }
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0x0b], message, &[0x1c, 0x0d]].concat()
}

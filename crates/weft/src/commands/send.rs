//! `weft send`: an MLLP sender for files, folders and standard input.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use weft_connect::{ClientTls, MllpClient, parse_ack};

use crate::{
    commands::{Exit, failure, reach},
    output,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to send: HOST:PORT, or the identifier of a feed of the node under --config
    to: String,
    /// Files with messages (one may hold many), or folders of files; `-` reads standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Connections to send over; each waits for the acknowledgement of one message before it sends the next
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Certificate authority of the receiver (PEM); turns TLS on
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Client certificate for mutual TLS (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    cert: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Name that the receiver's certificate must carry
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    server_name: String,
    /// Seconds to wait for an acknowledgement
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Print each acknowledgement as a JSON object
    #[arg(long)]
    json: bool,
}

/// Refused where any acknowledgement is not AA or CA.
pub(crate) async fn run(config: &Path, options: Options) -> anyhow::Result<Exit> {
    let address = address(config, &options.to).await?;
    let mut messages = Vec::new();
    for path in &options.paths {
        read_path(path, &mut messages)?;
    }
    if messages.is_empty() {
        bail!("there is no message in what was given");
    }
    let tls = client_tls(&options)?;
    let (messages, options) = (Arc::new(messages), Arc::new(options));
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for _ in 0..options.connections {
        let (messages, options, next, tls) = (messages.clone(), options.clone(), next.clone(), tls.clone());
        senders.push(tokio::spawn(async move { send_some(address, &messages, &options, &next, tls).await }));
    }
    let mut exit = Exit::Done;
    for sender in senders {
        if !sender.await.context("a sender ended early")?? {
            exit = Exit::Refused;
        }
    }
    Ok(exit)
}

/// One connection: takes the next message, sends it, prints its acknowledgement. True if all were accepted.
async fn send_some(
    address: SocketAddr,
    messages: &[(String, Bytes)],
    options: &Options,
    next: &AtomicUsize,
    tls: Option<ClientTls>,
) -> anyhow::Result<bool> {
    let timeout = std::time::Duration::from_secs(options.timeout);
    let client = MllpClient::connect(address, tls.as_ref()).await;
    let mut client = client.with_context(|| format!("cannot connect to {address}"))?.with_timeout(timeout);
    let mut all_accepted = true;
    loop {
        let taken = next.fetch_add(1, Ordering::Relaxed);
        let Some((place, message)) = messages.get(taken) else { return Ok(all_accepted) };
        let reply = client.send(message).await.with_context(|| format!("{place}: not acknowledged"))?;
        let Some(ack) = parse_ack(&reply) else { bail!("{place}: the reply is no acknowledgement") };
        all_accepted &= ack.is_positive();
        let errors: Vec<String> = ack.errors.iter().map(|e| format!("{} {} {}", e.location, e.code, e.text)).collect();
        if options.json {
            let reply = String::from_utf8_lossy(&reply);
            output::json_line(&serde_json::json!({
                "message": place, "code": ack.code, "control_id": ack.control_id, "text": ack.text, "errors": errors,
                "reply": reply,
            }))?;
        } else {
            let why = if errors.is_empty() { ack.text } else { errors.join("; ") };
            output::data(&format!("{place}  {}  {}  {why}\n", ack.code, ack.control_id))?;
        }
    }
}

/// An address, or that of a feed of the running node.
async fn address(config: &Path, to: &str) -> anyhow::Result<SocketAddr> {
    if to.contains(':') {
        let mut found = tokio::net::lookup_host(to).await.with_context(|| format!("cannot find {to}"))?;
        return found.next().with_context(|| format!("{to} has no address"));
    }
    let (config, mut clients) = reach::node(config).await?;
    let context = reach::Asker::default().context(&config);
    let request = weft_model::proto::api::GetFeedRequest { context: Some(context), feed: to.to_owned() };
    let feed = clients.feed.get_feed(request).await.map_err(reach::refused)?.into_inner().feed.unwrap_or_default();
    feed.address.parse().map_err(|_| failure(Exit::NoNode, format!("feed {to} is not listening")))
}

fn client_tls(options: &Options) -> anyhow::Result<Option<ClientTls>> {
    let Some(ca) = &options.ca else { return Ok(None) };
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let identity = match (&options.cert, &options.key) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    Ok(Some(ClientTls::from_pem(&read(ca)?, identity, &options.server_name)?))
}

/// Reads messages from a file, the files of a folder by name, or standard input.
fn read_path(path: &Path, messages: &mut Vec<(String, Bytes)>) -> anyhow::Result<()> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).context("cannot read standard input")?;
        bytes
    } else if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        files.sort();
        return files.iter().filter(|p| p.is_file()).try_for_each(|file| read_path(file, messages));
    } else {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    let found = split_messages(&Bytes::from(bytes));
    messages.extend(found.into_iter().enumerate().map(|(i, m)| (format!("{}[{}]", path.display(), i + 1), m)));
    Ok(())
}

/// The messages of a file: each starts with `MSH` at the start of a line. MLLP framing bytes and blank space around a
/// message are no part of it. A file without `MSH` is one message: it is for the receiver to refuse.
pub(crate) fn split_messages(bytes: &Bytes) -> Vec<Bytes> {
    let at_line_start = |i: usize| i == 0 || matches!(bytes.get(i - 1), Some(b'\r' | b'\n' | 0x0b | 0x1c | 0xbf));
    let mut starts: Vec<usize> =
        bytes.windows(3).enumerate().filter(|(i, w)| *w == b"MSH" && at_line_start(*i)).map(|(i, _)| i).collect();
    if starts.is_empty() {
        starts.push(0);
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
    let framing = |b: &u8| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0x0b | 0x1c);
    let mut messages = Vec::new();
    for (start, end) in starts.into_iter().zip(ends) {
        let part = bytes.get(start..end).unwrap_or_default();
        let before = part.iter().take_while(|b| framing(b)).count();
        let after = part.iter().rev().take_while(|b| framing(b)).count();
        if before < part.len() {
            // The last segment keeps its carriage return, as a sender would end it.
            let kept = part.len() - after;
            let end = if part.get(kept) == Some(&b'\r') { kept + 1 } else { kept };
            messages.push(bytes.slice(start + before..start + end));
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, wanted: &[&str]) {
        let found = split_messages(&Bytes::copy_from_slice(file.as_bytes()));
        let found: Vec<&str> = found.iter().map(|m| std::str::from_utf8(m).unwrap()).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_file_may_hold_many_messages() {
        check("MSH|1\rPID|1\r", &["MSH|1\rPID|1\r"]);
        check("MSH|1\rPID|1\r\nMSH|2\rPID|2\r\n", &["MSH|1\rPID|1\r", "MSH|2\rPID|2\r"]);
        check("MSH|1\nPID|MSH\n\nMSH|2\n", &["MSH|1\nPID|MSH", "MSH|2"]);
        check("\u{b}MSH|1\r\u{1c}\r\u{b}MSH|2\r\u{1c}\r", &["MSH|1\r", "MSH|2\r"]);
        check("no message", &["no message"]);
        check("  \n", &[]);
    }
}

//! `weft bench restart`: a node as a process of its own, killed with SIGKILL and started again, on a log of a million events.

use anyhow::Context;
use clap::Args;

use super::{Common, Figures, bed};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Messages in the log
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// People that the messages are about
    #[arg(long, default_value_t = 100_000)]
    people: u32,
    /// How often the node is killed
    #[arg(long, default_value_t = 5)]
    kills: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let site = bed::Site::new(&options.common)?;
    bed::measure_fsync(site.path(), &mut figures)?;
    let messages = weft_synth::bench_messages(options.common.seed, options.messages as usize, options.people as usize);
    let mut filler = site.filler().await?;
    filler.put_plain(messages).await?;
    let filled = filler.finish().await?;
    figures.add("messages_stored", filled as f64, "");
    {
        let (node, _, _) = site.start().await?;
        node.caught_up().await?;
        node.stop().await;
    }
    let mut seconds = Vec::new();
    let mut node = bed::Process::serve(&site, &[])?;
    for _ in 0..options.kills {
        let killed = node.kill()?;
        node = bed::Process::serve(&site, &[])?;
        let address: std::net::SocketAddr = node.ready.mllp.values().next().context("no feed listens")?.parse()?;
        tokio::net::TcpStream::connect(address).await.context("the feed does not accept")?;
        seconds.push(killed.elapsed().as_secs_f64());
    }
    // The linker takes its index back in the background: memory is read once it has settled.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    figures.add("people_stored", f64::from(options.people), "");
    figures.add("memory_of_node", bed::resident_bytes(node.id())? as f64, "B");
    node.kill()?;
    seconds.sort_by(f64::total_cmp);
    figures.add("kill_to_listening_median_s", seconds.get(seconds.len() / 2).copied().unwrap_or(0.0), "s");
    figures.add("kill_to_listening_max_s", seconds.last().copied().unwrap_or(0.0), "s");
    Ok(figures)
}

//! Folders, permissions, room, and how long the disk takes to make something durable.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use super::Finding;
use crate::{config::Config, stores};

const GIB: u64 = 1 << 30;
/// Below this a busy feed fills the disk within hours; below the other no checkpoint is sure to succeed.
const ROOM_POOR: u64 = 10 * GIB;
const ROOM_BAD: u64 = GIB;
/// An acknowledgement waits for one of these: above, senders see it.
const FSYNC_POOR: Duration = Duration::from_millis(10);
const FSYNC_BAD: Duration = Duration::from_millis(200);
const FSYNCS: usize = 32;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![data_folder(&config.data)];
    if config.data.is_dir() {
        findings.extend([room(&config.data), fsync_time(&config.data)]);
    }
    findings.extend(secrets(config));
    // With Kafka the keys of the records are in PostgreSQL: they are looked at with the log.
    if config.kafka.is_none() {
        findings.push(match stores::open_vault(config) {
            Ok(_) => Finding::good("keys", format!("the vault in {} opens", config.keys.display())),
            Err(error) => Finding::bad("keys", format!("{error:#}"), "restore the keys from their backup"),
        });
    }
    findings
}

fn data_folder(data: &Path) -> Finding {
    const CHECK: &str = "data";
    let shown = data.display();
    if !data.exists() {
        let parent = data.parent().unwrap_or(Path::new("."));
        return match tempfile::tempfile_in(parent) {
            Ok(_) => Finding::good(CHECK, format!("{shown} does not exist yet and can be made")),
            Err(error) => Finding::bad(
                CHECK,
                format!("{shown} cannot be made: {error}"),
                "give the node's account write permission",
            ),
        };
    }
    match tempfile::tempfile_in(data) {
        Ok(_) => Finding::good(CHECK, format!("{shown} is writable")),
        Err(error) => {
            Finding::bad(CHECK, format!("{shown} is not writable: {error}"), "give the node's account write permission")
        }
    }
}

fn room(data: &Path) -> Finding {
    const CHECK: &str = "disk";
    let room = match rustix::fs::statvfs(data) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Finding::poor(CHECK, format!("room is not known: {error}"), "look with df"),
    };
    let found = format!("{:.1} GiB free", room as f64 / GIB as f64);
    let advice = "make room or enlarge the disk: on a full disk messages are refused, and the log never shrinks";
    match room {
        0..ROOM_BAD => Finding::bad(CHECK, found, advice),
        ROOM_BAD..ROOM_POOR => Finding::poor(CHECK, found, advice),
        _ => Finding::good(CHECK, found),
    }
}

fn fsync_time(data: &Path) -> Finding {
    const CHECK: &str = "fsync";
    let mut times = match measure(data) {
        Ok(times) => times,
        Err(error) => return Finding::bad(CHECK, format!("nothing can be made durable: {error}"), "look at the disk"),
    };
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let found = format!("a commit waits {:.2} ms for the disk", median.as_secs_f64() * 1000.0);
    let advice =
        "put `data` on a disk with a power-safe write cache (NVMe with capacitors, a RAID controller with a battery)";
    if median >= FSYNC_BAD {
        Finding::bad(CHECK, found, advice)
    } else if median >= FSYNC_POOR {
        Finding::poor(CHECK, found, advice)
    } else {
        Finding::good(CHECK, found)
    }
}

fn measure(data: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(data)?;
    let mut times = Vec::new();
    for _ in 0..FSYNCS {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// What nobody but the node's account may read.
fn secrets(config: &Config) -> Vec<Finding> {
    let mut paths = vec![("keys".to_owned(), config.keys.clone())];
    let vault = config.kafka.is_none().then_some("keys");
    let names = ["node.key", "notary.key"].into_iter().chain(vault);
    paths.extend(names.map(|name| (format!("keys/{name}"), config.keys.join(name))));
    if let Some(tls) = &config.tls {
        paths.push(("tls.key".to_owned(), tls.key.clone()));
    }
    paths.into_iter().map(|(check, path)| secret(&check, &path)).collect()
}

fn secret(check: &str, path: &Path) -> Finding {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Finding::bad(check, format!("{shown}: {error}"), "restore it from its backup, or run `weft init`");
        }
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let wanted = if metadata.is_dir() { "700" } else { "600" };
        let found = format!("{shown} can be read or changed by others (mode {mode:o})");
        return Finding::bad(
            check,
            found,
            format!("chmod {wanted} {shown}; who could read it could open the log: consider new keys"),
        );
    }
    Finding::good(check, format!("{shown} is the node's alone (mode {mode:o})"))
}

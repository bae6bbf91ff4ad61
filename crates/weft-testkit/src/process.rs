//! A service as a process of its own: killed as a power cut kills, stopped as a hung machine stops.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Kills a process at once and waits for it. Dropping does the same.
pub(crate) struct Service {
    child: Child,
}

impl Service {
    /// Starts a script of `tests/services` that becomes the service, and waits until `port` answers.
    pub(crate) fn start(
        script: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        port: u16,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let said = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(script_path(script))
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .with_context(|| format!("start {script}"))?;
        let mut service = Self { child };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if service.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("{script} did not start: {}", fs::read_to_string(log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(service)
    }

    /// Sends a signal to the process and those that it has started.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, &family(self.child.id()));
    }
}

/// Until all of them are gone: a server that is started again meanwhile would find its shared memory in use.
impl Drop for Service {
    fn drop(&mut self) {
        let family = family(self.child.id());
        send("KILL", &family);
        let _ = self.child.wait();
        let deadline = Instant::now() + Duration::from_secs(10);
        while family.iter().any(|pid| is_alive(pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn send(signal: &str, processes: &[String]) {
    let _ = Command::new("kill").arg(format!("-{signal}")).args(processes).stderr(Stdio::null()).status();
}

/// False also for one that has ended and that its parent has not asked about.
fn is_alive(pid: &str) -> bool {
    state_and_parent(pid).is_some_and(|[state, _]| !matches!(state.as_str(), "Z" | "X"))
}

/// Of a process; `None` where it is none.
fn state_and_parent(pid: &str) -> Option<[String; 2]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "pid (name) state parent ...": the name may hold anything, the last bracket ends it.
    let mut after_name = stat.rsplit(')').next()?.split_whitespace().map(str::to_owned);
    Some([after_name.next()?, after_name.next()?])
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Runs a script of `tests/services` to its end; its standard output where it succeeds.
pub(crate) fn script(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut command = Command::new(script_path(name));
    let output = command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn script_path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services").join(name)
}

/// A process and its children, children last: what is killed first starts nothing more.
fn family(pid: u32) -> Vec<String> {
    let mut found = vec![pid.to_string()];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if state_and_parent(&name).is_some_and(|[_, parent]| parent == pid.to_string()) {
            found.push(name);
        }
    }
    found
}

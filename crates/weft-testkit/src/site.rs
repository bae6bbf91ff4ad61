//! A site in a temporary folder: its configuration, its node as a process, and its command line.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::process::script;

/// A folder with a configuration and keys.
pub struct Site {
    dir: tempfile::TempDir,
    /// Where its log is not a file: its database.
    database: String,
}

/// A running `weft serve`. Dropping it kills it.
pub struct Node {
    child: Child,
    /// The line that it printed when it was ready.
    pub ready: Value,
    config: PathBuf,
    talk: Option<JoinHandle<String>>,
}

/// How a node is started.
pub struct Launch<'a> {
    /// Another file than the site's for its configuration, as [`Site::config_as`] writes it.
    pub config: Option<&'a Path>,
    /// Roles; every one where none is named.
    pub roles: &'a [&'a str],
    /// What it logs: `trace`, `debug`, ...
    pub level: &'a str,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
}

/// The binary under test, built if need be. `WEFT_BUILT=1` says that it is built, with features of the caller's choice.
///
/// # Panics
/// When it does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "weft"]);
        if cfg!(feature = "kafka-tls") {
            build.args(["--features", "kafka-tls"]);
        }
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        let built =
            std::env::var("WEFT_BUILT").as_deref() == Ok("1") || build.status().is_ok_and(|status| status.success());
        let mut path = std::env::current_exe().unwrap_or_default();
        path.pop();
        if path.ends_with("deps") {
            path.pop();
        }
        path.push("weft");
        assert!(built && path.exists(), "the weft binary was not built at {}", path.display());
        path
    })
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self { config: None, roles: &[], level: "info", environment: Vec::new() }
    }
}

impl Site {
    /// Runs `weft init` in a temporary folder.
    ///
    /// # Errors
    /// What went wrong, for the test to show.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(&[])
    }

    /// The same with more options of `weft init`.
    ///
    /// # Errors
    /// What went wrong, for the test to show.
    pub fn with(options: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut arguments = vec!["init", dir.path().to_str().context("a path of UTF-8")?];
        arguments.extend(options);
        let output = run(&arguments, &[])?;
        if output.code != 0 {
            bail!("weft init: {}", output.stderr);
        }
        Ok(Self { dir, database: String::new() })
    }

    /// A site whose log is on these brokers, `host:port,...`, and the rest on this PostgreSQL server: under topics and in a
    /// database of its own, named as its folder is.
    ///
    /// # Errors
    /// What went wrong, for the test to show.
    pub fn on_kafka(brokers: &str, postgres: &str, replication: u16) -> anyhow::Result<Self> {
        let mut site = Self::new()?;
        let folder = site.path().file_name().context("a folder with a name")?.to_string_lossy();
        let name = format!("weft-{}", folder.trim_start_matches('.'));
        let url = script("postgres", &["database", &name], &[("WEFT_TEST_POSTGRES", postgres)])?;
        let config = std::fs::read_to_string(site.config())?;
        let backends = format!(
            "\n[kafka]\nbrokers = \"{brokers}\"\nprefix = \"{name}\"\nreplication = {replication}\n\
             \n[postgres]\nurl = \"{url}\"\n"
        );
        std::fs::write(site.config(), config + &backends)?;
        site.database = url;
        Ok(site)
    }

    /// URL of the database of a site on Kafka.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs a statement in the database of a site on Kafka, as its administrator would; the values of its answer, one row a
    /// line.
    ///
    /// # Errors
    /// What the database said.
    pub fn sql(&self, statement: &str) -> anyhow::Result<String> {
        script("postgres", &["sql", &self.database, statement], &[])
    }

    /// Another configuration of the same site, in a file of this name, with every `from` in it a `to`; the file.
    ///
    /// # Errors
    /// When there is no `from` in it, or it cannot be written.
    pub fn config_as(&self, name: &str, from: &str, to: &str) -> anyhow::Result<PathBuf> {
        let config = std::fs::read_to_string(self.config())?;
        if !config.contains(from) {
            bail!("{from} is not in the configuration");
        }
        Ok(self.write(name, config.replace(from, to))?.into())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("weft.toml")
    }

    /// Writes a file of the site and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<String> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in 30 seconds: with what it said.
    pub fn serve(&self) -> anyhow::Result<Node> {
        self.launch(&Launch::default())
    }

    /// The same, started otherwise.
    ///
    /// # Errors
    /// When it ends, or is not ready in 30 seconds: with what it said.
    pub fn launch(&self, launch: &Launch<'_>) -> anyhow::Result<Node> {
        Node::start(launch.config.unwrap_or(&self.config()), launch)
    }

    /// The same with what it logs set: `trace`, `debug`, ...
    ///
    /// # Errors
    /// When it ends, or is not ready in 30 seconds: with what it said.
    pub fn serve_logging(&self, level: &str) -> anyhow::Result<Node> {
        self.launch(&Launch { level, ..Launch::default() })
    }

    /// Runs a command under the site's configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn weft(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let config = self.config().display().to_string();
        run(arguments, &["--config", &config])
    }

    /// Runs a command that prints JSON, and must succeed.
    ///
    /// # Errors
    /// When it fails, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.weft(arguments)?;
        if output.code != 0 {
            bail!("weft {}: exit {}: {}", arguments.join(" "), output.code, output.stderr);
        }
        serde_json::from_str(&output.stdout).with_context(|| format!("weft {}: {}", arguments.join(" "), output.stdout))
    }

    /// Runs a command that prints JSON lines, and must succeed.
    ///
    /// # Errors
    /// When it fails, or a line is no JSON.
    pub fn json_lines(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let output = self.weft(arguments)?;
        if output.code != 0 {
            bail!("weft {}: exit {}: {}", arguments.join(" "), output.code, output.stderr);
        }
        output.stdout.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Asks until `wanted` holds of a command's JSON, for 30 seconds; returns the JSON.
    ///
    /// # Errors
    /// When it never holds: with the last answer.
    pub fn wait_for(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let last = match self.json(arguments) {
                Ok(value) if wanted(&value) => return Ok(value),
                Ok(value) => value.to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                bail!("weft {} never came to what was waited for: {last}", arguments.join(" "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Node {
    fn start(config: &Path, launch: &Launch<'_>) -> anyhow::Result<Self> {
        // A file size limit is to be an error of the write, as a full disk is, and not the end of the process.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(binary());
        command.arg("--config").arg(config).arg("serve").env("WEFT_LOG", launch.level);
        command.args(launch.roles.iter().flat_map(|role| ["--role", *role])).envs(launch.environment.iter().cloned());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("stdout of the node")?;
        let stderr = child.stderr.take().context("stderr of the node")?;
        let talk = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            text
        });
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = send.send(line);
        });
        let line = receive.recv_timeout(Duration::from_secs(30)).unwrap_or_default();
        match serde_json::from_str(&line) {
            Ok(ready) => Ok(Self { child, ready, config: config.to_owned(), talk: Some(talk) }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the node did not get ready: {}", talk.join().unwrap_or_default())
            }
        }
    }

    /// Where the feed listens: as the ready line said, else as the node says now.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn mllp(&self, feed: &str) -> anyhow::Result<String> {
        if let Some(address) = self.ready["mllp"][feed].as_str() {
            return Ok(address.to_owned());
        }
        let config = self.config.display().to_string();
        let output = run(&["feed", "show", feed, "--json"], &["--config", &config])?;
        let answer: Value = serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())?;
        let address = answer["feed"]["address"].as_str().unwrap_or_default();
        if address.is_empty() { bail!("feed {feed} does not listen: {answer}") } else { Ok(address.to_owned()) }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL, at once.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// True until it has ended, whyever.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it with SIGTERM, and waits. Returns its exit code.
    ///
    /// # Errors
    /// When it has not ended in 20 seconds.
    pub fn stop(mut self) -> anyhow::Result<i32> {
        self.end()
    }

    /// Ends it likewise, and returns what it said on standard error.
    ///
    /// # Errors
    /// When it has not ended in 20 seconds.
    pub fn stop_and_listen(mut self) -> anyhow::Result<String> {
        self.end()?;
        Ok(self.talk.take().and_then(|talk| talk.join().ok()).unwrap_or_default())
    }

    /// Sends it a signal: `STOP` and `CONT` make it hang and go on.
    ///
    /// # Errors
    /// When `kill` cannot be run.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<i32> {
        self.signal("TERM")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let said = self.talk.take().and_then(|talk| talk.join().ok()).unwrap_or_default();
                let last = said.lines().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                bail!("the node did not end in 20 seconds; it said last:\n{}", last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that needs no site.
///
/// # Errors
/// When it cannot be started.
pub fn command(arguments: &[&str]) -> anyhow::Result<Output> {
    run(arguments, &[])
}

fn run(arguments: &[&str], more: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new(binary()).args(more).args(arguments).stdin(Stdio::null()).output()?;
    Ok(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    })
}

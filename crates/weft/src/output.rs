//! Data to stdout, talk to stderr.

use std::io::{ErrorKind, Write};

/// Says something to the person at the terminal: a line on stderr.
#[macro_export]
macro_rules! talk {
    ($($arg:tt)*) => { $crate::output::talk_line(&format!($($arg)*)) };
}

/// Writes a line of talk; a closed stderr is nobody listening.
pub(crate) fn talk_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes data to stdout. A reader that has gone away (`| head`) ends the program quietly; another failure is an error.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Writes one JSON value on a line of its own.
pub(crate) fn json_line(value: &serde_json::Value) -> anyhow::Result<()> {
    data(&format!("{value}\n"))
}

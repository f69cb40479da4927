//! Runs `authctl` as an operator would.

use crate::process::program;
use std::{ffi::OsStr, path::PathBuf, process::Stdio};

/// What a run of `authctl` left.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// `authctl` with a socket.
#[derive(Debug, Clone)]
pub struct Ctl {
    socket: PathBuf,
}

impl Ctl {
    /// For the socket at this path.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Runs it without a terminal and without input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        let mut command = tokio::process::Command::new(program("authctl"));
        command.arg("--socket").arg(&self.socket).args(args).stdin(Stdio::null()).kill_on_drop(true);
        command.env_remove("AUTHCTL_SOCKET").env("NO_COLOR", "1");
        let output = command.output().await.expect("authctl can be started");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

//! A terminal to draw on, given back as it was whatever happens, and the keys that are pressed.

use crate::error::Error;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, Read, Write};
use tokio::sync::mpsc::{Receiver, channel};

/// Other screen, no cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the first place; to the end of the line; to the end of the screen.
const HOME: &str = "\u{1b}[H";
const END_OF_LINE: &str = "\u{1b}[K";
const REST: &str = "\u{1b}[J";

/// The screen, until it is dropped.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal over: keys come one by one and are not shown; an interrupt still is one.
    pub(super) fn enter() -> Result<Self, Error> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &keys).map_err(io::Error::from)?;
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match terminal_size::terminal_size_of(io::stdout()) {
            Some((columns, lines)) => (usize::from(columns.0), usize::from(lines.0)),
            None => (80, 24),
        }
    }

    /// Draws over the frame before.
    pub(super) fn draw(&mut self, lines: &[String]) -> Result<(), Error> {
        write(&(HOME.to_owned() + &lines.join(&format!("{END_OF_LINE}\r\n")) + END_OF_LINE + REST))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone has nothing to be given back.
        drop(write(LEAVE));
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

fn write(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// The keys that are pressed, from a thread that waits for them.
pub(super) struct Keys(Receiver<u8>);

impl Keys {
    /// Begins to read; the thread ends with the program.
    pub(super) fn read() -> Self {
        let (send, receive) = channel(16);
        std::thread::spawn(move || {
            for key in io::stdin().lock().bytes().map_while(Result::ok) {
                if send.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        Self(receive)
    }

    /// The next one; `None` when there is nobody any more.
    pub(super) async fn next(&mut self) -> Option<u8> {
        self.0.recv().await
    }
}

//! `signetfs mount` in the background: the program starts itself again and waits until the mount is ready.
//!
//! Started again rather than forked: a process with threads cannot be forked safely, and nothing half open is carried over.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::mount::MountError;
use crate::report::Verdict;
use crate::sys::mount;
use crate::sys::process::{Bond, bind_to_parent};

/// Carries the number of the descriptor on which the serving process tells that it is ready.
const READY: &str = "SIGNETFS_READY_FD";

/// Tells who this process is after [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// The one that serves: in the foreground, or started by the other one.
    Serving(Ready),
    /// The one that waited: it exits now.
    Waited(Waited),
}

/// Tells how the wait for the serving process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// It is mounted and serves.
    Mounted {
        /// The first complete verdict; `None` with `--no-wait`.
        verdict: Option<Verdict>,
    },
    /// It ended, and has already printed why: exit with the same status, silently.
    Failed {
        /// Its exit status.
        status: u8,
    },
}

/// Tells the waiting process what happens; without one (foreground) it tells nobody.
#[derive(Debug)]
pub struct Ready {
    waiting: Option<UnixStream>,
}

/// Starts the serving process unless this is it, or `foreground` is asked for.
///
/// Call it before anything is opened and before any thread: the serving process is this program with the same
/// arguments in the same folder.
///
/// # Errors
/// Says why the serving process could not be started.
pub fn enter(foreground: bool) -> Result<Entered, MountError> {
    if let Some(number) = std::env::var_os(READY) {
        let waiting = take(&number).map_err(failed("taking over from the waiting process"))?;
        mount::new_session().map_err(failed("leaving the terminal's session"))?;
        return Ok(Entered::Serving(Ready {
            waiting: Some(waiting),
        }));
    }
    if foreground {
        return Ok(Entered::Serving(Ready { waiting: None }));
    }
    let (ours, theirs) = UnixStream::pair().map_err(failed("making a socket"))?;
    let child = start(&theirs).map_err(failed("starting the serving process"))?;
    drop(theirs);
    wait(ours, child)
        .map(Entered::Waited)
        .map_err(failed("waiting for the serving process"))
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> MountError {
    move |source| MountError::Process { operation, source }
}

fn take(number: &OsString) -> io::Result<UnixStream> {
    let number = number.to_str().and_then(|text| text.parse().ok());
    let number = number.ok_or(io::ErrorKind::InvalidInput)?;
    let stream = UnixStream::from(mount::take_inherited(number)?);
    // Whatever else may have this number is no socket with a peer.
    stream.peer_addr()?;
    if !std::env::args_os().any(|argument| is_descriptor(&argument)) {
        // Locks, and pipes whose end somebody waits for, would be held for as long as the mount lives.
        mount::close_inherited_but(number);
    }
    Ok(stream)
}

/// Returns whether a word of the command line names an inherited descriptor, as `<(...)` of shells does.
fn is_descriptor(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    [&b"/dev/fd/"[..], b"/proc/self/fd/"]
        .iter()
        .any(|place| bytes.windows(place.len()).any(|window| window == *place))
}

fn start(ready: &UnixStream) -> io::Result<Child> {
    let number = mount::inherit(ready.as_fd())?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "signetfs".into());
    Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env(READY, number.to_string())
        .spawn()
}

/// Waits for the word that the mount is ready, or for the end of the process.
fn wait(stream: UnixStream, mut child: Child) -> io::Result<Waited> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.trim_end().split_once(' ') {
        Some(("ready", token)) => Ok(Waited::Mounted {
            verdict: Verdict::from_token(token),
        }),
        _ => {
            let status = child.wait()?;
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Ok(Waited::Failed {
                status: code.filter(|code| *code != 0).unwrap_or(1),
            })
        }
    }
}

impl Ready {
    /// Returns whether another process waits.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns whether the process that waited is gone, such as by ^C.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let Some(mut waiting) = self.waiting.as_ref() else {
            return false;
        };
        // It never writes: what can be read is its end.
        let read = waiting
            .set_nonblocking(true)
            .and_then(|()| waiting.read(&mut [0]));
        let restored = waiting.set_nonblocking(false);
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => restored.is_err(),
            _ => true,
        }
    }

    /// Makes this process end with the one that waits, or go on again without it.
    ///
    /// For the time in which nothing is mounted yet: an archive from a pipe may be read for as long as its writer likes.
    ///
    /// # Errors
    /// Returns what prctl(2) returns, and an error where nobody waits any more.
    pub fn bind(&self, bond: Bond) -> Result<(), MountError> {
        if self.is_awaited() {
            bind_to_parent(bond).map_err(failed("watching the waiting process"))?;
        }
        match self.is_abandoned() {
            true => Err(failed("watching the waiting process")(
                io::ErrorKind::BrokenPipe.into(),
            )),
            false => Ok(()),
        }
    }

    /// Tells the waiting process that the mount is ready, and lets go of the terminal.
    ///
    /// # Errors
    /// Returns an error where nobody waits any more.
    pub(super) fn tell(self, verdict: Option<Verdict>) -> io::Result<()> {
        let Some(mut waiting) = self.waiting else {
            return Ok(());
        };
        let token = verdict.map_or("-", Verdict::token);
        writeln!(waiting, "ready {token}")?;
        mount::silence_standard_streams()
    }
}

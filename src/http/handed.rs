//! Bytes of a file that are handed to a connection as a place instead of being read: the kernel sends them (sendfile(2)).
//!
//! The library that speaks HTTP asks a body for bytes and then tells the connection, on the same thread, how many of its buffer to
//! send. Between the two, the place waits here. A place that no connection took is an error: what stands in the buffer is not the body.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::files;

/// Is bytes of an open file.
#[derive(Debug, Clone)]
pub struct FileRange {
    /// The file.
    pub file: Arc<OwnedFd>,
    /// Where the bytes begin in it.
    pub offset: u64,
    /// How many.
    pub length: usize,
}

/// Is what a body is read from.
pub trait Content: Read {
    /// Returns the next bytes as a place, at most as many as `scratch` has, and moves behind them; `None` where they must be read.
    /// What stands in `scratch` afterwards means nothing.
    ///
    /// # Errors
    /// Says why there is no more.
    fn next_range(&mut self, scratch: &mut [u8]) -> io::Result<Option<FileRange>>;

    /// Takes note that the bytes at the last place could not be read.
    fn unreadable(&mut self, error: io::Error);
}

#[derive(Debug, Default)]
struct Handed {
    range: Option<FileRange>,
    failure: Option<io::Error>,
}

thread_local! {
    static HANDED: RefCell<Handed> = RefCell::default();
}

/// Hands over places where the content has them. One at a time on each thread.
pub(super) struct Handing<'a> {
    content: &'a mut dyn Content,
}

impl<'a> Handing<'a> {
    pub(super) fn new(content: &'a mut dyn Content) -> Self {
        HANDED.set(Handed::default());
        Self { content }
    }

    /// Ends handing over: an error of the file is told to the content.
    ///
    /// # Errors
    /// Says that the last place was not taken.
    pub(super) fn finish(self) -> io::Result<()> {
        let Handed { range, failure } = HANDED.take();
        if let Some(error) = failure {
            self.content.unreadable(error);
        }
        range.map_or(Ok(()), |_| Err(not_sent()))
    }
}

impl Read for Handing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if HANDED.with_borrow(|handed| handed.range.is_some()) {
            return Err(not_sent());
        }
        let Some(range) = self.content.next_range(buffer)? else {
            return self.content.read(buffer);
        };
        let length = range.length;
        HANDED.with_borrow_mut(|handed| handed.range = Some(range));
        Ok(length)
    }
}

fn not_sent() -> io::Error {
    io::Error::other("the last bytes were not sent")
}

/// Takes the place that was handed over last, if one was.
pub(super) fn take() -> Option<FileRange> {
    HANDED.with_borrow_mut(|handed| handed.range.take())
}

/// Takes note that the bytes at a place could not be read, and returns the error that cuts the connection.
pub(super) fn fail(error: io::Error) -> io::Error {
    let cut = io::Error::from(error.kind());
    HANDED.with_borrow_mut(|handed| handed.failure = Some(error));
    cut
}

impl FileRange {
    /// Sends all of it. What the kernel does not send, it is read and written here.
    ///
    /// # Errors
    /// Returns the socket's error; one of the file is kept for the content too.
    pub(super) fn send(self, socket: &TcpStream) -> io::Result<()> {
        self.send_by(socket, &files::send_file)
    }

    fn send_by(mut self, mut socket: &TcpStream, kernel: &SendFile<'_>) -> io::Result<()> {
        while self.length > 0 {
            let (from, to) = (self.file.as_fd(), socket.as_fd());
            let sent = match kernel(to, from, self.offset, self.length) {
                Ok(0) => return Err(fail(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => sent,
                Err(error) if is_of_the_line(&error) => return Err(error),
                // Nothing of this call was sent then (sendfile(2) counts what was).
                Err(_) => {
                    let bytes = self.read().map_err(fail)?;
                    return socket.write_all(&bytes);
                }
            };
            self.length = self.length.saturating_sub(sent);
            self.offset = self
                .offset
                .saturating_add(u64::try_from(sent).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        if files::read_at(self.file.as_fd(), &mut bytes, self.offset)? < self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// Is sendfile(2): socket, file, offset, length.
type SendFile<'a> = dyn Fn(BorrowedFd<'_>, BorrowedFd<'_>, u64, usize) -> io::Result<usize> + 'a;

/// Returns whether an error of sendfile(2) can only be the socket's.
///
/// All others are doubtful: ENOTCONN is also a file of a FUSE daemon that died, ETIMEDOUT and ENOLINK a disk's, EIO a disk's or a
/// network's, ENOMEM neither's. Reading the place and writing what was read says whose it is, each call having one side only.
fn is_of_the_line(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn tells_errors_of_the_file_from_those_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"..inside").unwrap();
        let readable = Arc::new(OwnedFd::from(std::fs::File::open(&path).unwrap()));
        let closed = std::fs::File::options().write(true).open(&path).unwrap();
        let unreadable = Arc::new(OwnedFd::from(closed));
        let send = |file: &Arc<OwnedFd>, number: i32| {
            let (socket, mut there) = pair();
            let range = FileRange {
                file: Arc::clone(file),
                offset: 2,
                length: 6,
            };
            let kernel: &SendFile<'_> = &|_, _, _, _| Err(io::Error::from_raw_os_error(number));
            let result = range.send_by(&socket, kernel);
            drop(socket);
            let mut received = Vec::new();
            there.read_to_end(&mut received).unwrap();
            (result, received, HANDED.take().failure)
        };
        for number in [
            libc::ENOTCONN,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::ETIMEDOUT,
            libc::EIO,
            libc::EINVAL,
        ] {
            // Whoever can read the place and write it has neither a broken file nor a broken line.
            let (result, received, failure) = send(&readable, number);
            assert!(result.is_ok() && failure.is_none(), "{number}");
            assert_eq!(received, b"inside", "{number}");
            // Where it cannot be read, the file's own error is kept.
            let (result, received, failure) = send(&unreadable, number);
            assert!(result.is_err() && received.is_empty(), "{number}");
            assert_eq!(failure.unwrap().raw_os_error(), Some(libc::EBADF));
        }
        for number in [libc::EPIPE, libc::ECONNRESET, libc::EAGAIN] {
            for file in [&readable, &unreadable] {
                let (result, received, failure) = send(file, number);
                assert_eq!(result.unwrap_err().raw_os_error(), Some(number));
                assert!(received.is_empty() && failure.is_none(), "{number}");
            }
        }
    }

    #[test]
    fn reads_what_the_kernel_does_not_send() {
        let (socket, mut there) = pair();
        // From a file like this one the kernel sends nothing.
        let path = "/proc/self/auxv";
        let bytes = std::fs::read(path).unwrap();
        let range = |offset, length| FileRange {
            file: Arc::new(std::fs::File::open(path).unwrap().into()),
            offset,
            length,
        };
        let refused = files::send_file(socket.as_fd(), range(0, 1).file.as_fd(), 0, 1);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        range(8, 16).send(&socket).unwrap();
        let mut received = [0; 16];
        there.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes[8..24]);
        let error = range(0, bytes.len() + 1).send(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(HANDED.take().failure.unwrap().kind(), error.kind());
    }
}

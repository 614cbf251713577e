//! Sending the bytes of a file without bringing them here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends up to `length` bytes of a file, from `offset` on, and returns how many went; 0 at the end of the file.
///
/// # Errors
/// Returns what sendfile(2) returns; `InvalidInput` too where the offset is beyond what a file can have.
pub fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    length: usize,
) -> io::Result<usize> {
    let start = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        let mut position = start;
        // SAFETY: both descriptors are open for the duration of the call, and the kernel writes one off_t to `position`.
        let sent = unsafe {
            libc::sendfile(
                socket.as_raw_fd(),
                file.as_raw_fd(),
                &raw mut position,
                length,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn sends_a_range_and_nothing_behind_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"..inside").unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        let send = |offset, length| send_file(here.as_fd(), file.as_fd(), offset, length).unwrap();
        assert_eq!(send(2, 4), 4);
        assert_eq!(send(6, 100), 2);
        assert_eq!(send(8, 100), 0);
        let mut received = [0; 6];
        there.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"inside");
        assert!(send_file(here.as_fd(), file.as_fd(), u64::MAX, 1).is_err());
    }
}

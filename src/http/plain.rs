//! Connections of plain HTTP that send the bytes of a file without copying them. TLS and tunnels are the library's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout,
    ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use super::error::OnlyTls;
use super::{forward, handed};

/// Opens connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    others: DefaultConnector,
}

impl Connector<()> for Connections {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        if details.needs_tls() || details.config.proxy().is_some() {
            return self.others.connect(details, chained);
        }
        let limit = details.timeout.not_zero().map(|limit| *limit);
        let stream = Arc::new(connect(&details.addrs, limit)?);
        stream.set_nodelay(true)?;
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let config = details.config;
        Ok(Some(Box::new(Plain {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            reading: None,
            writing: None,
            heard: false,
        })))
    }
}

/// Tries the addresses in turn; each may take half of the time that is left, the last one all of it.
fn connect(addresses: &[SocketAddr], limit: Option<Duration>) -> Result<TcpStream, Error> {
    let start = Instant::now();
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for (position, address) in addresses.iter().enumerate() {
        let is_last = position.saturating_add(1) == addresses.len();
        let result = match limit {
            None => TcpStream::connect(address),
            Some(limit) => {
                let left = limit.saturating_sub(start.elapsed());
                let share = if is_last { left } else { left / 2 };
                TcpStream::connect_timeout(address, share.max(SHARE_MIN))
            }
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    match last.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Err(Error::Timeout(Timeout::Connect))
        }
        _ => Err(last.into()),
    }
}

/// The least time for one address.
const SHARE_MIN: Duration = Duration::from_millis(10);

/// Returns whether an answer begins as an alert does that a server of TLS gives to what is none; no answer of HTTP begins so.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
fn is_tls(answer: &[u8]) -> bool {
    matches!(answer, [0x15, 0x03, 0x00..=0x04, ..])
}

/// Is one connection.
#[derive(Debug)]
struct Plain {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// The time limits that the socket has.
    reading: Option<Duration>,
    writing: Option<Duration>,
    /// Whether anything came yet.
    heard: bool,
}

/// Sets a time limit of a socket where it is another than the `present` one.
fn set_limit(
    present: &mut Option<Duration>,
    limit: Option<Duration>,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    if *present != limit {
        set(limit)?;
        *present = limit;
    }
    Ok(())
}

impl Plain {
    fn limit_reading(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let set = |limit| self.stream.set_read_timeout(limit);
        set_limit(&mut self.reading, limit, set)
    }

    fn limit_writing(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let set = |limit| self.stream.set_write_timeout(limit);
        set_limit(&mut self.writing, limit, set)
    }
}

/// Returns the time that is left, or the error that there is none.
fn left(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    if timeout.after.is_zero() {
        return Err(Error::Timeout(timeout.reason));
    }
    Ok(timeout.not_zero().map(|limit| *limit))
}

fn explained(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.limit_writing(left(timeout)?)?;
        let sent = match handed::take() {
            None => {
                let output = self.buffers.output().get(..amount).unwrap_or_default();
                match forward::take() {
                    None => (&*self.stream).write_all(output),
                    Some(start) => forward::complete(output, &start)
                        .and_then(|output| (&*self.stream).write_all(&output)),
                }
            }
            Some(range) if range.length == amount => range.send(&self.stream),
            Some(_) => Err(io::Error::other(
                "a body is sent otherwise than it was read",
            )),
        };
        sent.map_err(|error| explained(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let (limit, start) = (left(timeout)?, Instant::now());
        self.limit_reading(limit)?;
        let amount = loop {
            let input = self.buffers.input_append_buf();
            match (&*self.stream).read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(|error| explained(error, timeout))?,
            }
            // The socket's own limit starts anew with each read.
            let rest = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Err(Error::Timeout(timeout.reason));
            }
            self.limit_reading(rest)?;
        };
        self.buffers.input_appended(amount);
        if !std::mem::replace(&mut self.heard, true) && is_tls(self.buffers.input()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, OnlyTls).into());
        }
        Ok(amount > 0)
    }

    /// Returns whether nothing came: neither the end nor an answer to what was not asked.
    fn is_open(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let quiet = self
            .stream
            .peek(&mut [0])
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

#[cfg(test)]
mod tests;

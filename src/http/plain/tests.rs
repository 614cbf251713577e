//! A client beside a small server of this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use super::*;
use crate::http::{
    Body, Client, ClientOptions, Content, FileRange, HttpError, Method, Origin, Request, Response,
    TlsOptions, Url,
};

/// Bytes that a buffer of the client holds several times.
const SIZE: usize = 300_001;

/// Is a file that is handed over; what is asked of it is counted.
struct Stored {
    file: Arc<OwnedFd>,
    position: usize,
    reads: usize,
    failure: Option<io::Error>,
}

impl Stored {
    fn new(bytes: &[u8]) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(bytes).unwrap();
        Self {
            file: Arc::new(file.into()),
            position: 0,
            reads: 0,
            failure: None,
        }
    }
}

impl Read for Stored {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        Ok(0)
    }
}

impl Content for Stored {
    fn next_range(&mut self, scratch: &mut [u8]) -> io::Result<Option<FileRange>> {
        let length = scratch.len().min(SIZE - self.position);
        let offset = u64::try_from("before".len() + self.position).unwrap();
        self.position += length;
        let file = Arc::clone(&self.file);
        Ok((length > 0).then_some(FileRange {
            file,
            offset,
            length,
        }))
    }

    fn unreadable(&mut self, error: io::Error) {
        self.failure = Some(error);
    }
}

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|position| (position % 251) as u8).collect()
}

/// Answers on so many connections, as many requests on each; returns the bodies that came whole.
fn serve(listener: TcpListener, requests: Vec<usize>) -> JoinHandle<Vec<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for count in requests {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for _ in 0..count {
                bodies.extend(answer(&mut reader));
            }
        }
        bodies
    })
}

fn answer(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
    reader.get_mut().write_all(answer).unwrap();
    Some(body)
}

struct Talk {
    client: Client,
    url: Url,
}

impl Talk {
    fn new(listener: &TcpListener, stall: Duration) -> Self {
        let address = listener.local_addr().unwrap();
        let url = Url::parse(&format!("http://{address}/there")).unwrap();
        let options = ClientOptions {
            tls: TlsOptions::default(),
            stall,
            connections: 1,
        };
        let origin: &Origin = &url.origin;
        let client = Client::new(&options, origin, &|_| None).unwrap();
        Self { client, url }
    }

    fn put<'a>(&'a self, body: Body<'a>) -> Result<Response, HttpError> {
        self.client.send(Request {
            method: Method::Put,
            url: &self.url,
            headers: &[],
            body,
        })
    }

    fn put_file(&self, stored: &mut Stored) -> Result<Response, HttpError> {
        self.put(Body::Stream {
            size: SIZE as u64,
            reader: stored,
        })
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn sends_a_range_of_a_file_without_reading_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talk = Talk::new(&listener, LONG);
    let server = serve(listener, vec![2]);
    let mut stored = Stored::new(&bytes());
    assert_eq!(talk.put_file(&mut stored).unwrap().status, 201);
    assert_eq!(talk.put(Body::Bytes(b"small")).unwrap().status, 201);
    drop(talk);
    let received = server.join().unwrap();
    assert!(received[0] == bytes());
    assert_eq!(received[1], b"small");
    assert_eq!(stored.reads, 0);
    assert!(stored.failure.is_none());
}

#[test]
fn a_file_that_was_cut_cuts_the_connection_and_is_said_to_the_content() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talk = Talk::new(&listener, LONG);
    let server = serve(listener, vec![1, 1]);
    let mut stored = Stored::new(&bytes()[..SIZE - 1]);
    assert!(talk.put_file(&mut stored).is_err());
    let failure = stored.failure.unwrap();
    assert_eq!(failure.kind(), io::ErrorKind::UnexpectedEof);
    // Nothing of it is left for the next request, which has a connection of its own.
    assert_eq!(talk.put(Body::Bytes(b"small")).unwrap().status, 201);
    drop(talk);
    assert_eq!(server.join().unwrap(), [b"small"]);
}

#[test]
fn a_kept_connection_that_was_closed_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talk = Talk::new(&listener, LONG);
    let server = serve(listener.try_clone().unwrap(), vec![1]);
    assert_eq!(talk.put(Body::Bytes(b"one")).unwrap().status, 201);
    server.join().unwrap();
    let server = serve(listener, vec![1]);
    let mut stored = Stored::new(&bytes());
    assert_eq!(talk.put_file(&mut stored).unwrap().status, 201);
    assert!(server.join().unwrap()[0] == bytes());
}

#[test]
fn a_server_that_takes_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talk = Talk::new(&listener, Duration::from_millis(100));
    let mut file = Stored::new(&bytes());
    // A connection's own buffers hold less than this.
    file.file = Arc::new({
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        file.into()
    });
    let mut endless = Endless(file);
    let outcome = talk.put(Body::Stream {
        size: 1 << 30,
        reader: &mut endless,
    });
    let words = format!("{:?}", outcome.unwrap_err());
    assert!(words.contains("PerWrite"), "{words}");
    assert!(endless.0.failure.is_none());
}

/// Is a file of which the same bytes are handed over again and again.
struct Endless(Stored);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Endless {
    fn next_range(&mut self, scratch: &mut [u8]) -> io::Result<Option<FileRange>> {
        self.0.position = 0;
        self.0.next_range(scratch)
    }

    fn unreadable(&mut self, error: io::Error) {
        self.0.unreadable(error);
    }
}

//! Just enough of HTTP/1.1 for a registry.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

/// Is a request before its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) length: usize,
    /// Whether the body comes without a length.
    pub(crate) is_chunked: bool,
    /// The body, where it came so.
    unchunked: Vec<u8>,
    headers: Vec<(String, String)>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn expects_continue(&self) -> bool {
        self.header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// Returns the path and the parameters of the query.
    pub(crate) fn split(&self) -> (&str, Vec<(String, String)>) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            });
        (path, pairs.collect())
    }
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": format!("{code} it is"), "detail": null}]});
        Self {
            body: body.to_string().into_bytes(),
            ..Self::new(status)
        }
        .with("content-type", "application/json")
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    /// Reads the head of the next request; a connection that ends, or that speaks something else, gives nothing.
    pub(crate) fn head(&mut self) -> Option<Head> {
        let first = self.reader.fill_buf().ok()?.first().copied()?;
        if !first.is_ascii_uppercase() {
            // What registries of plain HTTP answer to TLS.
            let _ = self
                .stream
                .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nplain HTTP here\n");
            let mut rest = [0; 4096];
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
            while self.reader.read(&mut rest).is_ok_and(|read| read > 0) {}
            return None;
        }
        let line = self.line()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut head = Head {
            method,
            target,
            length: 0,
            is_chunked: false,
            unchunked: Vec::new(),
            headers,
        };
        head.is_chunked = head.header("transfer-encoding").is_some();
        head.length = head
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        Some(head)
    }

    /// Reads a body without a length; false where it ends early.
    pub(crate) fn take_chunks(&mut self, head: &mut Head) -> bool {
        loop {
            let size = self
                .line()
                .and_then(|line| usize::from_str_radix(&line, 16).ok());
            let Some(size) = size else { return false };
            let mut chunk = vec![0; size];
            if self.reader.read_exact(&mut chunk).is_err() || self.line().is_none() {
                return false;
            }
            head.unchunked.extend(chunk);
            head.length = head.unchunked.len();
            if size == 0 {
                return true;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }

    /// Reads the body, or what arrives of it, or the share (in hundredths) of it after which the connection is to be cut.
    pub(crate) fn body(&mut self, head: &Head, share: Option<usize>) -> (Vec<u8>, bool) {
        if head.expects_continue()
            && self
                .stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .is_err()
        {
            return (Vec::new(), false);
        }
        if head.is_chunked {
            return (head.unchunked.clone(), true);
        }
        let wanted = share.map_or(head.length, |share| head.length * share / 100);
        let mut bytes = Vec::new();
        let mut limited = (&mut self.reader).take(wanted as u64);
        let _ = limited.read_to_end(&mut bytes);
        let whole = bytes.len() == head.length;
        (bytes, whole)
    }

    /// Reads what is left of a body, or what arrives of it; returns whether all did.
    pub(crate) fn rest(&mut self, head: &Head, bytes: &mut Vec<u8>) -> bool {
        let left = head.length - bytes.len();
        let mut limited = (&mut self.reader).take(left as u64);
        let _ = limited.read_to_end(bytes);
        bytes.len() == head.length
    }

    /// Reads a body that nobody wants.
    pub(crate) fn skip_body(&mut self, head: &Head) {
        if !head.expects_continue() && !head.is_chunked {
            let mut limited = (&mut self.reader).take(head.length as u64);
            let _ = io::copy(&mut limited, &mut io::sink());
        }
    }

    pub(crate) fn reply(&mut self, head: &Head, reply: &Reply) -> io::Result<()> {
        self.reply_cut(head, reply, 100)
    }

    /// Sends an answer, or this share (in hundredths) of its body.
    pub(crate) fn reply_cut(&mut self, head: &Head, reply: &Reply, share: usize) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let is_head = head.method == "HEAD";
        let has_length = reply
            .headers
            .iter()
            .any(|(name, _)| name == "content-length");
        if !has_length && reply.status != 204 {
            text.push_str(&format!("content-length: {}\r\n", reply.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if !is_head {
            bytes.extend(&reply.body[..reply.body.len() * share / 100]);
        }
        self.stream.write_all(&bytes)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let hex = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

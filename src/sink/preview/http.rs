//! As much of HTTP/1.1 as a page needs: one request on a connection, one answer, and the connection is closed.
//!
//! Whatever a client sends or does not send costs at most [`HEAD_BYTES`] and [`HEAD_TIME`]; whatever it takes or does not
//! take, at most the time given to [`send`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Longest head of a request.
const HEAD_BYTES: usize = 8 << 10;

/// In which it has to arrive.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Fields of a head. Browsers send about twenty.
const FIELDS: usize = 64;

/// No wait for a socket is longer, so that ends and deadlines are seen.
const STEP: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Without what follows a `?`.
    pub path: String,
    /// `HEAD`: everything but the content is wanted.
    pub head_only: bool,
    /// The name by which the client knows us, with its port if it says one.
    pub host: Option<String>,
}

/// Why a request is not answered as it wishes: status line, and a sentence for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str, pub &'static str);

/// What one read of the head has brought.
enum Head {
    Whole(Request),
    /// The rest may still come.
    Part,
}

/// Reads a request. `None` if the client has gone, or never said anything whole.
pub fn read(stream: &mut TcpStream) -> Option<Result<Request, Refusal>> {
    let (mut head, mut chunk) = (Vec::new(), [0; 2048]);
    let end = Instant::now() + HEAD_TIME;
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => head.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        match parse(&head) {
            Ok(Head::Whole(request)) => return Some(Ok(request)),
            Ok(Head::Part) if head.len() < HEAD_BYTES => {}
            Ok(Head::Part) => {
                return Some(Err(Refusal("431 Request Header Fields Too Large", "The request is too long.")));
            }
            Err(refusal) => return Some(Err(refusal)),
        }
    }
}

/// Bytes to a request, as far as they are one.
fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(Head::Part),
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal("431 Request Header Fields Too Large", "The request has too many fields."));
        }
        Err(_) => return Err(Refusal("400 Bad Request", "This is not HTTP.")),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(Refusal("400 Bad Request", "This is not HTTP."));
    };
    if !["GET", "HEAD"].contains(&method) {
        return Err(Refusal("405 Method Not Allowed", "Only GET and HEAD are answered."));
    }
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let host = hosts.next().and_then(|field| std::str::from_utf8(field.value).ok()).map(|host| host.trim().to_owned());
    if hosts.next().is_some() {
        return Err(Refusal("400 Bad Request", "There is more than one Host."));
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Head::Whole(Request { path, head_only: method == "HEAD", host }))
}

/// Head of an answer: status, kind of content, its length if it has one, and what keeps other pages from using it.
pub fn head(status: &str, kind: &str, length: Option<usize>) -> String {
    let length = length.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}Connection: close\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n"
    )
}

/// Writes all of it, or fails when `most` is over, however little the client takes at a time, or when `given_up` says so.
pub fn send(stream: &mut TcpStream, mut bytes: &[u8], most: Duration, given_up: impl Fn() -> bool) -> io::Result<()> {
    let end = Instant::now() + most;
    while !bytes.is_empty() {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero() && !given_up());
        let left = left.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))?;
        stream.set_write_timeout(Some(left.min(STEP)))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// True if the client has closed the connection.
pub fn has_gone(stream: &TcpStream) -> bool {
    let look = || -> io::Result<usize> {
        stream.set_nonblocking(true)?;
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        seen
    };
    match look() {
        Ok(n) => n == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    }
}

/// Ends a connection so that the client still gets what was sent: closed with bytes of the client unread, it would be torn
/// down at once.
pub fn finish(mut stream: TcpStream) {
    let end = Instant::now() + STEP;
    let _ = stream.shutdown(Shutdown::Write);
    let mut unread = [0; 2048];
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let waits = stream.set_read_timeout(Some(left));
        if waits.is_err() || !matches!(stream.read(&mut unread), Ok(1..)) {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Result<Request, Refusal> {
        match parse(text.as_bytes()) {
            Ok(Head::Whole(request)) => Ok(request),
            Ok(Head::Part) => panic!("{text:?} is taken for a part"),
            Err(refusal) => Err(refusal),
        }
    }

    #[test]
    fn a_request_is_its_path_its_method_and_the_name_of_the_host() {
        let request = whole("GET /figures.json?t=1 HTTP/1.1\r\nhost: localhost:8080\r\nAccept: */*\r\n\r\n").unwrap();
        let host = Some("localhost:8080".to_owned());
        assert_eq!(request, Request { path: "/figures.json".into(), head_only: false, host });
        assert!(whole("HEAD / HTTP/1.0\r\n\r\n").unwrap().head_only);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        for (text, status) in [
            ("POST / HTTP/1.1\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            ("\0\0\0\0", "400"),
            ("GET / HTTP/9.9\r\n\r\n", "400"),
            ("\x16\x03\x01\x02\x00\x01", "400"),
            (&many, "431"),
        ] {
            let Refusal(said, _) = whole(text).unwrap_err();
            assert!(said.starts_with(status), "{text:?}: {said}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_a_part_of_one_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_request_is_a_request_a_part_of_one_or_refused(at in 0usize..90, to in any::<u8>(), cut in 0usize..90) {
            let mut bytes = b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: x\r\nAccept: image/*;q=0.8\r\n\r\n".to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = parse(&bytes);
        }
    }
}

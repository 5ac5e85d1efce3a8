//! One connection: what is asked for, and the answer to it.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Shown;
use super::http::{self, Refusal, Request};

const PAGE: &[u8] = include_bytes!("page/index.html");
const STYLE: &[u8] = include_bytes!("page/preview.css");
const SCRIPT: &[u8] = include_bytes!("page/preview.js");

/// Viewers of the stream at a time.
const VIEWERS: usize = 8;

/// For an answer, or for one picture of the stream: whoever takes longer has gone, or might as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// A wait for a picture is broken off so often, to see whether the viewer is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Stands between the pictures of the stream.
const BOUNDARY: &str = "edge-rcnn";

/// Of the viewers of the stream.
#[derive(Clone, Default)]
pub struct Seats(Arc<AtomicUsize>);

impl Seats {
    fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<Seat> {
        let seat = Seat(Arc::clone(&self.0));
        (self.0.fetch_add(1, Ordering::AcqRel) < VIEWERS).then_some(seat)
    }
}

struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers one request. `local`: only this machine can reach us.
pub fn serve(mut stream: TcpStream, shown: &Shown, seats: &Seats, local: bool) {
    let _ = stream.set_nodelay(true);
    let Some(read) = http::read(&mut stream) else { return };
    let head_only = read.as_ref().is_ok_and(|request| request.head_only);
    let done = match read.and_then(|request| admitted(request, local)) {
        Ok(request) => answer(&mut stream, &request, shown, seats),
        Err(refusal) => refuse(&mut stream, &refusal, head_only),
    };
    match done {
        Ok(()) => http::finish(stream),
        Err(e) => log::debug!("preview: a viewer has gone: {e}"),
    }
}

/// A page from elsewhere can have a browser ask us under a name of its own; we answer to ours.
fn admitted(request: Request, local: bool) -> Result<Request, Refusal> {
    let ours = |host: &str| {
        let name =
            host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |h| h.0);
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    };
    match local && !request.host.as_deref().is_none_or(ours) {
        true => Err(Refusal("421 Misdirected Request", "This is for localhost only. Ask for it under that name.")),
        false => Ok(request),
    }
}

fn answer(stream: &mut TcpStream, request: &Request, shown: &Shown, seats: &Seats) -> io::Result<()> {
    let whole = |stream: &mut TcpStream, kind: &str, content: &[u8]| {
        let mut bytes = http::head("200 OK", kind, Some(content.len())).into_bytes();
        bytes.extend_from_slice(if request.head_only { &[] } else { content });
        http::send(stream, &bytes, PATIENCE, || shown.desk.is_closed())
    };
    match request.path.as_str() {
        "/" | "/index.html" => whole(stream, "text/html; charset=utf-8", PAGE),
        "/preview.css" => whole(stream, "text/css; charset=utf-8", STYLE),
        "/preview.js" => whole(stream, "text/javascript; charset=utf-8", SCRIPT),
        "/figures.json" => {
            let json = shown.figures().json(shown.clock.now(), &shown.desk.newest(), seats.taken());
            whole(stream, "application/json", &json)
        }
        "/picture.jpg" => match next_picture(stream, shown) {
            Some(jpeg) => whole(stream, "image/jpeg", &jpeg),
            None => {
                let none = Refusal("503 Service Unavailable", "No frame has come. The figures may say why.");
                refuse(stream, &none, request.head_only)
            }
        },
        "/stream" => match seats.take() {
            Some(seat) => show(stream, request, shown, seat),
            None => {
                let full =
                    Refusal("503 Service Unavailable", "There are too many viewers. Close one, or try again later.");
                refuse(stream, &full, request.head_only)
            }
        },
        _ => refuse(stream, &Refusal("404 Not Found", "There is nothing here. The page is at /."), request.head_only),
    }
}

/// The next picture that is made, if one comes in time and the client waits for it.
fn next_picture(stream: &TcpStream, shown: &Shown) -> Option<Arc<[u8]>> {
    let (last, end) = (shown.desk.newest().number, Instant::now() + PATIENCE);
    loop {
        if let Some(print) = shown.desk.newer(last, LOOK) {
            return Some(print.jpeg);
        }
        if Instant::now() > end || shown.desk.is_closed() || http::has_gone(stream) {
            return None;
        }
    }
}

/// Picture after picture, until the viewer leaves or the run ends. The boundary that ends a picture goes out with it:
/// browsers show a picture when they see it.
fn show(stream: &mut TcpStream, request: &Request, shown: &Shown, _seat: Seat) -> io::Result<()> {
    let closed = || shown.desk.is_closed();
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let mut part = http::head("200 OK", &kind, None).into_bytes();
    if request.head_only {
        return http::send(stream, &part, PATIENCE, closed);
    }
    part.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
    http::send(stream, &part, PATIENCE, closed)?;
    // What was drawn for the last viewer may be old.
    let mut last = shown.desk.newest().number;
    while !closed() {
        let Some(print) = shown.desk.newer(last, LOOK) else {
            match http::has_gone(stream) {
                true => return Ok(()),
                false => continue,
            }
        };
        last = print.number;
        part.clear();
        part.extend_from_slice(
            format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", print.jpeg.len()).as_bytes(),
        );
        part.extend_from_slice(&print.jpeg);
        part.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
        http::send(stream, &part, PATIENCE, closed)?;
    }
    Ok(())
}

/// Says no.
pub fn refuse(stream: &mut TcpStream, Refusal(status, why): &Refusal, head_only: bool) -> io::Result<()> {
    let content = format!("{status}\n\n{why}\n");
    let mut bytes = http::head(status, "text/plain; charset=utf-8", Some(content.len())).into_bytes();
    bytes.extend_from_slice(if head_only { b"" } else { content.as_bytes() });
    http::send(stream, &bytes, PATIENCE, || false)
}

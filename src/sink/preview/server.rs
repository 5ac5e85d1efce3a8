//! The socket: takes connections, as many as there may be, and gives each a thread of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use super::Shown;
use super::http::Refusal;
use super::viewer::{self, Seats};

/// Connections at a time, viewers of the stream among them; one more is told to come later.
const CONNECTIONS: usize = 24;

/// Of a connection's thread. It holds a request and little else.
const STACK: usize = 256 << 10;

/// Bytes on their way to one client, as the kernel may keep them: more would be pictures that grow old there.
const UNDER_WAY: usize = 64 << 10;

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
#[error("preview: cannot listen on {address}: {source}{remedy}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
    remedy: &'static str,
}

/// The socket, before anything is shown: whether the address can be had is known at once.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens to an address; port 0 is any that is free.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let open = || -> io::Result<Self> {
            let socket = TcpListener::bind(address)?;
            // Connections inherit it.
            rustix::net::sockopt::set_socket_send_buffer_size(&socket, UNDER_WAY)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        open().map_err(|source| BindError { address, remedy: remedy(&source), source })
    }

    /// Where it listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True if only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// The thread: until the preview ends.
    pub(super) fn run(self, shown: &Arc<Shown>) {
        let (open, seats, local) = (Arc::new(AtomicUsize::new(0)), Seats::default(), self.is_loopback());
        let mut told = false;
        loop {
            let accepted = self.socket.accept();
            if shown.desk.is_closed() {
                return;
            }
            match accepted {
                Ok((stream, _)) => admit(stream, &open, shown, &seats, local),
                Err(e) => {
                    // No more descriptors, for example. Not to be said for each client, nor tried as fast as can be.
                    if !std::mem::replace(&mut told, true) {
                        log::warn!("preview: a connection cannot be taken: {e}");
                    }
                    thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }
}

/// Gives a connection its thread, if there may be one more.
fn admit(mut stream: TcpStream, open: &Arc<AtomicUsize>, shown: &Arc<Shown>, seats: &Seats, local: bool) {
    let place = Place::take(open);
    let full = Refusal("503 Service Unavailable", "There are too many connections. Close one, or try again later.");
    let Some(place) = place else {
        // A new connection has room for so few bytes: nobody waits.
        return drop(viewer::refuse(&mut stream, &full, false));
    };
    let (shown, seats) = (Arc::clone(shown), seats.clone());
    let serve = move || {
        viewer::serve(stream, &shown, &seats, local);
        drop(place);
    };
    if let Err(e) = thread::Builder::new().name("viewer".into()).stack_size(STACK).spawn(serve) {
        log::warn!("preview: cannot start a thread for a viewer: {e}");
    }
}

/// One of the connections there may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::AcqRel) < CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Has the listener's thread look whether it is still needed.
pub(super) fn wake(address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let _ = TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), Duration::from_millis(200));
}

/// What to do about it.
fn remedy(error: &io::Error) -> &'static str {
    const NO_SUCH_FAMILY: i32 = 97;
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has that port: end it, or give another port to --preview",
        io::ErrorKind::AddrNotAvailable => {
            "; no interface of this machine has that address: give 127.0.0.1, or 0.0.0.0 for all, to --preview"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for the system: give a higher one to --preview",
        _ if error.raw_os_error() == Some(NO_SUCH_FAMILY) => {
            "; the service manager allows this service no network: cross/systemd/preview.conf does"
        }
        _ => "",
    }
}

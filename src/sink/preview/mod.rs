//! The preview of a run: one page for a browser, with the live annotated picture and how it goes.
//!
//! ```text
//! inference ──► desk ──► studio ──► desk ──► viewer, viewer, …      desk.rs, studio.rs, viewer.rs
//!      a copy, if     draws,     the newest picture,
//!      it is wanted   compresses each at its own pace
//! ```
//!
//! * Inference never waits for anybody here. It copies a frame if one is wanted, which is when somebody looks *and* the
//!   studio has nothing to do; otherwise it reads a flag. Without viewers nothing is copied, drawn or compressed.
//! * The studio is one thread of low priority that takes at most a quarter of its time for pictures, so watching costs the
//!   detector little, however large the frames are. A picture is made once for all viewers.
//! * A viewer gets the newest picture when it has taken the last, so a slow one sees fewer, and none waits for another.
//! * Viewers, connections, and the time and bytes that each may take are limited; one more is told so.
//!
//! | address | what |
//! |---|---|
//! | `/` | the page; nothing on it is from elsewhere |
//! | `/stream` | pictures, `multipart/x-mixed-replace` (motion JPEG over HTTP), as `<img>`, ffmpeg and VLC take it |
//! | `/picture.jpg` | one picture, the next that is made |
//! | `/figures.json` | the figures, see [`Figures`](figures); made for the page, may change with it |
//!
//! Where the address is this machine's own (loopback), only requests that name it so are answered: a page from elsewhere
//! cannot reach through a browser under a name that it made up. There is no password: whoever reaches the address sees.

mod desk;
pub mod figures;
mod http;
mod server;
mod studio;
mod viewer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use crate::clock::Clock;
use crate::frame::Picture;
use crate::sink::stream::{Hello, Names};
use crate::watch::Object;

use desk::Desk;
use figures::Figures;

pub use figures::Frame;
pub use server::{BindError, Listener};

/// The preview of a run. Dropped, it ends.
pub struct Preview {
    shown: Arc<Shown>,
    address: SocketAddr,
}

/// What the threads share.
struct Shown {
    desk: Desk,
    figures: Mutex<Figures>,
    clock: Arc<dyn Clock>,
}

impl Shown {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Preview {
    /// Starts to answer on what `listener` listens to.
    pub fn start(listener: Listener, hello: &Hello, names: Names, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let address = listener.address();
        let figures = Mutex::new(Figures::new(hello, clock.now()));
        let shown = Arc::new(Shown { desk: Desk::new(names), figures, clock });
        let (for_studio, for_server) = (Arc::clone(&shown), Arc::clone(&shown));
        let studio = move || studio::run(&for_studio.desk);
        thread::Builder::new().name("studio".into()).spawn(studio)?;
        thread::Builder::new().name("preview".into()).spawn(move || listener.run(&for_server))?;
        Ok(Self { shown, address })
    }

    /// A frame was looked at. Takes a copy of the picture if somebody wants to see it.
    pub fn frame(&self, picture: &Picture, objects: &[Object], frame: &Frame<'_>) {
        self.shown.figures().frame(frame);
        self.shown.desk.offer(picture, objects);
    }

    /// The camera is not there, and why.
    pub fn away(&self, lost: bool, message: &str) {
        self.shown.figures().away(lost, message);
    }

    /// Ends all connections, and takes no more.
    pub fn close(&self) {
        if self.shown.desk.close() {
            server::wake(self.address);
        }
    }

    /// Another model or other zones from here on.
    pub fn rename(&self, model: &str, kernels: &'static str, names: &Names) {
        self.shown.figures().rename(model, kernels);
        self.shown.desk.rename(names);
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

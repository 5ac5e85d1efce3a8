//! `edge-rcnn run`: frames in, a stream of JSON lines out, until the source ends or somebody asks to stop.

mod build;
mod from;
pub mod layers;
mod loading;
mod watching;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use edge_rcnn::clock::SystemClock;
use edge_rcnn::pipeline::{self, Extras, Fresh, Parts, Reload, RunError};
use edge_rcnn::service::Notifier;
use edge_rcnn::sink::preview::Listener;
use edge_rcnn::source::{Context, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Failure;
use super::detector_args::DetectorArgs;
use build::Builder;
use layers::Layers;
use loading::unless_stopped;

/// Arguments of `run`. Each is a key of the configuration file too, with `_` for `-`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Standard output is NDJSON, schema edge-rcnn/1: a hello line, a status line, a frame line per frame\n\
    looked at, a stats line now and then, error lines, and a bye line at the end. `edge-rcnn schema` prints\n\
    the JSON Schema; the documentation of the module sink::stream has every field.\n\n\
    Anything ffmpeg can read, RTSP and H.264 too:\n  \
    ffmpeg -i rtsp://… -pix_fmt yuv420p -f yuv4mpegpipe - | edge-rcnn run --source -\n\n\
    In the file of --config, every option is a key (min_score = 0.6). Classes and zones have sections:\n  \
    [class.person]  min_score = 0.6, min_area = 0.01 (of the picture)\n  \
    [[zone]]  name = \"door\", polygon = [[0.1, 0.2], [0.5, 0.2], [0.5, 1.0]] (of width and height),\n            \
    mode = \"include\" | \"exclude\" | \"mark\", test = \"bottom\" | \"center\" | \"overlap>0.5\"\n\
    Flags win over the file; --track=false turns off what the file turned on. `edge-rcnn config` with the same\n\
    arguments prints what is in force and where it comes from.\n\n\
    SIGTERM and SIGINT end the run with exit code 0 after the frame that is being looked at. SIGHUP reads\n\
    configuration and model again; if anything about them is wrong, the old ones stay."
)]
pub struct Args {
    /// File with settings, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    #[command(flatten)]
    from: from::Args,
    #[command(flatten)]
    detector: DetectorArgs,
    #[command(flatten)]
    watching: watching::Args,
}

/// Runs the verb.
pub fn run(_: Args) -> Result<(), Failure> {
    let context = Context { clock: Arc::new(SystemClock), stop: Stop::default() };
    let asked = listen(&context.stop)?;
    let notifier = Notifier::from_env();
    let layers = Layers::read(&std::env::args_os().collect::<Vec<_>>())?;
    let preview = layers.args.watching.preview().map(preview).transpose()?;
    let (loading, told) = (context.clone(), notifier.clone());
    let load = move || {
        let source = from::open(&layers.args.from, &loading)?;
        let builder = Builder { live: source.live(), notifier: told };
        let fresh = builder.build(&layers)?;
        Ok((layers, source, builder, fresh))
    };
    let Some((layers, source, builder, fresh)) = unless_stopped(&context.stop, load)? else {
        notifier.stopping();
        log::info!("stopped while the model was being loaded");
        return pipeline::stopped_early(io::stdout(), &context).map_err(Failure::output);
    };
    let Fresh { watcher, face } = fresh;
    let mut hello = build::hello(&layers, &face, source.as_ref());
    hello.preview = preview.as_ref().map(|listener| format!("http://{}/", listener.address()));
    let (model, kernels) = (&hello.model.name, hello.kernels);
    log::info!("{}: looking with {model} on {kernels} kernels; {}", hello.source, policy(hello.live));

    let snapshots = layers.args.watching.snapshots();
    let reload = Some(Reload { asked, load: Arc::new(move || again(&layers, &builder)) });
    let extras = Extras { notifier, reload, snapshots, preview };
    let (out, stop) = (Box::new(io::stdout()), context.stop.clone());
    let parts = Parts { source, watcher, out, clock: context.clock, stop, extras };
    let summary = match pipeline::run(parts, hello, face.settings) {
        Ok(summary) => summary,
        Err(RunError::Output(e)) => return Err(Failure::output(e)),
        Err(e @ RunError::Stuck) => {
            log::warn!("{e}");
            return Ok(());
        }
        Err(e @ RunError::Unavailable(_)) => return Err(Failure::unavailable(e)),
        Err(e) => return Err(Failure::runtime(e)),
    };
    let (captured, frames) = (summary.captured, summary.frames);
    log::info!("{captured} frames came, {frames} looked at, {} dropped", summary.dropped.total());
    match frames == 0 && captured > 0 && !context.stop.is_set() {
        true => Err(Failure::runtime(format!("not one of {captured} frames could be looked at"))),
        false => Ok(()),
    }
}

/// Reads everything again, for a run that goes on with the source it has.
fn again(before: &Layers, builder: &Builder) -> Result<Fresh, String> {
    let layers = Layers::read(&before.argv).map_err(Failure::message)?;
    if let Some(key) = layers.first_difference(before, from::KEYS) {
        return Err(format!("{key} is another now, and a source cannot be exchanged while it runs; restart for that"));
    }
    if let Some(key) = layers.first_difference(before, watching::KEYS) {
        return Err(format!("{key} is another now, which cannot be changed while it runs; restart for that"));
    }
    builder.build(&layers).map_err(Failure::message)
}

/// The address can be had, or nothing is started.
fn preview(address: SocketAddr) -> Result<Listener, Failure> {
    let listener = Listener::bind(address).map_err(Failure::config)?;
    let address = listener.address();
    log::info!("preview: http://{address}/");
    if !listener.is_loopback() {
        log::warn!(
            "preview: {address} can be reached from other machines and asks for no password: whoever reaches it sees what the camera sees"
        );
    }
    Ok(listener)
}

fn policy(live: bool) -> &'static str {
    if live { "frames there is no time for are dropped" } else { "each frame is looked at" }
}

/// Lets the signals ask to stop; a second one ends the program at once. The flag is set by SIGHUP.
fn listen(stop: &Stop) -> Result<Arc<AtomicBool>, Failure> {
    let failed = |signal: i32, e: io::Error| Failure::runtime(format!("cannot listen to signal {signal}: {e}"));
    for signal in [SIGTERM, SIGINT] {
        let flag = stop.flag();
        signal_hook::flag::register_conditional_default(signal, stop.again())
            .and_then(|_| signal_hook::flag::register(signal, stop.again()))
            .and_then(|_| signal_hook::flag::register_usize(signal, flag, signal as usize))
            .map_err(|e| failed(signal, e))?;
    }
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&asked)).map_err(|e| failed(SIGHUP, e))?;
    Ok(asked)
}

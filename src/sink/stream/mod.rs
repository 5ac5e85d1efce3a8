//! The stream of `edge-rcnn run`: NDJSON, schema `edge-rcnn/1`.
//!
//! UTF-8, one object per line, `\n` after each, one write and one flush per line, nothing else on the stream; no line is
//! longer than 32 KiB. Readers must ignore types and fields they do not know: adding some keeps the schema's number,
//! renaming, removing or another unit changes it. A field without a value is left out, never null. All numbers are finite.
//! Units stand in the names.
//!
//! Every object starts with
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `type` | string | `hello`, `status`, `frame`, `stats`, `error` or `bye` |
//! | `t` | string | time of day, RFC 3339 in UTC with milliseconds; on a `frame` the time of capture |
//! | `t_mono_us` | integer | the same moment in microseconds on a clock that never jumps (`CLOCK_MONOTONIC`) |
//!
//! `hello`: once, first, before the source is read. It is missing only if the run was stopped while the model was being loaded:
//! then `bye` stands alone.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `schema` | string | `edge-rcnn/1` |
//! | `version` | string | of the program |
//! | `run` | string | made anew at each start |
//! | `model` | object | `name`, `architecture`, `sha256` (one sum over the whole bundle) |
//! | `labels` | list of strings | class names; that of `class_id` 1 comes first |
//! | `source` | string | where frames come from |
//! | `live` | boolean | true: frames nobody has time for are dropped; false: each is looked at |
//! | `kernels` | string | what the trunk is computed with: `scalar`, `avx2`, `avx512`, `neon`, `tract` |
//! | `threads` | integer | the detector computes with |
//! | `preview` | string, optional | with `--preview`: the address of the page |
//!
//! `status`: the source works or has changed: `streaming` comes before the first frame, before a frame of another size, and
//! before the first frame after each opening of a camera; the others once for each change. Another kind, without `camera`
//! and with `reloaded`, says that configuration and model were read again.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `camera` | string, optional | `streaming`; `lost` (it streamed, everything was closed); `waiting` (it cannot be opened) |
//! | `width`, `height` | integer | of the frames from here on, in pixels; what the boxes of `frame` refer to |
//! | `format` | string | of the frames as they come: `yuyv`, `uyvy`, `nv12`, `nv21`, `i420`, `i422`, `i444`, `rgb24`, `bgr24`, `gray`, `luma`, `encoded` |
//! | `device`, `card` | string, only cameras | the node that was opened, after links; the camera's name |
//! | `fourcc`, `stride`, `fps` | string, integer, number, only cameras | what the driver has granted: its name of the format, bytes from row to row (0 for JPEG), frames a second if it says |
//! | `reason` | string, not when streaming | name of the error code (`ENODEV`, `EBUSY`, …), or `TIMEOUT`, `NOT_A_CAMERA`, `FORMAT`, `CONTROL` |
//! | `message` | string, not when streaming | what, why and what to do |
//! | `retry_ms` | integer, not when streaming | time until it is tried again; later waits are longer, up to 30 seconds |
//! | `reloaded` | boolean, optional | true: frames from here on were looked at with the new configuration |
//! | `model`, `labels` | | as in `hello`; with `reloaded` |
//!
//! `frame`: a frame was looked at. With `--only-detections`, those in which nothing was found are left out.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `ts_src` | string, optional | `dequeue`: the camera's driver gave no time, or an impossible one; `t` is when the frame was taken from its queue |
//! | `seq` | integer | number the source gave the frame, from 0; gaps are frames that were dropped; a camera's start anew with each opening |
//! | `frame` | integer | frames looked at so far, with this one |
//! | `path` | string, optional | the file, for sources of picture files |
//! | `latency_ms` | number | from capture to this line |
//! | `stage_ms` | object | its parts in their order: `wait` (from capture to the detector), `decode` (to RGB), the detector's stages, `emit` (from the detector to this line) |
//! | `scale` | number | network input pixels per frame pixel |
//! | `proposals` | integer | regions the head looked at |
//! | `budget` | object, optional | with a time budget: `ms`, the budget; `step` of `of`, how closely was looked, 1 is the cheapest; `reason`: `start` (the best that fitted when the program started), `over` (frames took too long at a higher step), `room` (there was room at a lower one), `floor` (the lowest; frames take too long nevertheless), `pinned` (by the user) |
//! | `gated` | boolean, optional | true: nothing has moved; the detector did not look, and `detections` are those of the last frame it did look at |
//! | `dropped` | object, optional | frames dropped since the last `frame` line, by cause, see below |
//! | `detections` | list | the objects, best score first; empty if there are none |
//! | `detections[].label`, `class_id` | string, integer | class name and number, from 1 |
//! | `detections[].score` | number | 0…1, at most 4 decimals |
//! | `detections[].box` | `[x1, y1, x2, y2]` | pixels, origin top left, half-open: width = x2 − x1; `0 ≤ x1 < x2 ≤ width`, likewise y; at most 2 decimals |
//! | `detections[].track`, `age` | integer, optional | number of the object, unique within a run; frames looked at since it appeared, with this one |
//! | `detections[].zones` | list of strings, optional | the zones it is in |
//! | `omitted` | integer, optional | detections left out because a number was not finite, the box was empty, or the line would have been too long |
//!
//! `stats`: at a fixed interval.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `window_ms` | number | time since the last `stats` |
//! | `captured`, `frames` | integer | frames that came, frames looked at, in this window |
//! | `gated` | integer, optional | frames among them in which nothing had moved |
//! | `fps` | number | frames looked at per second |
//! | `latency_ms` | object, optional | `p50`, `p95`, `p99` of the frames of this window |
//! | `dropped` | object | frames dropped in this window, all causes |
//! | `times_corrected` | integer, optional | frames of this window whose driver's time was equal to the last, backward, or impossible |
//! | `rss_mb`, `temp_c` | number, optional | memory of the process; hottest sensor of the system |
//!
//! Causes: `busy` (a newer frame came while the detector was busy), `corrupt` (could not be read or decoded, or the driver
//! says so), `failed` (the detector could not look at it), `reader` (whoever reads this stream was too slow), `stop` (still
//! waiting or unfinished when the run was stopped). Of cameras also `driver` (lost before it reached us, a gap in the driver's
//! numbers), `empty` (no bytes), `size` (fewer bytes than size and format ask for), `not_jpeg` (does not start as one),
//! `cut_off` (a JPEG that breaks off).
//!
//! `error`: something went wrong and the work goes on; of an endless source at most one a second.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `message` | string | what, where, why and what to do next |
//!
//! `bye`: once, last.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `schema` | string | as in `hello` |
//! | `reason` | string | `end` (no more frames), `sigterm`, `sigint`, `error` (an `error` line before says which) |
//! | `captured`, `frames`, `gated`, `dropped`, `times_corrected` | | as in `stats`, over the whole run: captured = frames + the sum of dropped |
//!
//! ```json
//! {"type":"hello","t":"2026-01-05T10:00:00.120Z","t_mono_us":8120000,"schema":"edge-rcnn/1","version":"0.1.0","run":"7f3a09c2","model":{"name":"zf-voc","architecture":"zf","sha256":"9c41"},"labels":["aeroplane","bicycle"],"source":"synthetic","live":true,"kernels":"avx2","threads":4,"preview":"http://127.0.0.1:8080/"}
//! {"type":"status","t":"2026-01-05T10:00:00.131Z","t_mono_us":8131000,"camera":"streaming","width":640,"height":480,"format":"yuyv","device":"/dev/video0","card":"USB Camera","fourcc":"YUYV","stride":1280,"fps":30.0}
//! {"type":"status","t":"2026-01-05T10:00:01.000Z","t_mono_us":9000000,"camera":"lost","reason":"ENODEV","message":"/dev/video0: no more frames: ENODEV: the camera is gone","retry_ms":1000}
//! {"type":"frame","t":"2026-01-05T10:00:02.034Z","t_mono_us":10034121,"seq":57,"frame":9,"latency_ms":212.4,"stage_ms":{"wait":5.3,"decode":1.2,"trunk":141.9,"emit":0.3},"scale":1.25,"proposals":300,"budget":{"ms":59.0,"step":9,"of":10,"reason":"start"},"dropped":{"busy":5},"detections":[{"label":"person","class_id":15,"score":0.942,"box":[212.5,80.1,330.0,402.7],"track":4,"age":7,"zones":["door"]}]}
//! {"type":"frame","t":"2026-01-05T10:00:02.234Z","t_mono_us":10234121,"seq":63,"frame":10,"latency_ms":3.1,"stage_ms":{"wait":0.3,"decode":1.2,"emit":0.1},"scale":1.25,"proposals":0,"gated":true,"detections":[]}
//! {"type":"status","t":"2026-01-05T10:00:05.131Z","t_mono_us":13131000,"reloaded":true,"model":{"name":"mine","architecture":"zf","sha256":"07d2"},"labels":["door"]}
//! {"type":"stats","t":"2026-01-05T10:00:10.120Z","t_mono_us":18120000,"window_ms":10000.0,"captured":300,"frames":47,"gated":1,"fps":4.7,"latency_ms":{"p50":210.0,"p95":226.1,"p99":241.7},"dropped":{"busy":252,"corrupt":1,"failed":0,"reader":0,"stop":0,"driver":0,"empty":0,"size":0,"not_jpeg":0,"cut_off":0},"rss_mb":96.2,"temp_c":61.5}
//! {"type":"error","t":"2026-01-05T10:00:11.020Z","t_mono_us":19020000,"message":"standard input: the last frame is cut off: 3 of its 460800 bytes came"}
//! {"type":"bye","t":"2026-01-05T10:00:12.000Z","t_mono_us":20000000,"schema":"edge-rcnn/1","reason":"sigterm","captured":360,"frames":56,"gated":1,"dropped":{"busy":303,"corrupt":1,"failed":0,"reader":0,"stop":0,"driver":0,"empty":0,"size":0,"not_jpeg":0,"cut_off":0}}
//! ```

mod lines;
mod wire;

use std::io::{self, Write};

use super::json::{JsonLines, StageTimes, rounded};
use crate::clock::Moment;

pub use lines::{AwayLine, ByeLine, CameraLine, FrameLine, Hello, Model, Names, StatsLine, StreamingLine};
pub(in crate::sink) use wire::{BudgetLine, Counted};
use wire::{ByeBody, Detections, FrameBody, Line, NotThere, Occurred, Reloaded, Schema, StatsBody, Streaming, Trouble};

/// Name and version of what is written here.
pub const SCHEMA: &str = "edge-rcnn/1";

/// Longest line. Journals split longer ones.
const MAX_LINE: usize = 32 << 10;

/// Writes the stream.
#[derive(Debug)]
pub struct StreamLines<W> {
    lines: JsonLines<W>,
}

impl<W: Write> StreamLines<W> {
    /// Lines go to `out`, which should not buffer on its own. A closed pipe comes back from each of the functions below
    /// as [`io::ErrorKind::BrokenPipe`].
    pub fn new(out: W) -> Self {
        Self { lines: JsonLines::new(out) }
    }

    /// Who speaks.
    pub fn hello(&mut self, now: Moment, hello: &Hello) -> io::Result<()> {
        self.lines.write(&Line::new("hello", now, Schema { schema: SCHEMA, rest: hello }))
    }

    /// The source gives frames of this size.
    pub fn streaming(&mut self, now: Moment, line: &StreamingLine<'_>) -> io::Result<()> {
        let StreamingLine { width, height, format, ref camera } = *line;
        let granted = camera.clone().map(|c| CameraLine { fps: c.fps.map(|fps| rounded(fps, 2)), ..c });
        self.lines.write(&Line::new("status", now, Streaming { camera: "streaming", width, height, format, granted }))
    }

    /// The camera is not there.
    pub fn away(&mut self, now: Moment, line: &AwayLine<'_>) -> io::Result<()> {
        let AwayLine { lost, reason, message, retry } = *line;
        let (camera, retry_ms) = (if lost { "lost" } else { "waiting" }, retry.as_millis() as u64);
        self.lines.write(&Line::new("status", now, NotThere { camera, reason, message, retry_ms }))
    }

    /// Configuration and model were read again.
    pub fn reloaded(&mut self, now: Moment, model: &Model, labels: &[String]) -> io::Result<()> {
        self.lines.write(&Line::new("status", now, Reloaded { reloaded: true, model, labels }))
    }

    /// A frame was looked at.
    pub fn frame(&mut self, frame: &FrameLine<'_>) -> io::Result<()> {
        let mut detections = Detections { frame, most: usize::MAX };
        let good = detections.good().count();
        loop {
            let shown = good.min(detections.most);
            let body = FrameBody {
                ts_src: frame.ts_src,
                seq: frame.seq,
                frame: frame.frame,
                path: frame.path.map(|p| p.to_string_lossy()),
                latency_ms: rounded(frame.latency_ms, 2),
                stage_ms: StageTimes(frame.stage_ms),
                scale: rounded(frame.scale, 6),
                proposals: frame.proposals,
                budget: frame.budget.map(BudgetLine::from),
                gated: frame.gated,
                dropped: Occurred(frame.dropped),
                detections: &detections,
                omitted: frame.omitted + frame.objects.len() - shown,
            };
            let length = self.lines.encode(&Line::new("frame", frame.captured, body))?;
            if length <= MAX_LINE || shown == 0 {
                return self.lines.send();
            }
            // The worst go, by so many as are too many if all are alike, and one at least.
            detections.most = (shown * MAX_LINE / length).min(shown - 1);
        }
    }

    /// How it went for a while.
    pub fn stats(&mut self, now: Moment, stats: &StatsLine<'_>) -> io::Result<()> {
        let body = StatsBody {
            window_ms: rounded(stats.window_ms, 1),
            captured: stats.captured,
            frames: stats.frames,
            gated: stats.gated,
            fps: rounded(stats.fps(), 2),
            latency_ms: stats.latency_ms.as_ref().map(|p| StageTimes(p)),
            dropped: Counted(stats.dropped),
            times_corrected: stats.times_corrected as usize,
            rss_mb: stats.rss_mb.map(|v| rounded(v, 1)),
            temp_c: stats.temp_c.map(|v| rounded(v, 1)),
        };
        self.lines.write(&Line::new("stats", now, body))
    }

    /// Something went wrong, and the work goes on.
    pub fn error(&mut self, now: Moment, message: &str) -> io::Result<()> {
        // No message of ours is that long; one that holds a file name of the system may be.
        let end = message.floor_char_boundary(MAX_LINE / 8);
        self.lines.write(&Line::new("error", now, Trouble { message: &message[..end] }))
    }

    /// The end.
    pub fn bye(&mut self, now: Moment, bye: &ByeLine<'_>) -> io::Result<()> {
        let ByeLine { reason, captured, frames, gated, .. } = *bye;
        let times_corrected = bye.times_corrected as usize;
        let rest = ByeBody { reason, captured, frames, gated, dropped: Counted(bye.dropped), times_corrected };
        self.lines.write(&Line::new("bye", now, Schema { schema: SCHEMA, rest }))
    }
}

#[cfg(test)]
mod tests;

"use strict";
// Asks for the figures once a second; the picture comes by itself, as a stream into an <img>.

const EVERY_MS = 1000;
const STALE_MS = 3000;
const HISTORY = 120;

const REASONS = {
  start: "the best that fitted when the program started",
  over: "frames took too long one step higher",
  room: "there was room for more",
  floor: "the cheapest step, and frames take too long nevertheless",
  pinned: "pinned by --scale or --proposals",
};
const CAUSES = {
  busy: "detector was busy", corrupt: "unreadable", failed: "not looked at", reader: "reader too slow", stop: "run was stopped",
  driver: "lost by the driver", empty: "empty", size: "too short", not_jpeg: "no JPEG", cut_off: "JPEG cut off",
};

const the = (id) => document.getElementById(id);
const picture = the("picture");
const history = { p50: [], p95: [] };
let alive = false;

function text(id, value) {
  const node = the(id);
  if (node.textContent !== value) node.textContent = value;
}

function number(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function since(seconds) {
  const s = Math.floor(seconds), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
}

function element(name, content, className) {
  const node = document.createElement(name);
  node.append(...content);
  if (className) node.className = className;
  return node;
}

// A hidden page does not look: then nothing is drawn for it.
function look() {
  const wanted = alive && !document.hidden;
  if (wanted && !picture.hasAttribute("src")) picture.src = `stream?${Date.now()}`;
  if (!wanted && picture.hasAttribute("src") && document.hidden) picture.removeAttribute("src");
}

function state(name, className) {
  text("state", name);
  the("state").className = `pill ${className}`;
  document.body.classList.toggle("ended", className === "ended");
}

function curve(id, values, most) {
  const points = values.map((v, i) => `${HISTORY - values.length + i},${(31 - 29 * v / most).toFixed(2)}`);
  the(id).setAttribute("points", points.join(" "));
}

function latency(now) {
  for (const name of ["p50", "p95", "p99"]) {
    the(name).replaceChildren(...(now ? [number(now[name]), element("small", ["ms"])] : ["–"]));
  }
  if (!now) return;
  for (const name of ["p50", "p95"]) {
    history[name].push(now[name]);
    if (history[name].length > HISTORY) history[name].shift();
  }
  const most = Math.max(...history.p95, 1);
  curve("curve50", history.p50, most);
  curve("curve95", history.p95, most);
}

function budget(now) {
  if (!now) return;
  text("limit", `${number(now.ms)} ms a frame`);
  const steps = Array.from({ length: now.of }, (_, i) => element("i", [], i < now.step ? "on" : ""));
  the("ladder").replaceChildren(...steps);
  the("ladder").className = now.reason;
  text("why", `step ${now.step} of ${now.of}: ${REASONS[now.reason] ?? now.reason}`);
}

function drops(figures) {
  const rows = Object.entries(figures.dropped).filter(([, n]) => n > 0);
  const sum = rows.reduce((all, [, n]) => all + n, 0);
  text("captured", `${sum.toLocaleString("en")} of ${figures.captured.toLocaleString("en")} frames`);
  the("causes").replaceChildren(...rows.map(([cause, n]) =>
    element("div", [element("dt", [CAUSES[cause] ?? cause]), element("dd", [n.toLocaleString("en")])])));
}

function seen(objects) {
  const chips = objects.map(({ label, score, colour, track }) => {
    const chip = element("li", [track ? `${label} ${track}` : label, element("b", [score.toFixed(2)])]);
    chip.style.setProperty("--colour", colour);
    return chip;
  });
  the("seen").replaceChildren(...(chips.length ? chips : [element("li", ["nothing"], "none")]));
}

function show(figures) {
  const stale = figures.age_ms === undefined || figures.age_ms > STALE_MS + 3 * (figures.latency_ms?.p99 ?? 0);
  const away = figures.camera === "lost" || figures.camera === "waiting";
  if (away) state(figures.camera === "lost" ? "camera lost" : "waiting for the camera", "away");
  else if (stale) state("no frames", "away");
  else state(figures.gated ? "live, still" : "live", "live");
  the("view").classList.toggle("stale", away || stale);
  text("notice", figures.message ?? (figures.age_ms === undefined ? "waiting for the first frame" : ""));
  text("source", figures.source);
  text("fps", figures.fps ? number(figures.fps) : "–");
  const input = `scale ${figures.scale}, ${figures.proposals} regions`;
  if (figures.width) the("view").style.setProperty("--ratio", `${figures.width} / ${figures.height}`);
  text("size", figures.width ? `${figures.width}×${figures.height}${figures.gated ? "" : `, ${input}`}` : "");
  latency(figures.latency_ms);
  budget(figures.budget);
  drops(figures);
  seen(figures.seen);
  const threads = figures.threads === 1 ? "1 thread" : `${figures.threads} threads`;
  text("about", [`edge-rcnn ${figures.version}`, `model ${figures.model}`, `${figures.kernels} kernels`, threads,
    `up ${since(figures.up_s)}`, figures.viewers === 1 ? "1 viewer" : `${figures.viewers} viewers`].join(" · "));
  document.title = figures.fps ? `${number(figures.fps)} fps · edge-rcnn` : "edge-rcnn";
}

async function ask() {
  try {
    const answer = await fetch("figures.json", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const figures = await answer.json();
    alive = true;
    show(figures);
  } catch {
    // The stream has ended with the program; it is asked for anew when there is one again.
    alive = false;
    picture.removeAttribute("src");
    state("not running", "ended");
    the("view").classList.add("stale");
    text("notice", "the program does not answer: it has ended, or the connection has");
  }
  look();
  setTimeout(ask, EVERY_MS);
}

picture.addEventListener("error", () => picture.removeAttribute("src"));
document.addEventListener("visibilitychange", look);
ask();

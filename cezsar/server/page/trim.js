// Where a collected hit begins and ends, frame by frame, with a picture of the frame that was moved last.

import { button, make } from "./dom.js";
import { framesOf, timeOf, timing } from "./frames.js";
import { Screen } from "./screen.js";
import { clock } from "./words.js";

const fine = (time) => `${clock(Math.floor(time * 10) / 10).replace(/\.\d$/, "")}.${String(Math.floor(time * 1000 + 1e-6) % 1000).padStart(3, "0")}`;

export function trimmer(one, moved) {
  // moved gets {start_s, end_s} whenever one of them is another; how it ends is made.over()
  const state = make("p", { role: "status", class: "trim-state" }, "Reading the video.");
  const player = make("video", { playsinline: true, preload: "auto", "aria-hidden": "true" });
  player.muted = true;
  const screen = new Screen(player, () => {});
  const told = { start: make("span", { class: "at" }), stop: make("span", { class: "at" }) };
  const steps = (which, words) => make("div", { class: "point" }, make("strong", {}, words),
    ...[-1, 1].map((by) => button(by < 0 ? "−" : "+", (event) => step(which, by * (event.shiftKey ? 10 : 1)),
      { "aria-label": `${words} one frame ${by < 0 ? "earlier" : "later"}`, title: "One frame; ten with Shift" })), told[which]);
  const made = make("div", { class: "trimmer" }, player, make("div", {}, steps("start", "In"), steps("stop", "Out"), state));
  let counts = null;
  let [first, stop] = [0, 1];

  function show() {
    told.start.textContent = `${fine(timeOf(counts, first))}, frame ${first}`;
    told.stop.textContent = `${fine(timeOf(counts, stop))}, before frame ${stop}`;
    state.textContent = `${stop - first} frame${stop - first === 1 ? "" : "s"}`
      + (counts.is_steady ? "" : "; its frame rate varies, so they are of the mean");
  }

  function step(which, by) {
    if (!counts) return;
    if (which === "start") first = Math.min(Math.max(0, first + by), stop - 1);
    else stop = Math.max(first + 1, Math.min(stop + by, counts.frames ?? Infinity));
    one = { ...one, ...(which === "start" ? { start_s: Math.max(0, timeOf(counts, first)) } : { end_s: timeOf(counts, stop) }) };
    screen.seek(timeOf(counts, which === "start" ? first : stop - 1) + 0.25 / counts.rate); // well within the frame
    show();
    moved({ start_s: one.start_s, end_s: one.end_s });
  }

  timing(one.video_id).then((found) => {
    counts = found;
    [first, stop] = framesOf(counts, one.start_s, one.end_s);
    show();
    return screen.open(one.video_id, one.start_s, { plays: false });
  }).catch((error) => { state.textContent = error.message; });
  made.over = () => screen.close();
  return made;
}

// Frames of a video, counted as the lists for editors count them.

import { told } from "./talk.js";

const known = new Map(); // videos by id

export function timing(video) {
  // How a video counts its frames; asked for once. Rejects with one line if it cannot be read.
  if (!known.has(video)) {
    const found = told(`/videos/${video}/timing`).then((answer) => {
      const [above, below = 1] = answer.frame_rate.split("/").map(Number);
      return { ...answer, rate: above / below };
    });
    found.catch(() => known.delete(video));
    known.set(video, found);
  }
  return known.get(video);
}

export function framesOf({ rate, first_s, tick_s, frames }, start, end) {
  // the frames [first, stop) that are shown from start to end
  let first = Math.max(0, Math.floor((start - first_s + tick_s) * rate));
  let stop = Math.ceil((end - first_s - tick_s) * rate);
  if (frames !== null) [first, stop] = [Math.min(first, frames - 1), Math.min(stop, frames)];
  return [first, Math.max(stop, first + 1)];
}

export function timeOf({ rate, first_s }, frame) {
  return first_s + frame / rate;
}

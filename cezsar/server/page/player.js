// Playing: one video at a time, in its card, from start_s to end_s over and over.

import { address, ask, complain, element, over, say, stretch, told } from "./talk.js";
import { range } from "./words.js";

const longestPart = 12; // seconds of what is made for playing, so that it begins soon
const preparing = "Making it playable.";
let playing = null; // what ends the one that plays

export function stop() {
  playing?.();
}

export async function play(made, part) {
  stop();
  const room = made.querySelector(".picture");
  const still = room.firstElementChild;
  const from = document.activeElement;
  const player = element("video");
  const ends = playing = () => {
    playing = null;
    over(preparing);
    const hadFocus = room.contains(document.activeElement);
    player.removeAttribute("src");
    player.load();
    player.replaceWith(still);
    if (hadFocus) (from.isConnected ? from : still).focus();
  };
  try {
    const video = await told(`/videos/${made.dataset.video}`);
    if (playing !== ends) return; // another one began meanwhile
    player.controls = player.muted = player.playsInline = true;
    player.setAttribute("aria-label", `${made.querySelector("h2").textContent}, ${range(part)}; Escape ends it`);
    if (!video.media_type) say(preparing);
    player.addEventListener("playing", () => over(preparing));
    (video.media_type ? loop : loopOfParts)(player, video.video_id, part);
    player.addEventListener("error", () => {
      if (!player.hasAttribute("src")) return;
      ends();
      complain(`${made.querySelector("h2").textContent} cannot be played.`);
    });
    player.addEventListener("keydown", (event) => { if (event.key === "Escape") ends(); });
    still.replaceWith(player);
    player.focus();
  } catch (error) {
    if (playing === ends) playing = null;
    complain(`${made.querySelector("h2").textContent}: ${error.message}`);
  }
}

function loop(player, id, part) {
  const again = () => { player.currentTime = part.start_s; player.play().catch(() => {}); };
  player.addEventListener("loadedmetadata", again, { once: true });
  player.addEventListener("timeupdate", () => {
    const here = player.currentTime;
    if (here >= part.end_s && here < part.end_s + 1) again(); // elsewhere somebody went on purpose
  });
  player.addEventListener("ended", again);
  player.src = address(`/videos/${id}/stream`);
}

function loopOfParts(player, id, part) {
  const after = (start) => (start + longestPart < part.end_s ? start + longestPart : part.start_s);
  const place = (start) => stretch(id, start, Math.min(start + longestPart, part.end_s));
  let start = part.start_s;
  const again = () => {
    if (player.src.endsWith(place(start))) player.currentTime = 0; else player.src = address(place(start));
    player.play().catch(() => {});
  };
  player.addEventListener("playing", () => { // the next one is made while this one plays
    if (after(start) !== start) ask(place(after(start)), { headers: { range: "bytes=0-0" } }).catch(() => {});
  });
  player.addEventListener("ended", () => { start = after(start); again(); });
  again();
}

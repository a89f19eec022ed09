// Moving the pointer over a card goes through its stretch: frames side by side, in one picture that is made once.

import { address } from "./talk.js";
import { clock } from "./words.js";

const numFrames = 12; // as the server makes them
const patience = 80; // ms that the pointer stays before anything is asked for
const still = matchMedia("(prefers-reduced-motion: reduce)");

export function scrub(button, hit) {
  const when = button.querySelector(".range");
  const words = when.textContent;
  let sprite = null; // the picture, once it is there
  let loading = null;
  let waiting = 0;
  let isInside = false;
  let place = 0; // of the pointer, from 0 to 1

  const draw = () => {
    if (!sprite) return;
    const [width, height] = [sprite.naturalWidth / numFrames, sprite.naturalHeight];
    let canvas = button.querySelector("canvas");
    if (!canvas) {
      canvas = document.createElement("canvas");
      Object.assign(canvas, { width, height });
      canvas.setAttribute("aria-hidden", "true");
      button.append(canvas);
      button.classList.add("scrubbed");
    }
    const frame = Math.min(numFrames - 1, Math.floor(place * numFrames));
    canvas.getContext("2d").drawImage(sprite, frame * width, 0, width, height, 0, 0, width, height);
    canvas.dataset.frame = frame;
    button.style.setProperty("--place", `${(100 * place).toFixed(1)}%`);
    when.textContent = clock(hit.start_s + place * (hit.end_s - hit.start_s));
  };
  const load = () => {
    const picture = new Image();
    loading = picture;
    picture.addEventListener("load", () => {
      sprite = picture;
      if (isInside) draw();
    });
    picture.addEventListener("error", () => { loading = null; });
    picture.src = address(`/segments/${hit.segment_id}/sprite?start_s=${hit.start_s}&end_s=${hit.end_s}`);
  };
  const follow = (event) => {
    const box = button.getBoundingClientRect();
    place = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    draw();
  };
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType !== "mouse" || still.matches) return;
    isInside = true;
    button.addEventListener("pointermove", follow);
    follow(event);
    if (!loading) waiting = setTimeout(load, patience);
  });
  button.addEventListener("pointerleave", () => {
    isInside = false;
    clearTimeout(waiting);
    button.removeEventListener("pointermove", follow);
    if (loading && !sprite) { // nobody waits for it any more
      loading.removeAttribute("src");
      loading = null;
    }
    button.querySelector("canvas")?.remove();
    button.classList.remove("scrubbed");
    when.textContent = words;
  });
}

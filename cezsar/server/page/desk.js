// What can be done with a hit beyond its card: look at it closely, collect it, judge it.

import { collect } from "./basket.js";
import { isCollected, onChange } from "./collected.js";
import { button } from "./dom.js";
import { judge } from "./judge.js";
import { stop } from "./player.js";
import { view } from "./viewer.js";
import { named } from "./words.js";

const equipped = new WeakMap(); // cards, and what they show

export function equip(made, hit, { threshold, go }) {
  const opener = button("⤢", () => look(made), { class: "open", title: "Look at it closely", "aria-label": `Look closely at ${named(hit)}` });
  made.querySelector(".picture").append(opener);
  equipped.set(made, { hit, threshold, back: opener });
  const act = made.querySelector(".collect");
  act.hidden = false;
  act.addEventListener("click", () => collect(hit));
  sayCollected(made);
  judge(made, hit, go);
}

function look(made) {
  stop();
  const cards = [...made.parentElement.children].filter((one) => equipped.has(one));
  view(cards.map((one) => equipped.get(one)), cards.indexOf(made), { collect, isCollected });
}

function sayCollected(made) {
  const isIn = isCollected(equipped.get(made).hit);
  const act = made.querySelector(".collect");
  act.textContent = isIn ? "Collected" : "Collect";
  act.setAttribute("aria-pressed", String(isIn));
}

onChange(() => {
  for (const made of document.querySelectorAll(".card")) if (equipped.has(made)) sayCollected(made);
});

// The basket: what was collected, in its order, to be trimmed, noted, passed on, and exported in one go.

import { brought, canUndo, change, collected, entry, isCollected, link, longestNote, mostHits, onChange, trouble, undo } from "./collected.js";
import { button, make } from "./dom.js";
import { asked } from "./question.js";
import { address, ask, complain, copy, say, told } from "./talk.js";
import { trimmer } from "./trim.js";
import { view } from "./viewer.js";
import { clock, counted, folder, named, range, readable } from "./words.js";

const rowsAtOnce = 50;
const forms = { clips: "Clips, as MP4 files", edl: "EDL (Resolve, Premiere, Avid)", fcpxml: "FCPXML (Final Cut Pro, Resolve)",
  otio: "OpenTimelineIO", m3u: "Playlist (VLC, mpv)", csv: "Table, CSV", json: "Table, JSON", sheet: "Contact sheet" };

const opener = make("button", { type: "button", id: "open-basket", "aria-haspopup": "dialog", click: () => open() });
let parts = null; // of the dialog, once it is made
let first = 0; // of the rows that are shown
let lost = new Map(); // segments that are not there any more, and why

export function collect(hit) {
  // in, or out if it is in
  if (isCollected(hit)) change(collected().filter((one) => one.segment_id !== hit.segment_id));
  else if (collected().length >= mostHits) complain(`The basket is full: it holds ${mostHits.toLocaleString("en")} hits.`);
  else change([...collected(), entry(hit, note())]);
  if (trouble()) say(trouble());
}

function note() {
  // what was asked, as the command line notes it
  return [asked().get("text"), ...asked().getAll("then")].filter(Boolean).join(", then ");
}

function total() {
  return collected().reduce((sum, one) => sum + one.end_s - one.start_s, 0);
}

function count() {
  const many = collected().length;
  opener.hidden = !many && !canUndo();
  opener.replaceChildren("Basket ", make("span", { class: "held" }, many.toLocaleString("en")));
  opener.setAttribute("aria-label", `Basket, ${counted(many, "hit")}`);
  document.body.classList.toggle("has-basket", !opener.hidden);
}

function build() {
  parts = {
    head: make("h2", { id: "basket-title" }),
    state: make("p", { class: "basket-state", role: "status" }),
    notices: make("ul", { class: "notices", hidden: true, "aria-label": "What the file could not say" }),
    offer: make("div", { class: "offer", hidden: true }),
    rows: make("ol", { class: "rows" }),
    pages: make("div", { class: "pages", hidden: true }),
    form: make("select", { "aria-label": "Format" }, Object.entries(forms).map(([value, words]) => make("option", { value }, words))),
    title: make("input", { "aria-label": "Title", maxlength: "200", placeholder: "Title" }),
    undo: button("Undo", () => { undo(); parts.head.focus(); }, { class: "quiet" }),
    link: button("Copy a link", share, { class: "quiet" }),
    empty: button("Empty", () => { change([]); parts.undo.focus(); }, { class: "quiet" }),
    drop: button("Leave out what is gone", leaveOut, { class: "quiet", hidden: true }),
  };
  parts.head.tabIndex = -1;
  parts.export = make("button", { type: "submit", class: "main" }, "Export");
  parts.dialog = make("dialog", { id: "basket", "aria-labelledby": "basket-title", close: closed },
    make("div", { class: "head" }, parts.head, button("×", () => parts.dialog.close(), { class: "quiet close", "aria-label": "Close" })),
    parts.state, parts.offer,
    make("div", { class: "tools" }, parts.link, parts.undo, parts.empty, parts.drop),
    parts.rows, parts.pages,
    make("form", { class: "export-as", submit: (event) => { event.preventDefault(); save(); } }, parts.form, parts.title, parts.export),
    parts.notices);
  parts.rows.addEventListener("dragover", over);
  parts.rows.addEventListener("drop", drop);
  document.body.append(parts.dialog);
}

export function open() {
  if (!parts) build();
  if (!parts.dialog.open) parts.dialog.showModal();
  parts.head.focus();
  tell(trouble());
  parts.notices.hidden = true;
  render();
  look();
}

function closed() {
  for (const made of parts.rows.querySelectorAll(".trimmer")) made.over();
  parts.rows.replaceChildren();
  if (!opener.hidden) opener.focus();
}

function tell(text, isBad = false) {
  parts.state.textContent = text;
  parts.state.classList.toggle("bad", isBad);
}

async function look() {
  // which hits are there still: ids of another index, or of a video that was changed, are none
  lost = new Map();
  const asked = collected();
  if (!asked.length) return;
  try {
    const found = await looked(asked);
    found.forEach((one, place) => {
      const mine = asked[place];
      if (one.error) lost.set(mine.segment_id, one.error.replace(/ \(hit \d+\)/, ""));
      else if (one.path !== mine.path || one.video_id !== mine.video_id) lost.set(mine.segment_id, "This index has another video by that number.");
    });
  } catch (error) {
    tell(error.message, true);
  }
  if (lost.size && parts.dialog.open) render();
}

async function looked(hits) {
  const answer = await told("/basket", { method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ hits: hits.map(({ segment_id, start_s, end_s }) => ({ segment_id, start_s, end_s })) }) });
  return answer.hits;
}

function leaveOut() {
  change(collected().filter((one) => !lost.has(one.segment_id)));
  parts.head.focus();
}

function sum() {
  const many = collected().length;
  const gone = collected().filter((one) => lost.has(one.segment_id)).length;
  parts.head.textContent = many ? `Basket: ${many.toLocaleString("en")} hit${many === 1 ? "" : "s"}, ${clock(total())}` : "The basket is empty";
  parts.drop.hidden = !gone;
  if (gone) tell(`${counted(gone, "hit")} ${gone === 1 ? "is" : "are"} gone, and left out of what is exported.`);
  parts.export.textContent = many ? `Export ${counted(many - gone, "hit")}` : "Export";
  parts.export.disabled = many === gone;
  parts.link.disabled = parts.empty.disabled = !many;
  parts.undo.disabled = !canUndo();
}

function render() {
  const many = collected().length;
  first = Math.max(0, Math.min(first, Math.floor((many - 1) / rowsAtOnce) * rowsAtOnce));
  for (const made of parts.rows.querySelectorAll(".trimmer")) made.over();
  parts.rows.start = first + 1;
  parts.rows.replaceChildren(...collected().slice(first, first + rowsAtOnce).map((_, place) => row(first + place)));
  parts.pages.hidden = many <= rowsAtOnce;
  parts.pages.replaceChildren(
    button("Earlier", () => turn(-1), { disabled: first === 0, class: "quiet" }),
    make("span", {}, `${(first + 1).toLocaleString("en")} to ${Math.min(many, first + rowsAtOnce).toLocaleString("en")} of ${many.toLocaleString("en")}`),
    button("Later", () => turn(1), { disabled: first + rowsAtOnce >= many, class: "quiet" }));
  sum();
}

function turn(by) {
  first += by * rowsAtOnce;
  render();
  parts.rows.scrollTo(0, 0);
  parts.pages.querySelector(`button:${by < 0 ? "first-child" : "last-child"}`).focus();
}

function row(place) {
  const one = collected()[place];
  const why = lost.get(one.segment_id);
  const name = named(one);
  const picture = make("img", { src: address(`/segments/${one.segment_id}/thumbnail`), alt: "", loading: "lazy", width: 160, height: 90 });
  picture.addEventListener("error", () => picture.removeAttribute("src"), { once: true });
  const times = make("span", { class: "times" });
  const sayTimes = () => {
    const now = collected()[place];
    times.textContent = `${range(now)}, ${(now.end_s - now.start_s).toFixed(2)} s`;
  };
  sayTimes();
  const noted = make("input", { value: one.note, maxlength: String(longestNote), placeholder: "Note", "aria-label": `Note on ${name}`,
    change: () => replace(place, { note: noted.value }) });
  const at = make("input", { type: "number", min: "1", max: String(collected().length), value: String(place + 1), "aria-label": `Place of ${name}`,
    change: () => move(place, Number(at.value) - 1, "input[type=number]") });
  const trimming = make("details", { class: "trim", toggle: () => {
    if (trimming.open && trimming.children.length === 1) {
      trimming.append(trimmer(collected()[place], (times) => { replace(place, times); sayTimes(); }));
    }
  } }, make("summary", {}, "Trim"));
  const made = make("li", { class: why ? "lost" : null, "data-place": String(place), dragstart: (event) => {
    if (event.target.closest("input")) return;
    event.dataTransfer.setData("application/x-cezsar-place", String(place));
    event.dataTransfer.effectAllowed = "move";
  } },
  make("span", { class: "grip", "aria-hidden": "true", title: "Drag to another place",
    pointerdown: () => { made.draggable = true; }, pointerup: () => { made.draggable = false; } }, "⠿"),
  make("button", { type: "button", class: "see", "aria-label": `Look at ${name}, ${range(one)}`, disabled: Boolean(why), click: (event) => see(place, event.currentTarget) }, picture),
  make("div", { class: "what" }, make("strong", { title: readable(one.path) }, name), make("span", { class: "folder" }, folder(one) && `in ${folder(one)}`),
    why ? make("span", { class: "why" }, why) : times, noted),
  make("div", { class: "moves" }, at,
    button("↑", () => move(place, place - 1, ".up"), { class: "up", "aria-label": `Move ${name} up`, disabled: place === 0 }),
    button("↓", () => move(place, place + 1, ".down"), { class: "down", "aria-label": `Move ${name} down`, disabled: place === collected().length - 1 }),
    button("×", () => remove(place), { class: "remove", "aria-label": `Remove ${name}` })), why ? null : trimming);
  made.addEventListener("dragend", () => { made.draggable = false; unmark(); });
  return made;
}

function see(place, back) {
  const places = collected().map((_, other) => other).slice(first, first + rowsAtOnce).filter((other) => !lost.has(collected()[other].segment_id));
  view(places.map((other) => ({ hit: collected()[other], back: other === place ? back : parts.rows.children[other - first]?.querySelector(".see") })),
    places.indexOf(place), { collect, isCollected });
}

function replace(place, changes) {
  change(collected().map((one, other) => (other === place ? { ...one, ...changes } : one)), { quietly: true });
  sum();
}

function move(from, to, focused) {
  const many = collected().length;
  const target = Math.min(Math.max(0, Number.isInteger(to) ? to : from), many - 1);
  const next = [...collected()];
  next.splice(target, 0, ...next.splice(from, 1));
  change(next, { quietly: true });
  first = Math.floor(target / rowsAtOnce) * rowsAtOnce;
  render();
  const made = parts.rows.children[target - first];
  const wanted = made.querySelector(focused);
  (wanted.disabled ? made.querySelector(".moves button:not(:disabled)") : wanted).focus();
  tell(`${named(collected()[target])} is number ${target + 1} now.`);
}

function remove(place) {
  const name = named(collected()[place]);
  change(collected().filter((_, other) => other !== place), { quietly: true });
  count();
  render();
  (parts.rows.children[Math.min(place - first, parts.rows.children.length - 1)]?.querySelector(".remove") ?? parts.undo).focus();
  tell(`${name} was removed: Undo brings it back.`);
}

function over(event) {
  if (!event.dataTransfer.types.includes("application/x-cezsar-place")) return;
  event.preventDefault();
  unmark();
  event.target.closest("li")?.classList.add("target");
}

function drop(event) {
  const from = event.dataTransfer.getData("application/x-cezsar-place");
  const target = event.target.closest("li");
  unmark();
  if (from === "" || !target) return;
  event.preventDefault();
  move(Number(from), Number(target.dataset.place), ".up");
}

function unmark() {
  for (const one of parts.rows.querySelectorAll(".target")) one.classList.remove("target");
}

async function share() {
  const made = link(`${location.origin}/`);
  if (made) await copy(parts.link, made);
  else tell("The basket is too long for an address: export it as JSON, and pass that on.", true);
}

async function save() {
  parts.export.disabled = true;
  parts.notices.hidden = true;
  tell("Making the file.");
  try {
    const hits = collected().filter((one) => !lost.has(one.segment_id))
      .map(({ segment_id, start_s, end_s, note }) => ({ segment_id, start_s, end_s, note }));
    const answer = await ask("/export", { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ hits, format: parts.form.value, title: parts.title.value || "cezsar" }) });
    const file = await answer.blob();
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))?.[1] ?? "hits";
    const place = URL.createObjectURL(file);
    make("a", { href: place, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(place), 60_000);
    const notices = JSON.parse(answer.headers.get("cezsar-notices") ?? "[]");
    tell(`${name}: the browser keeps it with its downloads.`);
    parts.notices.replaceChildren(...notices.map((line) => make("li", {}, line)));
    parts.notices.hidden = !notices.length;
  } catch (error) {
    tell(error.message, true);
  }
  parts.export.disabled = false;
}

async function receive() {
  // a basket that the address brings
  const words = asked().getAll("basket");
  if (!words.length) return;
  const said = words.map(brought).filter(Boolean).slice(0, mostHits);
  let found = [];
  try {
    found = said.length ? await looked(said) : [];
  } catch (error) {
    complain(error.message);
    return;
  }
  const there = said.flatMap((one, place) => (found[place].error ? [] : [{ ...found[place], ...one, end_s: Math.min(one.end_s, found[place].end_s) }]))
    .map((one) => entry(one, one.note));
  const gone = words.length - there.length;
  const also = gone ? ` ${counted(gone, "other hit")} of it ${gone === 1 ? "is" : "are"} not there.` : "";
  open();
  const take = (next) => {
    const left = asked();
    left.delete("basket");
    history.replaceState(null, "", left.size ? `?${left}` : location.pathname);
    parts.offer.hidden = true;
    if (next) change(next.slice(0, mostHits));
    parts.head.focus();
    tell(next ? `${counted(there.length, "hit")} came with the address.${also}` : "");
  };
  if (!there.length || !collected().length) {
    take(there);
    return;
  }
  parts.offer.replaceChildren(make("p", {}, `The address brings a basket of ${counted(there.length, "hit")}.${also}`),
    button("Add them to mine", () => take([...collected(), ...there]), { class: "main" }),
    button("Take them instead", () => take(there)), button("Leave them", () => take(null)));
  parts.offer.hidden = false;
  parts.offer.querySelector("button").focus();
}

onChange((quietly) => {
  count();
  if (!quietly && parts?.dialog.open) render();
});
document.body.append(opener);
count();
receive();

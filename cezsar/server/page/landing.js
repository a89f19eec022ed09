// What the page opens on: recent searches, what came last, folders, and pictures to search with.

import { skeletons } from "./cards.js";
import { recent, forget } from "./recent.js";
import { address, element, told } from "./talk.js";
import { counted, folder, named, readable } from "./words.js";

const landing = document.getElementById("landing");

export async function land(signal, lay) {
  // lay makes a card of a video. Throws what told() throws.
  landing.replaceChildren(...searches(), section("Latest", grid(skeletons(8))));
  const { videos, folders, examples } = await told("/overview", { signal });
  if (signal.aborted) return;
  landing.replaceChildren(...searches());
  if (videos.length) landing.append(section("Latest", grid(videos.map(lay))));
  if (folders.length > 1) landing.append(section("Folders", tiles(folders.map(folderTile))));
  if (examples.length > 1) landing.append(section("Find more like one of these", tiles(examples.map(exampleTile), "small")));
}

export function folderTile(one) {
  const query = new URLSearchParams({ view: "browse" });
  if (one.path_bytes) query.set("folder_bytes", one.path_bytes); else query.set("folder", one.path);
  const made = tile(query, one.segment_id, named(one), counted(one.videos, "video"));
  made.title = readable(one.path);
  return made;
}

function exampleTile(one) {
  const made = tile(new URLSearchParams({ like: one.segment_id }), one.segment_id, "", `in ${folder(one)}`);
  made.append(element("span", `: find more like ${named(one)}`, "unseen"));
  made.title = readable(one.path);
  return made;
}

function tile(query, segment, name, more) {
  const made = element("a", "", "tile");
  made.href = `/?${query}`;
  made.dataset.go = "";
  const picture = element("span", "", "picture");
  if (segment !== null) {
    const image = element("img");
    Object.assign(image, { alt: "", loading: "lazy", decoding: "async", width: 480, height: 270 });
    for (const over of ["load", "error"]) image.addEventListener(over, () => picture.classList.add("there"), { once: true });
    image.addEventListener("error", () => image.remove(), { once: true });
    image.src = address(`/segments/${segment}/thumbnail`);
    picture.append(image);
  } else picture.classList.add("there");
  made.append(picture);
  if (name) made.append(element("span", name, "name"));
  made.append(element("span", more, "count"));
  return made;
}

export function tiles(links, size) {
  const list = element("ul", "", `tiles ${size ?? ""}`);
  list.append(...links.map((link) => { const item = element("li"); item.append(link); return item; }));
  return list;
}

function grid(cards) {
  const list = element("ol", "", "row");
  list.append(...cards);
  return list;
}

function section(title, ...content) {
  const made = element("section");
  made.append(element("h2", title), ...content);
  return made;
}

function searches() {
  const kept = recent();
  if (!kept.length) return [];
  const list = element("ul", "", "recent");
  list.setAttribute("aria-label", "Recent searches");
  list.append(...kept.map(({ search, words }) => {
    const item = element("li");
    const link = element("a", words, "again");
    link.href = `/${search}`;
    link.dataset.go = "";
    const button = element("button", "×");
    button.type = "button";
    button.setAttribute("aria-label", `Forget the search: ${words}`);
    button.addEventListener("click", () => {
      forget(search);
      item.remove();
      (list.querySelector("button") ?? document.getElementById("text")).focus();
      if (!list.children.length) list.remove();
    });
    item.append(link, button);
    return item;
  }));
  return [list];
}

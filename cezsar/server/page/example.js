// A picture as an example: pasted, dropped on the page, or chosen.

import { button, make } from "./dom.js";
import { asked } from "./question.js";
import { complain, say, told } from "./talk.js";
import { readable } from "./words.js";

const mostBytes = 10 << 20; // that the server takes
const longSide = 2048; // to which a larger picture is made smaller here
const height = 64; // of what is shown of it

const pictures = new Map(); // what is shown of examples, and the files' names, until the page goes

export function takePictures(go) {
  const file = make("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", "aria-hidden": "true",
    change: () => { search(file.files[0], go); file.value = ""; } });
  document.getElementById("add-then").after(button("Picture…", () => file.click(), { id: "add-picture", class: "quiet",
    title: "Search by a picture; it can be pasted and dropped here too" }), file);
  document.addEventListener("paste", (event) => {
    const found = imageOf(event.clipboardData);
    const isText = event.target.closest?.("input, textarea") && event.clipboardData.types.includes("text/plain");
    if (!found || isText || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    search(found, go);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // or the browser would leave the page for the file
    if (document.querySelector("dialog[open]")) return;
    search(imageOf(event.dataTransfer) ?? event.dataTransfer.files[0], go);
  });
}

function imageOf(transfer) {
  return [...transfer?.files ?? []].find((one) => one.type.startsWith("image/"));
}

async function search(file, go) {
  if (!file) return;
  say("Looking at the picture.");
  try {
    const bitmap = await createImageBitmap(file).catch(() => null); // upright; the server may read what this browser cannot
    const body = file.size > mostBytes && bitmap ? await smaller(bitmap) : file;
    const { example } = await told("/examples", { method: "POST", headers: { "content-type": file.type || "application/octet-stream" }, body });
    pictures.set(example, { name: file.name, canvas: bitmap && drawn(bitmap, Math.min(1, height / bitmap.height)) });
    bitmap?.close();
    go({ example, text: "", like: "", then: [], more: [], less: [] });
  } catch (error) {
    complain(error.message);
  }
}

function drawn(bitmap, scale) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function smaller(bitmap) {
  const canvas = drawn(bitmap, Math.min(1, longSide / Math.max(bitmap.width, bitmap.height)));
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.95); });
}

export function exampleChip(chip, go) {
  // what says that hits are like a picture; none if they are not to be
  const example = asked().get("example");
  if (!example) return [];
  const known = pictures.get(example);
  const made = chip(`like ${known?.name ? readable(known.name) : "a picture"}`, () => go({ example: "" }));
  if (known?.canvas) made.firstElementChild.prepend(known.canvas);
  return [made];
}

export function exampleName(example) {
  // what a command calls the picture: its path is not the browser's to know
  return pictures.get(example)?.name || "picture.jpg";
}

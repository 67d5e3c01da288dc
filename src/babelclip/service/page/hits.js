// The grid of photos: thumbnails come when they are scrolled to; arrow keys move between hits.

import { getFile } from "/page/api.js";
import { find, make, meter } from "/page/elements.js";
import { number, percent, word } from "/page/words.js";

export const nameOf = (hit) => hit.path.split(/[\\/]/).pop();
const addresses = new Set();

export const photoPath = (index, hit, size) => `/v1/indexes/${encodeURIComponent(index)}/photos/${hit.photo}?size=${size}&at_ms=${hit.at_ms ?? 0}`;

async function showThumbnail(image, index, hit) {
  const frame = image.parentElement;
  try {
    if (!hit.photo) throw new Error("no content");
    const address = URL.createObjectURL(await getFile(photoPath(index, hit, "small")));
    addresses.add(address);
    image.src = address;
    image.hidden = false;
  } catch {
    frame.replaceChildren(make("span", {}, word("no-picture")));
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    entry.target.dispatchEvent(new Event("seen"));
  }
}, { rootMargin: "300px" });

export function sureness(hit) {
  if (hit.match) return { text: word(`match-${hit.match}`), share: hit.confidence ?? 0, figure: percent(hit.confidence ?? 0) };
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return { text: word("similarity"), share: hit.score, figure: number(hit.score, digits) };
}

function card(index, hit, open) {
  const sure = sureness(hit);
  const image = make("img", { alt: "", hidden: true });
  const frame = make("span", { className: "frame" }, image);
  const about = make("span", { className: "about" },
    make("span", { className: "name", dir: "auto", title: hit.path }, nameOf(hit)),
    meter(sure.share),
    make("span", { className: "sure" }, make("span", {}, sure.text), make("span", { className: "number" }, sure.figure)));
  const button = make("button", { type: "button", className: `hit ${hit.match ?? ""} ${hit.match === "none" ? "faint" : ""}` }, frame, about);
  button.addEventListener("click", () => open(hit));
  button.addEventListener("seen", () => showThumbnail(image, index, hit));
  seen.observe(button);
  return make("li", {}, button);
}

export function clearHits() {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses.clear();
  find("hits").replaceChildren();
}

export function addHits(index, hits, open) {
  find("hits").append(...hits.map((hit) => card(index, hit, open)));
}

export function startHits() {
  find("hits").addEventListener("keydown", (event) => {
    const all = [...find("hits").querySelectorAll("button.hit")];
    const place = all.indexOf(document.activeElement);
    if (place < 0) return;
    const top = all[0].getBoundingClientRect().top;
    const wide = all.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 2).length;
    const turn = document.documentElement.dir === "rtl" ? -1 : 1;
    const step = { ArrowRight: turn, ArrowLeft: -turn, ArrowDown: wide, ArrowUp: -wide }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, place + step))].focus();
  });
}

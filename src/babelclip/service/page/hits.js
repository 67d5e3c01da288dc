// The grid of photos: thumbnails come when they are scrolled to; arrow keys move between hits.

import { getFile } from "/page/api.js";
import { find, make, meter } from "/page/elements.js";
import { number, percent, word } from "/page/words.js";

export const nameOf = (hit) => hit.path.split(/[\\/]/).pop();
const addresses = new Set();

export function photoFile(index, hit, size) {
  if (!hit.photo) return Promise.reject(new Error("no content"));
  return getFile(`/v1/indexes/${encodeURIComponent(index)}/photos/${hit.photo}?size=${size}&at_ms=${hit.at_ms ?? 0}`);
}

async function showThumbnail(frame, index, hit) {
  try {
    const address = URL.createObjectURL(await photoFile(index, hit, "small"));
    addresses.add(address);
    frame.prepend(make("img", { alt: "", className: "around", src: address }), make("img", { alt: "", src: address }));
  } catch {
    frame.prepend(make("span", { className: "missing" }, word("no-picture")));
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

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

function badges(hit) {
  const alike = hit.alike?.length;
  return [
    alike ? make("span", { className: "badge", ariaHidden: "true", title: word("alike", { count: number(alike) }) }, `+${number(alike)}`) : null,
    hit.at_ms === undefined ? null : make("span", { className: "badge video" }, `▸ ${clock(hit.at_ms)}`),
  ];
}

// For those who hear the page, what others see by its place.
const unseen = (text) => make("span", { className: "unseen" }, text);

function card(index, hit, open) {
  const sure = sureness(hit);
  const frame = make("span", { className: "frame" }, ...badges(hit));
  const about = make("span", { className: "about" },
    make("span", { className: "name", dir: "auto", title: hit.path }, nameOf(hit)),
    unseen(", "), meter(sure.share),
    make("span", { className: "sure" }, make("span", {}, sure.text), unseen(" "), make("span", { className: "number" }, sure.figure)),
    hit.alike?.length ? unseen(`, ${word("alike", { count: number(hit.alike.length) })}`) : null);
  const button = make("button", { type: "button", className: `hit ${hit.match ?? ""} ${hit.match === "none" ? "faint" : ""}` }, frame, about);
  button.addEventListener("click", () => open(hit));
  button.addEventListener("seen", () => showThumbnail(frame, index, hit));
  seen.observe(button);
  return make("li", {}, button);
}

export function clearHits() {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses.clear();
  find("hits").replaceChildren();
}

// Empty places while hits are awaited.
export function awaitHits(count) {
  find("hits").setAttribute("aria-busy", String(count > 0));
  find("hits").querySelectorAll(".awaited").forEach((place) => place.remove());
  find("hits").append(...Array.from({ length: count }, () => make("li", { className: "awaited", ariaHidden: "true" })));
}

export function addHits(index, hits, open) {
  const cards = hits.map((hit) => card(index, hit, open));
  find("hits").append(...cards);
  return cards[0]?.firstChild;
}

export function startHits() {
  find("hits").addEventListener("keydown", (event) => {
    const all = [...find("hits").querySelectorAll("button.hit")];
    const place = all.indexOf(document.activeElement);
    if (place < 0) return;
    const top = all[0].getBoundingClientRect().top;
    const wide = all.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 2).length;
    const turn = document.documentElement.dir === "rtl" ? -1 : 1;
    const step = { ArrowRight: turn, ArrowLeft: -turn, ArrowDown: wide, ArrowUp: -wide, Home: -place, End: all.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, place + step))].focus();
  });
}

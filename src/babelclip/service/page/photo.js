// One photo, large, with its neighbours in the results and a way to more like it.

import { copies } from "/page/copy.js";
import { find, make } from "/page/elements.js";
import { nameOf, photoFile, sureness } from "/page/hits.js";
import { number, word } from "/page/words.js";

const dialog = find("photo-dialog");
let hits = [];
let index = "";
let place = 0;
let blob = null;
let leaving = false;

async function show() {
  const hit = hits[place];
  const sure = sureness(hit);
  const image = find("photo-large");
  blob = null;
  image.removeAttribute("src");
  image.alt = nameOf(hit);
  find("photo-name").textContent = hit.path;
  find("photo-facts").textContent = word("facts", { rank: hit.rank, sure: `${sure.text} ${sure.figure}` });
  showAlike(hit.alike ?? []);
  find("photo-before").disabled = place === 0;
  find("photo-after").disabled = place === hits.length - 1;
  find("photo-similar").disabled = true;
  try {
    const found = await photoFile(index, hit, "large");
    if (hits[place] !== hit) return;
    blob = found;
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
    find("photo-similar").disabled = false;
  } catch {
    find("photo-facts").textContent = word("no-picture");
  }
}

function showAlike(alike) {
  const place = find("photo-alike");
  place.hidden = !alike.length;
  place.open = false;
  place.querySelector("summary").textContent = word("alike", { count: number(alike.length) });
  place.querySelector("ul").replaceChildren(...alike.map((one) => make("li", {}, one.path)));
}

export function openPhoto(ofIndex, all, hit) {
  [index, hits, place] = [ofIndex, all, all.indexOf(hit)];
  dialog.showModal();
  return show();
}

function step(by) {
  if (hits[place + by] === undefined) return;
  place += by;
  show();
}

export function startPhoto(similar) {
  find("photo-close").addEventListener("click", () => dialog.close());
  find("photo-before").addEventListener("click", () => step(-1));
  find("photo-after").addEventListener("click", () => step(1));
  // Back to the photo that was looked at last, unless others take its place.
  dialog.addEventListener("close", () => {
    if (!leaving) find("hits").querySelectorAll("button.hit")[place]?.focus();
    leaving = false;
  });
  find("photo-similar").addEventListener("click", () => {
    leaving = true;
    dialog.close();
    similar(new File([blob], nameOf(hits[place]), { type: "image/jpeg" }));
  });
  copies(find("photo-copy"), () => hits[place].path, "copy-path");
  dialog.addEventListener("keydown", (event) => {
    const turn = document.documentElement.dir === "rtl" ? -1 : 1;
    if (event.key === "ArrowRight") step(turn);
    if (event.key === "ArrowLeft") step(-turn);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

// The tab Compare: texts and pictures -> the cosine of each with each, as a heat map.

import { model, post } from "/page/api.js";
import { find, make, say } from "/page/elements.js";
import { Pictures } from "/page/pictures.js";
import { number, word } from "/page/words.js";

const MOST = 40;
const DEEPEST = 42; // per cent of the accent colour: deeper, the figures could not be read
export const comparePictures = new Pictures("compare-pictures", "compare", { several: true });

const dot = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0);
const two = { minimumFractionDigits: 2, maximumFractionDigits: 2 };

// Texts are far from pictures in such models, so each kind of pair is coloured by its own range.
function ranges(rows) {
  const found = {};
  rows.forEach((a, i) => rows.forEach((b, j) => {
    if (i === j) return;
    const kind = [a.kind, b.kind].sort().join();
    const value = dot(a.vector, b.vector);
    const [low, high] = found[kind] ?? [value, value];
    found[kind] = [Math.min(low, value), Math.max(high, value)];
  }));
  return found;
}

function cell(a, b, range) {
  const value = dot(a.vector, b.vector);
  if (a === b) return make("td", { className: "self" }, number(1, two));
  const [low, high] = range[[a.kind, b.kind].sort().join()];
  const share = high > low ? (value - low) / (high - low) : 0.5;
  const made = make("td", { title: `${a.name} × ${b.name}` }, number(Math.round(value * 100) / 100 || 0, two));
  made.style.background = `color-mix(in srgb, var(--tint), var(--accent) ${Math.round(share * DEEPEST)}%)`;
  return made;
}

function heading(row, scope) {
  const inside = row.uri ? make("img", { src: row.uri, alt: row.name }) : row.name;
  return make("th", { scope, dir: "auto", title: row.name }, inside);
}

function draw(rows) {
  const range = ranges(rows);
  const head = make("tr", {}, make("td"), ...rows.map((row) => heading(row, "col")));
  const body = rows.map((a) => make("tr", {}, heading(a, "row"), ...rows.map((b) => cell(a, b, range))));
  find("matrix").replaceChildren(make("table", { className: "heat" }, make("thead", {}, head), make("tbody", {}, ...body)));
}

async function compare() {
  await comparePictures.ready;
  const texts = find("texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const rows = [
    ...texts.map((text) => ({ kind: "text", name: text })),
    ...comparePictures.all.map((picture) => ({ kind: "picture", name: picture.name || word("picture"), uri: picture.uri })),
  ];
  if (rows.length < 2 || rows.length > MOST) {
    say("compare-status", word(rows.length < 2 ? "need-two" : "too-many", { count: MOST }), true);
    return;
  }
  say("compare-status", word("working"));
  try {
    const input = rows.map((row) => (row.uri ? { image: row.uri } : row.name));
    const reply = await post("/v1/embeddings", { model: await model(), input });
    draw(rows.map((row, place) => ({ ...row, vector: reply.data[place].embedding })));
    say("compare-status", word("cosines"));
  } catch (error) {
    say("compare-status", error.message, true);
  }
}

export function startCompare() {
  find("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
}

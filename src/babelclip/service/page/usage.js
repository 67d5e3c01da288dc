// The tab Usage: what was used and spent, by day and model.

import { get, getFile } from "/page/api.js";
import { bars } from "/page/chart.js";
import { find, make, say } from "/page/elements.js";
import { dollars, language, number, word } from "/page/words.js";

const DAY_MS = 86_400_000;
const VALUES = {
  cost: (row) => Number(row.cost_dollars), requests: (row) => row.requests, tokens: (row) => row.tokens, images: (row) => row.images,
};
const iso = (time) => new Date(time).toISOString().slice(0, 10);
const first = () => iso(Date.now() - (Number(find("period").value) - 1) * DAY_MS);
const shown = (measure, value) => (measure === "cost" ? dollars(value) : number(value));
const sum = (rows, measure) => rows.reduce((total, row) => total + VALUES[measure](row), 0);

function daysOf(rows, measure) {
  const format = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
  const start = Date.parse(first());
  return Array.from({ length: Number(find("period").value) }, (_, place) => {
    const time = start + place * DAY_MS;
    const value = sum(rows.filter((row) => row.day === iso(time)), measure);
    return { name: iso(time), short: format.format(time), value };
  });
}

function table(rows) {
  const head = ["day", "model", "cost", "requests", "tokens", "images"];
  const cells = (row) => [row.day, row.model, shown("cost", VALUES.cost(row)), number(row.requests), number(row.tokens), number(row.images)];
  return make("table", { className: "plain" },
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, word(name))))),
    make("tbody", {}, ...[...rows].reverse().map((row) => make("tr", {}, ...cells(row).map((text) => make("td", {}, text))))));
}

let known = null;

function draw() {
  const measure = find("measure").value;
  find("totals").replaceChildren(...Object.keys(VALUES).map((name) =>
    make("div", {}, make("dt", {}, word(name)), make("dd", {}, shown(name, sum(known, name))))));
  find("chart").replaceChildren(bars(daysOf(known, measure), (value) => shown(measure, value), word("chart", { what: word(measure) }), find("chart").clientWidth));
  find("usage-table").replaceChildren(known.length ? table(known) : "");
  say("usage-status", known.length ? "" : word("no-usage"));
}

async function refresh() {
  try {
    known = (await get(`/v1/usage?by=day,model&since=${first()}`)).data;
    draw();
  } catch (error) {
    say("usage-status", error.message, true);
  }
}

async function download() {
  try {
    const address = URL.createObjectURL(await getFile(`/v1/usage?by=day,model&since=${first()}&format=csv`));
    make("a", { href: address, download: "usage.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  } catch (error) {
    say("usage-status", error.message, true);
  }
}

export function startUsage() {
  find("usage-form").addEventListener("change", refresh);
  find("export").addEventListener("click", download);
  window.addEventListener("resize", () => known && !find("panel-usage").hidden && draw());
  const whenOpen = () => find("panel-usage").hidden || refresh();
  for (const event of ["tab", "key", "language"]) document.addEventListener(event, whenOpen);
}

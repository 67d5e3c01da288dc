// The tab Search: words, a picture or both -> a grid of photos.

import { get, post, takes } from "/page/api.js";
import { find, make, say } from "/page/elements.js";
import { whereOf } from "/page/filters.js";
import { addHits, clearHits } from "/page/hits.js";
import { openPhoto } from "/page/photo.js";
import { Pictures } from "/page/pictures.js";
import { number, word } from "/page/words.js";

const ORDER = { none: 0, weak: 1, likely: 2, strong: 3 };
let all = [];
let asked = null;
let turn = 0;

export const searchPictures = new Pictures("search-picture", "search", { changed: () => searchPictures.all.length && search() });

function queryOf() {
  const text = find("query").value.trim();
  const parts = [...(text ? [{ text }] : []), ...searchPictures.all.map((picture) => ({ image: picture.uri }))];
  return parts.length > 1 ? parts : text || parts[0];
}

const IDEAS = ["ein Hund am Strand", "un gâteau d’anniversaire", "غروب الشمس", "पीला फूल", "雪山", "cat sleeping", "красная машина"];

function showIdeas() {
  find("ideas").replaceChildren(...IDEAS.map((text) => {
    const button = make("button", { type: "button", dir: "auto" }, text);
    button.addEventListener("click", () => {
      find("query").value = text;
      search();
    });
    return make("li", {}, button);
  }));
}

async function search() {
  const query = queryOf();
  if (query === undefined) {
    find("query").focus();
    return;
  }
  const where = whereOf();
  asked = { query, index: find("index").value || undefined, k: Number(find("count").value), page: 1 };
  if (where && (await takes("SearchRequest", "where"))) asked.where = where;
  clearHits();
  all = [];
  find("ideas").hidden = true;
  find("search-notice").hidden = true;
  await fetchMore();
}

async function fetchMore() {
  const mine = ++turn;
  find("more").hidden = true;
  say("search-status", word("searching"));
  let reply;
  try {
    reply = await post("/v1/search", asked);
  } catch (error) {
    if (mine === turn) say("search-status", error.message, true);
    return;
  }
  if (mine !== turn) return;
  const rated = reply.data.some((hit) => hit.match);
  find("minimum").parentElement.hidden = !rated;
  const least = rated ? ORDER[find("minimum").value] ?? 0 : 0;
  const shown = reply.data.filter((hit) => !hit.match || ORDER[hit.match] >= least);
  all.push(...shown);
  addHits(reply.index, shown, (hit) => openPhoto(reply.index, all, hit));
  say("search-status", all.length ? word("found", { count: number(all.length), index: reply.index }) : word("nothing"));
  const none = asked.page === 1 && reply.data.length > 0 && reply.data.every((hit) => hit.match === "none");
  if (none) {
    find("search-notice").replaceChildren(make("strong", {}, word("no-match")), word("no-match-text"));
    find("search-notice").hidden = false;
  }
  asked = { ...asked, page: asked.page + 1 };
  find("more").hidden = reply.data.length < asked.k || shown.length < reply.data.length;
}

async function readIndexes() {
  const indexes = (await get("/v1/indexes")).data;
  find("index").replaceChildren(...indexes.map((one) => make("option", { value: one.id }, `${one.id} (${number(one.photos)})`)));
  find("index-field").hidden = indexes.length < 2;
  if (!indexes.length) say("search-status", word("no-index"));
  else if (!all.length) say("search-status", word("photos", { count: number(indexes.reduce((sum, one) => sum + one.photos, 0)) }));
  const filtered = await takes("SearchRequest", "where");
  for (const field of document.querySelectorAll("[data-where]")) field.hidden = !filtered;
}

export function similarTo(file) {
  find("query").value = "";
  return searchPictures.take([file]);
}

export function startSearch() {
  showIdeas();
  find("minimum").parentElement.hidden = true;
  find("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  find("filters").addEventListener("change", () => asked && search());
  find("more").addEventListener("click", fetchMore);
  document.addEventListener("key", () => readIndexes().catch((error) => say("search-status", error.message, true)));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select") || find("panel-search").hidden) return;
    event.preventDefault();
    find("query").focus();
  });
}

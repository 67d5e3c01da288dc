// The tab Search: words, a picture or both -> a grid of photos.

import { get, post } from "/page/api.js";
import { find, make, say } from "/page/elements.js";
import { leftOut, startFilters, whereOf } from "/page/filters.js";
import { addHits, awaitHits, clearHits } from "/page/hits.js";
import { openPhoto } from "/page/photo.js";
import { Pictures } from "/page/pictures.js";
import { number, word } from "/page/words.js";

const DIVERSITY = 0.4;
const ORDER = { none: 0, weak: 1, likely: 2, strong: 3 };
let all = [];
let asked = null;
let turn = 0;
let refused = false; // for want of a key; asked again once there is one

export const searchPictures = new Pictures("search-picture", "search", { changed: () => searchPictures.all.length && search() });

function queryOf() {
  const text = find("query").value.trim();
  const wanted = [...(text ? [{ text }] : []), ...searchPictures.all.map((picture) => ({ image: picture.uri }))];
  if (!wanted.length) return undefined;
  const parts = [...wanted, ...leftOut()];
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
  asked = {
    query, index: find("index").value || undefined, k: Number(find("count").value), page: 1, where: whereOf() || undefined,
    grouped: find("grouped").checked || undefined, diversity: find("varied").checked ? DIVERSITY : undefined,
  };
  refused = false;
  clearHits();
  awaitHits(Math.min(asked.k, 12));
  all = [];
  find("panel-search").classList.remove("fresh");
  find("search-notice").hidden = true;
  await fetchMore();
}

async function fetchMore() {
  const mine = ++turn;
  const button = find("more");
  const focused = document.activeElement === button;
  button.hidden = true;
  say("search-status", word("searching"));
  let reply;
  try {
    reply = await post("/v1/search", asked);
  } catch (error) {
    if (mine !== turn) return;
    awaitHits(0);
    refused = error.status === 401;
    button.hidden = asked.page === 1;
    say("search-status", error.message, true);
    return;
  }
  if (mine !== turn) return;
  awaitHits(0);
  const rated = reply.data.some((hit) => hit.match);
  find("minimum").parentElement.hidden = reply.data.length > 0 && !rated;
  const least = rated ? ORDER[find("minimum").value] ?? 0 : 0;
  const shown = reply.data.filter((hit) => !hit.match || ORDER[hit.match] >= least);
  const first = addHits(reply.index, shown, (hit) => openPhoto(reply.index, all, hit));
  all.push(...shown);
  if (focused) first?.focus();
  sayFound(reply, shown);
  button.hidden = reply.data.length < asked.k || shown.length < reply.data.length;
  asked = { ...asked, page: asked.page + 1 };
}

function sayFound(reply, shown) {
  const several = find("index").options.length > 1;
  const said = { count: number(all.length), index: reply.index };
  say("search-status", all.length ? word(several ? "found-in" : "found", said) : word("nothing"));
  const [title, text] = !reply.data.length && asked.page === 1 ? ["nothing", "nothing-text"]
    : reply.data.length && !shown.length && !all.length ? ["no-match", "no-match-hidden"]
    : asked.page === 1 && reply.data.length && reply.data.every((hit) => hit.match === "none") ? ["no-match", "no-match-text"] : [];
  if (!title) return;
  find("search-notice").replaceChildren(make("strong", {}, word(title)), word(text));
  find("search-notice").hidden = false;
  if (!all.length) say("search-status", "");
}

async function readIndexes() {
  const indexes = (await get("/v1/indexes")).data;
  find("index").replaceChildren(...indexes.map((one) => make("option", { value: one.id }, `${one.id} (${number(one.photos)})`)));
  find("index-field").hidden = indexes.length < 2;
  if (!indexes.length) say("search-status", word("no-index"));
  else if (!all.length) say("search-status", word("photos", { count: number(indexes.reduce((sum, one) => sum + one.photos, 0)) }));
}

export function similarTo(file) {
  find("query").value = "";
  find("query").focus();
  return searchPictures.take([file]);
}

export function startSearch() {
  showIdeas();
  startFilters(() => asked && search());
  find("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  find("more").addEventListener("click", fetchMore);
  document.addEventListener("key", async () => {
    try {
      await readIndexes();
      if (refused) await search();
    } catch (error) {
      say("search-status", error.message, true);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select") || find("panel-search").hidden) return;
    event.preventDefault();
    find("query").focus();
  });
}

// What the interface says, in the reader's language. Each language is a file; English stands in for what one lacks.

import { find, make } from "/page/elements.js";

export const LANGUAGES = {
  en: "English", de: "Deutsch", fr: "Français", es: "Español", ar: "العربية", hi: "हिन्दी", ja: "日本語", zh: "中文",
};
const RIGHT_TO_LEFT = new Set(["ar"]);
let words = {};
let english = {};
export let language = "en";

const load = async (code) => (await fetch(`/page/words-${code}.json`)).json();

export function word(name, values = {}) {
  const text = words[name] ?? english[name] ?? name;
  // In lines from right to left what is put in keeps its own direction, and signs stay where they belong.
  const [open, close] = RIGHT_TO_LEFT.has(language) ? ["\u2068", "\u2069"] : ["", ""];
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? `${open}${values[key]}${close}` : whole));
}

export const number = (value, options = {}) => new Intl.NumberFormat(language, options).format(value);
export const percent = (share) => number(share, { style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0 });
// Isolated, so that the sign stays before the figures in lines from right to left.
export const dollars = (amount) => `\u2066$${number(amount, { minimumFractionDigits: 2, maximumFractionDigits: 9 })}\u2069`;

function apply() {
  document.documentElement.lang = language;
  document.documentElement.dir = RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr";
  for (const element of document.querySelectorAll("[data-words]")) element.textContent = word(element.dataset.words);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", word(element.dataset.label));
    if (element.tagName === "BUTTON") element.title = word(element.dataset.label);
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = word(element.dataset.hint);
}

export async function speak(code) {
  language = code in LANGUAGES ? code : "en";
  english = Object.keys(english).length ? english : await load("en");
  words = language === "en" ? english : await load(language);
  localStorage.setItem("language", language);
  apply();
  document.dispatchEvent(new Event("language"));
}

export async function startWords() {
  const choice = find("language");
  for (const [code, name] of Object.entries(LANGUAGES)) choice.append(make("option", { value: code, lang: code }, name));
  const wished = [localStorage.getItem("language"), ...navigator.languages.map((tag) => tag.split("-")[0]), "en"];
  await speak(wished.find((code) => code in LANGUAGES));
  choice.value = language;
  choice.addEventListener("change", () => speak(choice.value));
}

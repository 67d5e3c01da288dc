// The filters of the form: what the service reads (folder:"holiday" AND date>=2024-01-01), and words to leave out.

import { find } from "/page/elements.js";
import { number } from "/page/words.js";

const FIELDS = ["without", "minimum", "since", "until", "folder", "tag", "camera", "shape", "kind"];
const AWAY = -0.5; // enough to lead away from what the word shows, and not away from what is asked for
const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&")}"`;
const value = (id) => find(id).value.trim();

export function whereOf() {
  return [
    value("folder") && `folder:${quoted(value("folder"))}`,
    value("since") && `date>=${value("since")}`,
    value("until") && `date<=${value("until")}`,
    value("tag") && `tag:${quoted(value("tag"))}`,
    value("camera") && `camera:${quoted(value("camera"))}`,
    value("shape") && `orientation:${value("shape")}`,
    value("kind") && `kind:${value("kind")}`,
  ].filter(Boolean).join(" AND ");
}

export const leftOut = () =>
  value("without").split(/[,،、，]/).map((text) => text.trim()).filter(Boolean).map((text) => ({ text, weight: AWAY }));

function count() {
  const used = FIELDS.filter(value).length;
  find("filters-count").textContent = number(used);
  find("filters-count").hidden = !used;
  find("filters-clear").disabled = !used;
}

export function startFilters(changed) {
  const opener = find("filters-open");
  opener.addEventListener("click", () => {
    const open = (find("filters").hidden = !find("filters").hidden);
    opener.setAttribute("aria-expanded", String(!open));
  });
  for (const id of [...FIELDS, "count", "index", "grouped", "varied"]) {
    find(id).addEventListener("change", () => {
      count();
      changed();
    });
  }
  find("filters-clear").addEventListener("click", () => {
    for (const id of FIELDS) find(id).value = "";
    count();
    find("without").focus();
    changed();
  });
  document.addEventListener("language", count);
  count();
}

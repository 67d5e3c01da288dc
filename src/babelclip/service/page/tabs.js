// Tabs, by pointer, by arrow keys and by the address (#compare).

import { find } from "/page/elements.js";

const NAMES = ["search", "classify", "compare", "usage", "api"];
export let openTab = "search";

export function show(name, { focus = false } = {}) {
  openTab = NAMES.includes(name) ? name : "search";
  for (const one of NAMES) {
    const tab = find(`tab-${one}`);
    const chosen = one === openTab;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    find(`panel-${one}`).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  history.replaceState(null, "", `#${openTab}`);
  document.dispatchEvent(new CustomEvent("tab", { detail: openTab }));
}

export function startTabs() {
  const list = find("tabs");
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) show(tab.id.replace("tab-", ""));
  });
  list.addEventListener("keydown", (event) => {
    const forward = document.documentElement.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const step = { [forward]: 1, [backward]: -1 }[event.key];
    const place = NAMES.indexOf(openTab);
    const next = event.key === "Home" ? 0 : event.key === "End" ? NAMES.length - 1 : step && (place + step + NAMES.length) % NAMES.length;
    if (next === undefined) return;
    event.preventDefault();
    show(NAMES[next], { focus: true });
  });
  window.addEventListener("hashchange", () => show(location.hash.slice(1)));
  show(location.hash.slice(1));
}

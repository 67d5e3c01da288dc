// A button that copies a text, and says so for a moment.

import { word } from "/page/words.js";

export function copies(button, text, name) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = word("copied");
    setTimeout(() => { button.textContent = word(name); }, 1500);
  });
}

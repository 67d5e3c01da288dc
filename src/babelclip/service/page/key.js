// The dialog that asks for the key.

import { get, getKey, setKey } from "/page/api.js";
import { find } from "/page/elements.js";

export function askForKey() {
  const dialog = find("key-dialog");
  if (dialog.open) return;
  find("key-value").value = getKey();
  dialog.showModal();
  find("key-value").focus();
}

export function startKey() {
  const dialog = find("key-dialog");
  find("key").addEventListener("click", askForKey);
  document.addEventListener("key-needed", askForKey);
  find("key-forget").addEventListener("click", () => {
    setKey("");
    find("key-value").value = "";
    dialog.close();
  });
  find("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const before = getKey();
    setKey(find("key-value").value.trim());
    try {
      await get("/v1/models");
      find("key-error").textContent = "";
      dialog.close();
      document.dispatchEvent(new Event("key"));
    } catch (error) {
      setKey(before);
      find("key-error").textContent = error.message;
    }
  });
  if (!getKey()) askForKey();
}

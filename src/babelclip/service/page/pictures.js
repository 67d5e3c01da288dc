// Pictures that the reader gives: chosen, dropped or pasted. They are made small before they leave the browser, which
// also leaves behind place, camera and other metadata. What the browser cannot open is sent as it is.

import { find, make } from "/page/elements.js";
import { word } from "/page/words.js";

const MOST_PIXELS = 896;
const QUALITY = 0.92;

const asDataUri = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return { name: file.name ?? "", uri: await asDataUri(file) };
  }
  const share = Math.min(1, MOST_PIXELS / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", { width: Math.max(1, bitmap.width * share), height: Math.max(1, bitmap.height * share) });
  const ink = canvas.getContext("2d");
  ink.fillStyle = "white";
  ink.fillRect(0, 0, canvas.width, canvas.height);
  ink.imageSmoothingQuality = "high";
  ink.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return { name: file.name ?? "", uri: canvas.toDataURL("image/jpeg", QUALITY) };
}

// A place for pictures: one, or several. `changed` is called after each change.
export class Pictures {
  constructor(listId, name, { several = false, changed = () => {} } = {}) {
    this.list = find(listId);
    this.several = several;
    this.changed = changed;
    this.all = [];
    this.ready = Promise.resolve();
    const input = find(`${name}-file`);
    input.addEventListener("change", async () => {
      await this.take(input.files);
      input.value = "";
    });
    find(`${name}-pick`).addEventListener("click", () => input.click());
  }

  take(files) {
    this.ready = this.read([...files]);
    return this.ready;
  }

  async read(files) {
    const pictures = files.filter((file) => file.type.startsWith("image/") || /\.(hei[cf]|avif|tiff?)$/i.test(file.name));
    const read = await Promise.all((this.several ? pictures : pictures.slice(0, 1)).map(readPicture));
    if (read.length) this.set(this.several ? [...this.all, ...read] : read);
  }

  set(pictures) {
    this.all = pictures;
    this.list.replaceChildren(...pictures.map((picture) => {
      const remove = make("button", { type: "button", ariaLabel: word("remove", { name: picture.name }) }, "✕");
      remove.addEventListener("click", () => this.set(this.all.filter((one) => one !== picture)));
      return make("div", { className: "chip" }, make("img", { src: picture.uri, alt: picture.name || word("picture") }), remove);
    }));
    this.changed();
  }
}

const filesOf = (transfer) => [...(transfer?.files ?? [])];

// What is dropped anywhere or pasted goes to the pictures of the open tab.
export function startDropping(current) {
  let depth = 0;
  const lit = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragenter", () => lit(++depth > 0));
  document.addEventListener("dragleave", () => lit(--depth > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    lit((depth = 0) > 0);
    current()?.take(filesOf(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData);
    if (files.length) current()?.take(files);
  });
}

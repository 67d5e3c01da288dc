// Requests to the service. The key stays in sessionStorage: this tab alone, until it is closed.

import { find } from "/page/elements.js";
import { dollars, word } from "/page/words.js";

export const getKey = () => sessionStorage.getItem("key") ?? "";
export const setKey = (key) => (key ? sessionStorage.setItem("key", key) : sessionStorage.removeItem("key"));
export let lastRequest = null;

export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(method, path, body) {
  const headers = getKey() ? { authorization: `Bearer ${getKey()}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ServiceError(0, word("no-service"));
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    if (answer.status === 401) document.dispatchEvent(new Event("key-needed"));
    throw new ServiceError(answer.status, said?.error?.message ?? `${answer.status} ${answer.statusText}`);
  }
  return answer;
}

export async function get(path) {
  return (await send("GET", path)).json();
}

export async function getFile(path) {
  return (await send("GET", path)).blob();
}

export async function post(path, body) {
  lastRequest = { path, body };
  const answer = await send("POST", path, body);
  const cost = answer.headers.get("x-cost-usd");
  find("last-cost").textContent = cost === null ? "" : "· " + word("last-cost", {
    cost: dollars(Number(cost)), time: answer.headers.get("x-processing-ms") ?? "?",
  });
  return answer.json();
}

export async function model() {
  const models = (await get("/v1/models")).data;
  return (models.find((one) => one.modalities.includes("image")) ?? models[0]).id;
}

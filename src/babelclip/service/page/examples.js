// The tab API: the last request of the page as curl, Python and JavaScript. Pictures are shortened; the key is not shown.

import { lastRequest } from "/page/api.js";
import { copies } from "/page/copy.js";
import { find, make } from "/page/elements.js";
import { word } from "/page/words.js";

const DEFAULT = { path: "/v1/search", body: { query: "ein Hund am Strand", k: 10 } };
const PICTURE = /^data:image\/[a-z+.-]+;base64,.*/s;

const shortened = (value) => JSON.parse(JSON.stringify(value, (_, inner) =>
  (typeof inner === "string" && PICTURE.test(inner) ? "data:image/jpeg;base64,..." : inner)));

const SHORT = 90;

const python = (value, indent = "") => {
  const flat = JSON.stringify(value, null, 1)?.replace(/\n\s*/g, " ").replace(/([[{]) | ([\]}])/g, "$1$2");
  if (indent && flat.length < SHORT && !/true|false|null/.test(flat)) return flat;
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (value === true || value === false) return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map((one) => python(one, inner)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const items = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${python(one, inner)},\n`);
  return `{\n${items.join("")}${indent}}`;
};

function codes({ path, body }) {
  const url = `${location.origin}${path}`;
  const json = JSON.stringify(body);
  const pretty = JSON.stringify(body, null, 2);
  return {
    curl: `curl ${url} \\\n  -H "Authorization: Bearer $KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${json.replaceAll("'", "'\\''")}'`,
    Python: `import os, requests\n\nanswer = requests.post(\n    "${url}",\n    headers={"Authorization": f"Bearer {os.environ['KEY']}"},\n    json=${python(body, "    ")},\n)\nanswer.raise_for_status()\nprint(answer.json())`,
    JavaScript: `const answer = await fetch("${url}", {\n  method: "POST",\n  headers: { "Authorization": \`Bearer \${process.env.KEY}\`, "Content-Type": "application/json" },\n  body: JSON.stringify(${pretty.replaceAll("\n", "\n  ")}),\n});\nconsole.log(await answer.json());`,
  };
}

function block(name, code) {
  const copy = make("button", { type: "button", className: "quiet", ariaLabel: word("copy-of", { name }) }, word("copy"));
  copies(copy, () => code, "copy");
  return make("div", { className: "code" }, make("div", { className: "top" }, make("h2", {}, name), copy),
    make("pre", { tabIndex: 0 }, make("code", {}, code)));
}

export function startExamples() {
  const draw = () => {
    const request = lastRequest ? { ...lastRequest, body: shortened(lastRequest.body) } : DEFAULT;
    find("api-code").replaceChildren(...Object.entries(codes(request)).map(([name, code]) => block(name, code)));
  };
  for (const event of ["tab", "language"]) document.addEventListener(event, draw);
}

// The tab Classify: a picture and labels in any language -> bars.

import { model, post } from "/page/api.js";
import { find, make, meter, say } from "/page/elements.js";
import { Pictures } from "/page/pictures.js";
import { percent, word } from "/page/words.js";

const ABSTAIN = 0.5; // none of these, where that is likelier than not
export const classifyPictures = new Pictures("classify-picture", "classify", { changed: forget });

// What was said of another picture does not stay beside this one.
function forget() {
  find("bars").replaceChildren();
  say("classify-status", "");
}

function bar(label, share, kind) {
  return make("li", { className: kind },
    make("span", { dir: "auto" }, label), make("span", { className: "number" }, percent(share)), meter(share));
}

async function classify() {
  await classifyPictures.ready;
  const labels = [...new Set(find("labels").value.split("\n").map((line) => line.trim()).filter(Boolean))];
  if (!classifyPictures.all.length || !labels.length) {
    say("classify-status", word("need-both"), true);
    return;
  }
  find("bars").replaceChildren();
  say("classify-status", word("working"));
  try {
    const reply = await post("/v1/classify", {
      model: await model(), images: [classifyPictures.all[0].uri], labels, top: labels.length,
      ...(find("multi").checked ? { multi: true } : { abstain: ABSTAIN }),
    });
    const row = reply.data[0];
    const held = new Set([row.label, ...row.holding.map((one) => one.label)]);
    const bars = row.ranked.map((one) => bar(one.label, one.score, held.has(one.label) ? "best" : ""));
    if (row.none !== undefined && row.none !== null) bars.push(bar(word("none-of-these"), row.none, row.label === null ? "best none" : "none"));
    find("bars").replaceChildren(...bars);
    say("classify-status", row.label === null && !row.holding.length ? word("fits-none") : word("best", { label: row.label ?? row.holding[0].label }));
  } catch (error) {
    say("classify-status", error.message, true);
  }
}

export function startClassify() {
  find("classify-form").addEventListener("submit", (event) => {
    event.preventDefault();
    classify();
  });
}

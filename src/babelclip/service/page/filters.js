// The filters of the form, as the service writes them: folder:"holiday" AND date>=2024-01-01.

import { find } from "/page/elements.js";

const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&")}"`;

export function whereOf() {
  const value = (id) => find(id).value.trim();
  return [
    value("folder") && `folder:${quoted(value("folder"))}`,
    value("since") && `date>=${value("since")}`,
    value("until") && `date<=${value("until")}`,
    value("tag") && `tag:${quoted(value("tag"))}`,
    value("shape") && `orientation:${value("shape")}`,
  ].filter(Boolean).join(" AND ");
}

// A bar for each day, as SVG as wide as its place, so that its words are as large as others.

import { drawing } from "/page/elements.js";

const HEIGHT = 260, BOTTOM = 28, TOP = 14, NARROWEST = 280, LETTER = 7, GAP = 12, DATE = 76;

function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most) ?? most;
}

function write(text, attributes) {
  const made = drawing("text", attributes);
  made.textContent = text;
  return made;
}

export function bars(days, show, label, room) {
  const width = Math.max(NARROWEST, room);
  const most = nice(Math.max(...days.map((day) => day.value), 0));
  const marks = most ? [0, 0.5, 1] : [0];
  const left = Math.max(...marks.map((share) => show(most * share).length)) * LETTER + GAP;
  const high = HEIGHT - BOTTOM - TOP;
  const wide = (width - left) / days.length;
  const parts = marks.flatMap((share) => {
    const y = TOP + high * (1 - share);
    return [drawing("line", { x1: left, x2: width, y1: y, y2: y }),
      write(show(most * share), { x: left - GAP / 2, y: y + 4, "text-anchor": "end" })];
  });
  const every = Math.ceil(DATE / wide);
  days.forEach((day, place) => {
    const tall = most ? Math.max((day.value / most) * high, day.value ? 2 : 0) : 0;
    const title = drawing("title");
    title.textContent = `${day.name}: ${show(day.value)}`;
    parts.push(drawing("rect", { class: "day", x: left + place * wide + wide * 0.12, y: TOP + high - tall, width: wide * 0.76, height: tall, rx: 2 }, title));
    // Counted from today, the last one, whose date stands at the edge.
    if ((days.length - 1 - place) % every === 0 && (place + 0.5) * wide > DATE / 3) {
      const last = place === days.length - 1;
      parts.push(write(day.short, { x: last ? width : left + (place + 0.5) * wide, y: HEIGHT - 8, "text-anchor": last ? "end" : "middle" }));
    }
  });
  return drawing("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label }, ...parts);
}

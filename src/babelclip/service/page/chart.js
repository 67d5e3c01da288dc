// A bar for each day, as SVG.

import { drawing } from "/page/elements.js";

const WIDTH = 900, HEIGHT = 260, LEFT = 84, BOTTOM = 28, TOP = 14;

function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most) ?? most;
}

export function bars(days, show, label) {
  const most = nice(Math.max(...days.map((day) => day.value), 0));
  const high = HEIGHT - BOTTOM - TOP;
  const wide = (WIDTH - LEFT) / days.length;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const y = TOP + high * (1 - share);
    parts.push(drawing("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y }));
    const text = drawing("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" });
    text.textContent = show(most * share);
    parts.push(text);
  }
  days.forEach((day, place) => {
    const tall = most ? (day.value / most) * high : 0;
    const title = drawing("title");
    title.textContent = `${day.name}: ${show(day.value)}`;
    parts.push(drawing("rect", {
      class: "day", x: LEFT + place * wide + wide * 0.12, y: TOP + high - tall, width: wide * 0.76, height: Math.max(tall, day.value ? 1 : 0), rx: 2,
    }, title));
    if (place % Math.ceil(days.length / 8) === 0) {
      const text = drawing("text", { x: LEFT + (place + 0.5) * wide, y: HEIGHT - 8, "text-anchor": "middle" });
      text.textContent = day.short;
      parts.push(text);
    }
  });
  return drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...parts);
}

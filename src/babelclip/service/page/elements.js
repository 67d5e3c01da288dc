// Making and finding elements. Text goes in as text, never as HTML.

export const find = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function drawing(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function meter(share) {
  const filled = make("span");
  filled.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("span", { className: "meter", ariaHidden: "true" }, filled);
}

export function say(id, text, wrong = false) {
  const place = find(id);
  place.textContent = text;
  place.classList.toggle("error", wrong);
}

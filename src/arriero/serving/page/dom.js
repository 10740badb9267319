// Making elements. What anybody says becomes text nodes and attributes, never markup.

/** An element; attributes that begin with "on" are listeners, false ones are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** One of the drawings at the top of index.html. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows only a drawing; its label is read out and appears on hovering. */
export function iconButton(name, label, onclick, attributes = {}) {
  return make(
    "button",
    { type: "button", class: "quiet", "aria-label": label, title: label, onclick, ...attributes },
    icon(name),
  );
}

/** Puts text on the clipboard; says whether that worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that come over plain http from another machine have no such clipboard.
    const area = make("textarea", { class: "unseen-label" });
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const isDone = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return isDone;
  }
}

/** A button that copies what `text()` gives, and says so for a moment. */
export function copyButton(label, text, announce) {
  const button = iconButton("copy", label, async () => {
    const isDone = await copyText(text());
    announce(isDone ? "Copied" : "The browser did not let this page copy");
    if (!isDone) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** An identifier that no other tab will draw. */
export function newId() {
  // Not randomUUID: browsers withhold it from plain http.
  const numbers = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(numbers, (number) => (number % 36).toString(36)).join("");
}

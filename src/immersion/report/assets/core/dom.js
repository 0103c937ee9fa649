// Building elements. Text always goes in as text: no string ever becomes markup.

function byId(id) {
  return document.getElementById(id);
}

/**
 * A new element. `options`: `class`, `text`, `attributes` (null and false leave one out),
 * `on` (listeners by event). `children`: nodes or strings; null ones are left out.
 */
function element(tag, options = {}, children = []) {
  const node = document.createElement(tag);
  if (options.class) node.className = options.class;
  if (options.text !== undefined) node.textContent = options.text;
  for (const [name, value] of Object.entries(options.attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const [event, listener] of Object.entries(options.on ?? {})) {
    node.addEventListener(event, listener);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A name that comes from the user's data: isolated, so that right-to-left text stays inside. */
function name(text, className) {
  return element("bdi", { text, class: className, attributes: { title: text } });
}

function button(text, onClick, options = {}) {
  return element("button", {
    ...options,
    text,
    attributes: { type: "button", ...options.attributes },
    on: { click: onClick, ...options.on },
  });
}

/** A small filled disc in a class's colour. */
function swatch(colour) {
  const disc = element("i", { class: "swatch", attributes: { "aria-hidden": "true" } });
  disc.style.backgroundColor = colour;
  return disc;
}

/** Puts the focus back on the control with the same `data-key` after `rebuild` replaced it. */
function keepingFocus(container, rebuild) {
  const held = container.contains(document.activeElement)
    ? document.activeElement.dataset.key
    : undefined;
  rebuild();
  if (held === undefined) return;
  const again = [...container.querySelectorAll("[data-key]")].find(
    (node) => node.dataset.key === held,
  );
  again?.focus({ preventScroll: true });
}

function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// The two languages of the page and the switch between them.

class Language {
  /** `messages`: catalogue by language code. `wanted`: "auto", "en" or "zh". */
  constructor(messages, wanted) {
    this.messages = messages;
    const browser = (navigator.language ?? "en").toLowerCase().startsWith("zh") ? "zh" : "en";
    this.code = wanted === "auto" ? browser : wanted;
    this.listeners = [];
  }

  /** The label `key` with its `{fields}` filled; `key.one` is used for a count of one. */
  say(key, fields = {}) {
    const catalogue = this.messages[this.code];
    const singular = fields.count === 1 ? catalogue[`${key}.one`] : undefined;
    const sentence = singular ?? catalogue[key];
    if (sentence === undefined) throw new Error(`no message ${key}`);
    return sentence.replace(/\{(\w+)\}/g, (_, field) => {
      const value = fields[field];
      return typeof value === "number" ? this.number(value) : String(value);
    });
  }

  /** The half of a [English, Chinese] pair that the reader reads; no line ends at a "±". */
  pick(pair) {
    return pair[this.code === "zh" ? 1 : 0].replaceAll(" ± ", "\u00a0±\u00a0");
  }

  number(value, options) {
    return value.toLocaleString(this.code === "zh" ? "zh-CN" : "en", options);
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  set(code) {
    this.code = code;
    this.apply();
    for (const listener of this.listeners) listener();
  }

  /** Fills every static label of the page. */
  apply() {
    document.documentElement.lang = this.code === "zh" ? "zh-CN" : "en";
    for (const node of document.querySelectorAll("[data-text]")) {
      node.textContent = this.say(node.dataset.text);
    }
    for (const node of document.querySelectorAll("[data-label]")) {
      node.setAttribute("aria-label", this.say(node.dataset.label));
      if (node.tagName === "BUTTON") node.title = this.say(node.dataset.label);
    }
    for (const node of document.querySelectorAll("[data-placeholder]")) {
      node.placeholder = this.say(node.dataset.placeholder);
    }
  }
}

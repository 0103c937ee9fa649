// The classes and their colours; pressing one selects its samples in every map.

class Legend {
  constructor({ model, state, language, palette }) {
    Object.assign(this, { model, state, language, palette });
    this.container = byId("legend");
    this.chosen = null;
    this.counts = new Uint32Array(model.classes.length);
    this.wrong = 0;
    for (let row = 0; row < model.n; row++) {
      if (model.labels !== null) this.counts[model.labels[row]]++;
      if (model.isWrong(row)) this.wrong++;
    }
    state.on("selection", () => this.mark());
  }

  /** Selects the samples of class `label`. */
  selectClass(label) {
    const { model, state, language } = this;
    state.selectWhere(
      (row) => model.labels[row] === label,
      () => language.say("page.selection.class", { name: model.className(label) }),
    );
    this.choose(label);
  }

  /** Selects the samples that the model gets wrong. */
  selectWrong() {
    const { model, state, language } = this;
    state.selectWhere(
      (row) => model.isWrong(row),
      () => language.say("page.selection.wrong"),
    );
    this.choose("wrong");
  }

  choose(entry) {
    this.chosen = entry;
    this.markPressed();
  }

  mark() {
    this.chosen = null;
    this.markPressed();
  }

  markPressed() {
    for (const node of this.container.querySelectorAll("[data-key]")) {
      node.setAttribute("aria-pressed", String(node.dataset.key === `class-${this.chosen}`));
    }
  }

  render() {
    keepingFocus(this.container, () => this.build());
    this.markPressed();
  }

  build() {
    const { model, language, palette } = this;
    if (model.labels === null) {
      this.container.replaceChildren(
        element("p", { class: "caption", text: language.say("page.legend.none") }),
      );
      return;
    }
    const entries = model.classes.map((label, index) =>
      this.entry(index, [swatch(palette.css(index)), name(label, "legend-name")], this.counts[index]),
    );
    if (model.predictions !== null) {
      const ring = element("i", { class: "swatch ring", attributes: { "aria-hidden": "true" } });
      const words = element("span", { class: "legend-name", text: language.say("page.legend.wrong") });
      entries.push(this.entry("wrong", [ring, words], this.wrong));
    }
    const cycled = model.classes.length > palette.length;
    this.container.replaceChildren(
      element("h3", { text: language.say("page.legend.title") }),
      element("div", { class: "legend" }, entries),
      cycled
        ? element("p", {
            class: "caption",
            text: language.say("page.legend.cycled", { count: palette.length }),
          })
        : "",
    );
  }

  entry(key, children, count) {
    const choose = () => {
      if (this.chosen === key) this.state.clear();
      else if (key === "wrong") this.selectWrong();
      else this.selectClass(key);
    };
    return element(
      "button",
      {
        class: "legend-entry",
        attributes: { type: "button", "data-key": `class-${key}` },
        on: { click: choose },
      },
      [...children, element("span", { class: "legend-count", text: this.language.number(count) })],
    );
  }
}

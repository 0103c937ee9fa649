// What is selected: how many, from where, of which classes, what they look like, their ids.

const CLASSES_SHOWN = 8;
const PICTURES_SHOWN = 60;

class SelectionPanel {
  constructor({ model, state, language, palette, pictures, announceCount }) {
    Object.assign(this, { model, state, language, palette, pictures, announceCount });
    this.container = byId("selection");
    state.on("selection", () => {
      this.render();
      this.announceCount();
    });
  }

  /** The count in one phrase: "43 of 5,000 samples". */
  sentence() {
    return this.language.say("page.selection.count", {
      count: this.state.count,
      total: this.model.n,
    });
  }

  render() {
    keepingFocus(this.container, () => this.build());
  }

  build() {
    const { state, language } = this;
    if (state.count === 0) {
      this.container.replaceChildren(
        element("h3", { text: language.say("page.selection.title") }),
        element("p", { class: "caption", text: language.say("page.selection.empty") }),
      );
      return;
    }
    const ids = () => this.state.rows.map((row) => this.model.idOf(row));
    this.container.replaceChildren(
      element("h3", { text: language.say("page.selection.title") }),
      element("p", { class: "selection-count", text: this.sentence() }),
      element("p", { class: "selection-source" }, [element("bdi", { text: state.source() })]),
      ...this.histogram(),
      ...this.gallery(),
      exportButtons(language, "immersion-selection.txt", ids),
      button(language.say("page.selection.clear"), () => state.clear(), {
        class: "quiet",
        attributes: { "data-key": "clear" },
      }),
    );
  }

  histogram() {
    const { model, language, palette } = this;
    if (model.labels === null) return [];
    const counts = new Map();
    for (const row of this.state.rows) {
      const label = model.labels[row];
      counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    const ranked = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const most = ranked[0][1];
    const bars = ranked.slice(0, CLASSES_SHOWN).map(([label, count]) => {
      const bar = element("i", { class: "bar", attributes: { "aria-hidden": "true" } });
      bar.style.width = `${(100 * count) / most}%`;
      bar.style.backgroundColor = palette.css(label);
      return element("li", {}, [
        name(model.className(label) ?? language.say("page.sample.unknown"), "bar-name"),
        element("span", { class: "bar-track" }, [bar]),
        element("span", { class: "bar-count", text: language.number(count) }),
      ]);
    });
    const rest = ranked.length - CLASSES_SHOWN;
    return [
      element("ul", { class: "bars" }, bars),
      rest > 0
        ? element("p", {
            class: "caption",
            text: language.say("page.selection.otherClasses", { count: rest }),
          })
        : "",
    ];
  }

  gallery() {
    const { state, language, pictures, model } = this;
    if (pictures.about === null) return [];
    const pictured = state.rows.filter((row) => pictures.has(row));
    const shown = pictured.slice(0, PICTURES_SHOWN);
    const scale = Math.max(1, Math.floor(36 / pictures.about.width));
    const thumbnails = shown.map((row) => {
      const label = language.say("page.sample.id", { id: model.idOf(row) });
      return element(
        "button",
        {
          class: "thumbnail",
          attributes: { type: "button", title: label, "data-key": `picture-${row}` },
          on: {
            click: () => state.pin(row),
            pointerenter: () => state.hover(row),
            pointerleave: () => state.hover(-1),
          },
        },
        [pictures.picture(row, scale, label)],
      );
    });
    if (shown.length === state.count) return [element("div", { class: "gallery" }, thumbnails)];
    return [
      element("div", { class: "gallery" }, thumbnails),
      element("p", {
        class: "caption",
        text: language.say("page.selection.pictures", { shown: shown.length, total: state.count }),
      }),
    ];
  }
}

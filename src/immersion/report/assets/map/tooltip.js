// The card beside the sample in focus: its picture, id, class and prediction.

class Tooltip {
  constructor({ model, scene, language, pictures, palette }) {
    Object.assign(this, { model, scene, language, pictures, palette });
    this.node = byId("tooltip");
    this.row = -1;
  }

  /** Shows the card of `row` beside stage point (x, y); hides it for row -1. */
  show(row, x, y, stage) {
    this.node.hidden = row < 0;
    if (row < 0) {
      this.row = -1;
      return;
    }
    if (row !== this.row) this.fill(row);
    const gap = 14;
    const { offsetWidth: width, offsetHeight: height } = this.node;
    const left = x + gap + width < stage.width ? x + gap : Math.max(4, x - gap - width);
    const top = Math.min(Math.max(4, y - height / 2), Math.max(4, stage.height - height - 4));
    this.node.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  fill(row) {
    this.row = row;
    const { model, language } = this;
    const scale = this.pictures.about === null ? 1 : Math.max(1, Math.round(84 / this.pictures.about.width));
    this.node.replaceChildren(
      ...[this.pictures.picture(row, scale, "")].filter((node) => node !== null),
      element("div", { class: "tooltip-lines" }, [
        element("p", { class: "tooltip-id", text: `#${model.idOf(row)}` }),
        this.line("page.sample.class", model.labels, row),
        this.line("page.sample.prediction", model.predictions, row),
        model.isWrong(row)
          ? element("p", { class: "tooltip-wrong", text: language.say("page.sample.wrong") })
          : null,
      ]),
    );
  }

  line(key, labels, row) {
    if (labels === null) return null;
    const label = labels[row];
    const shown = this.model.className(label) ?? this.language.say("page.sample.unknown");
    return element("p", { class: "tooltip-line" }, [
      element("span", { class: "tooltip-key", text: this.language.say(key) }),
      swatch(this.palette.css(label)),
      name(shown),
    ]);
  }

  /** The card in one sentence, for a screen reader. */
  sentence(row) {
    const { model, language } = this;
    const parts = [language.say("page.sample.id", { id: model.idOf(row) })];
    for (const [key, labels] of [
      ["page.sample.class", model.labels],
      ["page.sample.prediction", model.predictions],
    ]) {
      if (labels === null) continue;
      const shown = model.className(labels[row]) ?? language.say("page.sample.unknown");
      parts.push(`${language.say(key)}: ${shown}`);
    }
    return parts.join(", ");
  }

  forget() {
    this.row = -1;
  }
}

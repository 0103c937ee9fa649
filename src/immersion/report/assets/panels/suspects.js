// The table of suspicious samples: sortable, paged, its rows part of the page's one selection.

const PAGE_ROWS = 20;

class Suspects {
  constructor({ model, state, language, palette, pictures }, actions) {
    Object.assign(this, { model, state, language, palette, pictures, actions });
    this.container = byId("suspects-body");
    this.sort = { column: "score", descending: true };
    this.page = 0;
    this.onlySelected = false;
    this.paged = true;
    state.on("selection", () => (this.onlySelected ? this.render() : this.mark()));
  }

  columns() {
    const { model, language } = this;
    const className = (label) => model.classes[label] ?? String(label);
    const collator = new Intl.Collator(language.code, { numeric: true });
    const byName = (key) => (a, b) => collator.compare(className(a[key]), className(b[key]));
    const ids = (suspect) => model.ids[suspect.sample];
    return [
      { key: "id", compare: (a, b) => (ids(a) < ids(b) ? -1 : ids(a) > ids(b) ? 1 : 0) },
      { key: "label", compare: byName("label") },
      { key: "suggested", compare: byName("suggested") },
      { key: "score", compare: (a, b) => (a.score ?? -Infinity) - (b.score ?? -Infinity) },
      {
        key: "why",
        compare: (a, b) => collator.compare(language.pick(a.why), language.pick(b.why)),
      },
    ];
  }

  /** The rows in the order and with the filter that the reader chose. */
  ranked() {
    const { compare } = this.columns().find((column) => column.key === this.sort.column);
    const sign = this.sort.descending ? -1 : 1;
    return this.model.suspects
      .filter((suspect) => !this.onlySelected || this.state.mask[suspect.sample])
      .map((suspect, place) => ({ suspect, place }))
      .sort((a, b) => sign * compare(a.suspect, b.suspect) || a.place - b.place)
      .map(({ suspect }) => suspect);
  }

  render() {
    keepingFocus(this.container, () => this.build());
  }

  /** On paper there are no pages to turn: all rows stand in the table while it prints. */
  setPaged(paged) {
    this.paged = paged;
    this.render();
  }

  /** Shows which of the rows on this page are selected. */
  mark() {
    for (const row of this.container.querySelectorAll("tr[data-sample]")) {
      const selected = this.state.mask[row.dataset.sample] === 1;
      row.className = selected ? "selected" : "";
      row.querySelector("input").checked = selected;
    }
  }

  build() {
    const { language, model } = this;
    const ranked = this.ranked();
    const pages = Math.max(1, Math.ceil(ranked.length / PAGE_ROWS));
    this.page = Math.min(this.page, pages - 1);
    const first = this.page * PAGE_ROWS;
    const shown = this.paged ? ranked.slice(first, first + PAGE_ROWS) : ranked;
    const ids = () => this.ranked().map((suspect) => model.idOf(suspect.sample));
    this.container.replaceChildren(
      this.toolbar(ranked),
      element("div", { class: "scroll" }, [
        element("table", { class: "suspects" }, [
          element("caption", { class: "visually-hidden", text: language.say("page.suspects.title") }),
          element("thead", {}, [this.head()]),
          element("tbody", {}, shown.map((suspect) => this.row(suspect))),
        ]),
      ]),
      ranked.length === 0
        ? element("p", { class: "caption", text: language.say("page.suspects.noneSelected") })
        : "",
      element("div", { class: "table-foot" }, [
        pages > 1 ? this.pager(pages, ranked.length) : null,
        exportButtons(language, "immersion-suspects.txt", ids),
      ]),
    );
    this.mark();
  }

  toolbar(ranked) {
    const { language, state } = this;
    const only = element("input", {
      attributes: { type: "checkbox", "data-key": "only-selected" },
      on: {
        change: (event) => {
          this.onlySelected = event.target.checked;
          this.page = 0;
          this.render();
        },
      },
    });
    only.checked = this.onlySelected;
    const highlight = () =>
      state.select(
        ranked.map((suspect) => suspect.sample),
        () => language.say("page.selection.suspects"),
      );
    return element("div", { class: "table-tools" }, [
      button(language.say("page.suspects.highlight", { count: ranked.length }), highlight, {
        attributes: { "data-key": "highlight", disabled: ranked.length === 0 },
      }),
      element("label", { class: "check" }, [only, language.say("page.suspects.onlySelected")]),
    ]);
  }

  head() {
    const { language, sort } = this;
    const sortable = this.columns().map(({ key }) => {
      const active = sort.column === key;
      const direction = active ? (sort.descending ? "descending" : "ascending") : null;
      const control = element(
        "button",
        {
          class: "sort",
          attributes: { type: "button", "data-key": `sort-${key}` },
          on: { click: () => this.sortBy(key) },
        },
        [
          language.say(`page.suspects.${key}`),
          element("span", {
            class: "sort-mark",
            text: active ? (sort.descending ? "↓" : "↑") : "",
            attributes: { "aria-hidden": "true" },
          }),
        ],
      );
      return element("th", { class: key, attributes: { scope: "col", "aria-sort": direction } }, [
        control,
      ]);
    });
    const hiddenHead = (key) =>
      element("th", { attributes: { scope: "col" } }, [
        element("span", { class: "visually-hidden", text: language.say(key) }),
      ]);
    return element("tr", {}, [
      hiddenHead("page.suspects.select"),
      this.pictures.about === null ? null : hiddenHead("page.suspects.picture"),
      ...sortable,
    ]);
  }

  sortBy(key) {
    const again = this.sort.column === key;
    this.sort = { column: key, descending: again ? !this.sort.descending : key === "score" };
    this.page = 0;
    this.render();
  }

  row(suspect) {
    const { language, model, state, pictures, palette } = this;
    const { sample } = suspect;
    const id = model.idOf(sample);
    const check = element("input", {
      attributes: {
        type: "checkbox",
        "aria-label": language.say("page.suspects.selectOne", { id }),
        "data-key": `row-${sample}`,
      },
      on: {
        change: () => state.toggle(sample, () => language.say("page.selection.rows")),
      },
    });
    const scale = pictures.about === null ? 1 : Math.max(1, Math.round(44 / pictures.about.width));
    const label = language.say("page.sample.id", { id });
    const className = (value) => [
      swatch(palette.css(value < 0 ? NO_CLASS : value)),
      name(model.classes[value] ?? String(value), "cell-name"),
    ];
    return element(
      "tr",
      {
        attributes: { "data-sample": sample },
        on: {
          pointerenter: () => state.hover(sample),
          pointerleave: () => state.hover(-1),
        },
      },
      [
        element("td", { class: "check-cell" }, [check]),
        pictures.about === null
          ? null
          : element("td", { class: "picture-cell" }, [pictures.picture(sample, scale, label)]),
        element("td", { class: "id" }, [
          button(`#${id}`, () => this.actions.showSample(sample), {
            class: "link",
            attributes: {
              "data-key": `show-${sample}`,
              title: language.say("page.suspects.showOne"),
            },
          }),
        ]),
        element("td", { class: "label" }, className(suspect.label)),
        element("td", { class: "suggested" }, className(suspect.suggested)),
        element("td", { class: "score", text: formatScore(language, suspect.score) }),
        element("td", { class: "why" }, [element("bdi", { text: language.pick(suspect.why) })]),
      ],
    );
  }

  pager(pages, total) {
    const { language } = this;
    const turn = (by) => {
      this.page += by;
      this.render();
    };
    const first = this.page * PAGE_ROWS + 1;
    const last = Math.min(total, first + PAGE_ROWS - 1);
    return element("div", { class: "pager" }, [
      button("‹", () => turn(-1), {
        class: "icon",
        attributes: {
          "data-key": "page-previous",
          disabled: this.page === 0,
          "aria-label": language.say("page.suspects.previous"),
        },
      }),
      element("span", { text: language.say("page.suspects.range", { first, last, total }) }),
      button("›", () => turn(1), {
        class: "icon",
        attributes: {
          "data-key": "page-next",
          disabled: this.page === pages - 1,
          "aria-label": language.say("page.suspects.next"),
        },
      }),
    ]);
  }
}

/** Scores are compared down the column, so all have the same decimals. */
function formatScore(language, score) {
  if (score === null) return "–";
  return language
    .number(score, { minimumFractionDigits: 3, maximumFractionDigits: 3 })
    .replace("-", "−");
}

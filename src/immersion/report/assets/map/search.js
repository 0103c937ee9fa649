// The search box: "#123" is a sample, "wrong" the model's errors, anything else a class.

const WRONG_WORDS = new Set(["wrong", "error", "errors", "错误", "误分", "错分"]);

class Search {
  constructor({ model, state, language, legend, announce }) {
    Object.assign(this, { model, state, language, legend, announce });
    this.box = byId("search-box");
    this.answerNode = byId("search-answer");
    this.answer = () => "";
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(this.box.value);
    });
    this.box.addEventListener("input", () => {
      if (this.box.value === "") this.run("");
    });
    const offered = model.labels === null ? [] : model.classes.slice(0, 1000);
    byId("search-classes").append(
      ...offered.map((label) => element("option", { attributes: { value: label } })),
    );
  }

  render() {
    this.answerNode.textContent = this.answer();
  }

  reply(key, fields) {
    this.answer = () => this.language.say(key, fields);
    this.render();
  }

  run(entered) {
    const query = entered.trim();
    this.answer = () => "";
    this.render();
    if (query === "") {
      this.state.clear();
      return;
    }
    const id = /^#\s*(-?\d+)$/.exec(query);
    if (id !== null) this.sample(id[1]);
    else if (WRONG_WORDS.has(query.toLowerCase())) this.wrong();
    else this.classes(query);
  }

  sample(id) {
    let row = 0;
    while (row < this.model.n && this.model.idOf(row) !== String(BigInt(id))) row++;
    if (row === this.model.n) {
      this.reply("page.search.noSample", { id });
      return;
    }
    this.state.select([row], () => this.language.say("page.selection.sample", { id }));
    this.state.pin(row);
    this.announce(row);
  }

  wrong() {
    if (this.legend.wrong > 0) this.legend.selectWrong();
    else this.reply("page.search.noneWrong");
  }

  /** The class of that name, else every class whose name contains the query. */
  classes(query) {
    const { model, state, language } = this;
    const wanted = query.toLowerCase();
    const exact = model.classes.findIndex((label) => label.toLowerCase() === wanted);
    if (exact >= 0 && model.labels !== null) {
      this.legend.selectClass(exact);
      return;
    }
    const found = new Set();
    model.classes.forEach((label, index) => {
      if (label.toLowerCase().includes(wanted)) found.add(index);
    });
    if (found.size === 0 || model.labels === null) {
      this.reply("page.search.nothing", { query });
      return;
    }
    state.selectWhere(
      (row) => found.has(model.labels[row]),
      () => language.say("page.selection.search", { query }),
    );
  }
}

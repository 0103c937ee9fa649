// Every check with its verdict, so that a reader sees what was looked for where nothing was found.

class Checks {
  constructor({ model, language }) {
    Object.assign(this, { model, language });
    byId("checks").hidden = model.checks.length === 0;
  }

  render() {
    byId("checks-list").replaceChildren(...this.model.checks.map((check) => this.item(check)));
  }

  item({ verdict, name: named, says }) {
    const { language } = this;
    return element("li", { class: "check-row" }, [
      element("p", { class: `verdict ${verdict}` }, [
        element("i", { class: "verdict-mark", attributes: { "aria-hidden": "true" } }),
        element("span", { text: language.say(VERDICTS[verdict]) }),
      ]),
      element("h3", { text: language.pick(named) }),
      element("p", { class: "check-says", text: language.pick(says) }),
    ]);
  }
}

const VERDICTS = {
  found: "page.checks.found",
  clear: "page.checks.clear",
  undecided: "page.checks.undecided",
  inapplicable: "page.checks.inapplicable",
};

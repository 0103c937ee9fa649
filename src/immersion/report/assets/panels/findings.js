// The findings in words, worst first as the audit ranked them.

const FINDINGS_SHOWN = 7;
const FACTS_UNDER_WORDS = 2; // more of them take the width of the advice too

class Findings {
  /** `actions`: {showSamples(finding), goToLayer(layer)}. */
  constructor({ model, language }, actions) {
    Object.assign(this, { model, language, actions });
    this.container = byId("findings-body");
    this.mapped = new Set(model.maps.map((map) => map.layer));
  }

  render() {
    const open = this.container.querySelector("details")?.open ?? false;
    keepingFocus(this.container, () => this.build(open));
  }

  build(open) {
    const { findings } = this.model;
    if (findings.length === 0) {
      this.container.replaceChildren(
        element("p", { class: "lead calm", text: this.language.say("page.findings.none") }),
      );
      return;
    }
    const items = findings.map((finding, place) => this.item(finding, place));
    const rest = items.slice(FINDINGS_SHOWN);
    const list = (part, start) =>
      element("ol", { class: "findings", attributes: { start } }, part);
    const shown = [list(items.slice(0, FINDINGS_SHOWN), 1)];
    if (rest.length > 0) {
      shown.push(
        element("details", { class: "more", attributes: { open } }, [
          element("summary", {
            text: this.language.say("page.findings.more", { count: rest.length }),
          }),
          list(rest, FINDINGS_SHOWN + 1),
        ]),
      );
    }
    this.container.replaceChildren(...shown);
  }

  /** `place` tells the finding's controls apart: several findings may be of one kind. */
  item(finding, place) {
    const { language } = this;
    const severity = element("p", { class: `severity ${finding.severity}` }, [
      element("i", { class: "severity-mark", attributes: { "aria-hidden": "true" } }),
      element("span", { text: language.say(`page.severity.${finding.severity}`) }),
    ]);
    const words = element("div", { class: "finding-words" }, [
      element("h3", { text: language.pick(finding.title) }),
      element("p", { text: language.pick(finding.body) }),
    ]);
    const { length } = finding.evidence;
    const room = length <= FACTS_UNDER_WORDS ? "evidence few" : "evidence";
    const evidence =
      length > 0 ? element("dl", { class: room }, factList(language, finding.evidence, "fact")) : null;
    const advice = element("div", { class: "finding-advice" }, [
      element("h4", { text: language.say("page.findings.action") }),
      element("p", { text: language.pick(finding.action) }),
      element("div", { class: "actions" }, [
        this.samplesButton(finding, place),
        this.layerButton(finding, place),
      ]),
    ]);
    return element("li", { class: "finding" }, [severity, words, evidence, advice]);
  }

  samplesButton(finding, place) {
    const count = finding.samples.length;
    if (count === 0) return null;
    return button(
      this.language.say("page.findings.samples", { count }),
      () => this.actions.showSamples(finding),
      { attributes: { "data-key": `samples-${place}` } },
    );
  }

  layerButton(finding, place) {
    if (finding.layer === null || !this.mapped.has(finding.layer)) return null;
    const layer = finding.layer;
    return element(
      "button",
      {
        attributes: { type: "button", "data-key": `layer-${place}`, title: layer },
        on: { click: () => this.actions.goToLayer(layer) },
      },
      [`${this.language.say("page.findings.layer")} `, element("bdi", { text: abbreviate(layer, 28) })],
    );
  }
}

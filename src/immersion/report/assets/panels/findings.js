// The findings in words, worst first as the audit ranked them.

const FINDINGS_SHOWN = 7;

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
    const list = (part) =>
      element("ol", { class: "findings" }, part.map((finding) => this.item(finding)));
    const rest = findings.slice(FINDINGS_SHOWN);
    const shown = [list(findings.slice(0, FINDINGS_SHOWN))];
    if (rest.length > 0) {
      shown.push(
        element("details", { class: "more", attributes: { open } }, [
          element("summary", {
            text: this.language.say("page.findings.more", { count: rest.length }),
          }),
          list(rest),
        ]),
      );
    }
    this.container.replaceChildren(...shown);
  }

  item(finding) {
    const { language } = this;
    const severity = element("p", { class: `severity ${finding.severity}` }, [
      element("i", { class: "severity-mark", attributes: { "aria-hidden": "true" } }),
      element("span", { text: language.say(`page.severity.${finding.severity}`) }),
    ]);
    const words = element("div", { class: "finding-words" }, [
      element("h3", { text: language.pick(finding.title) }),
      element("p", { text: language.pick(finding.body) }),
      finding.evidence.length > 0
        ? element("dl", { class: "evidence" }, factList(language, finding.evidence, "fact"))
        : null,
    ]);
    const advice = element("div", { class: "finding-advice" }, [
      element("h4", { text: language.say("page.findings.action") }),
      element("p", { text: language.pick(finding.action) }),
      element("div", { class: "actions" }, [this.samplesButton(finding), this.layerButton(finding)]),
    ]);
    return element("li", { class: "finding" }, [severity, words, advice]);
  }

  samplesButton(finding) {
    const count = finding.samples.length;
    if (count === 0) return null;
    return button(
      this.language.say("page.findings.samples", { count }),
      () => this.actions.showSamples(finding),
      { attributes: { "data-key": `samples-${finding.id}` } },
    );
  }

  layerButton(finding) {
    if (finding.layer === null || !this.mapped.has(finding.layer)) return null;
    const layer = finding.layer;
    return element(
      "button",
      {
        attributes: { type: "button", "data-key": `layer-${finding.id}`, title: layer },
        on: { click: () => this.actions.goToLayer(layer) },
      },
      [`${this.language.say("page.findings.layer")} `, element("bdi", { text: abbreviate(layer, 28) })],
    );
  }
}

// Labelled values: the header's headline, a finding's evidence, the footer.

function factList(language, facts, className) {
  return facts.map((fact) =>
    element("div", { class: className }, [
      element("dt", { text: language.pick(fact.label) }),
      element("dd", {}, [
        element("bdi", { text: language.pick(fact.value) }),
        ...(fact.null === null ? [] : [" ", nullOf(language, fact)]),
      ]),
    ]),
  );
}

/** What the control of `fact` gives. */
function nullOf(language, fact) {
  const value = language.pick(fact.null);
  return element("span", { class: "fact-null", text: language.say("page.evidence.null", { value }) });
}

function renderFacts(model, language) {
  byId("headline").replaceChildren(...factList(language, model.headline, "headline-fact"));
  byId("notes").hidden = model.notes.length === 0;
  byId("notes-list").replaceChildren(
    ...model.notes.map((note) => element("li", { text: language.pick(note) })),
  );
  byId("provenance").hidden = model.provenance.length === 0;
  byId("provenance-list").replaceChildren(...factList(language, model.provenance, "fact"));
}

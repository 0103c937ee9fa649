// A chart's numbers as a table, for those who read numbers or cannot see the chart.

function chartTable(language, layers, curve) {
  const head = element("tr", {}, [
    element("th", { text: language.say("page.curves.layer"), attributes: { scope: "col" } }),
    ...curve.series.map((series) =>
      element("th", { attributes: { scope: "col" } }, [
        element("bdi", { text: language.pick(series.label) }),
      ]),
    ),
  ]);
  const rows = layers.map((layer, index) =>
    element("tr", {}, [
      element("th", { attributes: { scope: "row" } }, [name(layer, "cell-name")]),
      ...curve.series.map((series) =>
        element("td", {
          text: formatMeasured(language, series.values[index], series.stderr[index]),
        }),
      ),
    ]),
  );
  const caption = language.say("page.curves.tableCaption", {
    title: language.pick(curve.title),
    unit: language.pick(curve.unit),
  });
  return element("details", { class: "numbers" }, [
    element("summary", { text: language.say("page.curves.numbers") }),
    element("div", { class: "scroll", attributes: { tabindex: 0, role: "group", "aria-label": caption } }, [
      element("table", {}, [
        element("caption", { text: caption }),
        element("thead", {}, [head]),
        element("tbody", {}, rows),
      ]),
    ]),
  ]);
}

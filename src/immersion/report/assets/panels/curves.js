// One chart a measured quantity, over the layers: lines with error bars, controls dashed grey.

const CHART_HEIGHT = 300;
const MANY_LINES = 8; // beyond this lines are drawn thin and their error bars faint
const FADED = 0.14; // opacity of the other lines while one is emphasised
const INTERVAL = 1.96; // standard errors on either side: a 95% interval of a normal estimate
const AXIS_FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif';

class Chart {
  /** `actions`: {goToLayer(layer)}. */
  constructor({ model, state, language, palette }, curve, actions) {
    Object.assign(this, { model, state, language, palette, curve, actions });
    this.hidden = new Set();
    this.emphasised = null;
    this.plot = null;
    this.node = element("figure", { class: "chart" });
    state.on("map", () => {
      this.plot?.redraw(false);
      this.readAt(null);
    });
  }

  get crowded() {
    return this.curve.series.length > MANY_LINES;
  }

  render() {
    const open = this.node.querySelector("details")?.open ?? false;
    const { language, curve } = this;
    const id = `chart-${curve.id}`;
    this.canvasRoom = element("div", {
      class: "chart-room",
      attributes: { role: "img", "aria-label": this.summary() },
    });
    this.readout = element("p", { class: "readout", attributes: { "aria-hidden": "true" } });
    this.legend = element("div", { class: "chart-legend" });
    const table = chartTable(language, this.model.layers, curve);
    table.open = open;
    const unit = language.pick(curve.unit);
    this.node.setAttribute("data-curve", id);
    keepingFocus(this.node, () => {
      this.node.replaceChildren(
        element("h3", {}, [
          language.pick(curve.title),
          unit === "" ? "" : element("span", { class: "unit", text: unit }),
        ]),
        this.readout,
        this.legend,
        this.canvasRoom,
        element("figcaption", { class: "caption" }, [
          [language.pick(curve.help), ...this.conventions()].join(language.code === "zh" ? "" : " "),
        ]),
        table,
      );
      this.buildLegend();
      this.readAt(null);
    });
    if (this.plot !== null) this.build();
  }

  /** What the marks of this chart mean, one sentence for each kind that it has. */
  conventions() {
    const { series } = this.curve;
    const marks = [
      ["page.curves.logarithmic", this.curve.scale === "log"],
      [
        "page.curves.nonPositive",
        series.some((one) => one.values.some((value) => value !== this.drawable(value))),
      ],
      ["page.curves.bars", series.some((one) => one.stderr.some((error) => error !== null))],
      ["page.curves.controls", series.some((one) => one.kind === "null")],
      ["page.curves.gaps", series.some((one) => one.values.includes(null))],
    ];
    return marks.filter(([, present]) => present).map(([key]) => this.language.say(key));
  }

  summary() {
    const series = this.curve.series.map((one) => this.language.pick(one.label)).join(", ");
    const title = this.language.pick(this.curve.title);
    return this.language.say("page.curves.summary", { title, series });
  }

  colour(index) {
    const series = this.curve.series[index];
    if (series.kind === "null") return this.palette.nullSeries;
    if (series.colour !== null) return this.palette.css(series.colour);
    const before = this.curve.series
      .slice(0, index)
      .filter((one) => one.kind === "measured" && one.colour === null);
    return this.palette.line(before.length);
  }

  /** The lines by name, each with its value at the layer that is read; equal cells, so that
   * nothing moves while the pointer goes from layer to layer. */
  buildLegend() {
    const { curve, language, model } = this;
    this.emphasised = null;
    this.valueNodes = curve.series.map(() =>
      element("span", { class: "series-value", attributes: { "aria-hidden": "true" } }),
    );
    const widest = Math.max(
      ...curve.series.map((series) => {
        const values = model.layers.map((_, at) => this.valueText(series, at).length);
        return textWidth(language.pick(series.label)) + 7.2 * Math.max(...values) + 56;
      }),
    );
    this.legend.style.gridTemplateColumns = `repeat(auto-fill, minmax(min(100%, ${Math.ceil(widest)}px), 1fr))`;
    this.legend.replaceChildren(...curve.series.map((_, index) => this.legendEntry(index)));
  }

  legendEntry(index) {
    const series = this.curve.series[index];
    const line = element("i", { class: `line ${series.kind}`, attributes: { "aria-hidden": "true" } });
    line.style.color = this.colour(index);
    const label = this.language.pick(series.label);
    const leave = () => this.emphasise(null);
    return element(
      "button",
      {
        class: "chart-series",
        attributes: {
          type: "button",
          title: label,
          "data-key": `series-${index}`,
          "aria-pressed": String(!this.hidden.has(index)),
        },
        on: {
          click: (event) => this.toggle(index, event.currentTarget),
          // A finger has no way to hover: it would leave the line emphasised.
          pointerenter: (event) => event.pointerType !== "touch" && this.emphasise(index),
          pointerleave: leave,
          focus: (event) => event.currentTarget.matches(":focus-visible") && this.emphasise(index),
          blur: leave,
        },
      },
      [line, element("bdi", { text: label }), this.valueNodes[index]],
    );
  }

  toggle(index, entry) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    const shown = !this.hidden.has(index);
    entry.setAttribute("aria-pressed", String(shown));
    this.plot?.setSeries(index + 1, { show: shown });
  }

  /** Brings one line forward; `null` brings all back. A hidden line cannot be brought forward. */
  emphasise(index) {
    if (this.curve.series.length < 2 || this.plot === null) return;
    const wanted = index !== null && this.hidden.has(index) ? null : index;
    if (wanted === this.emphasised) return;
    this.emphasised = wanted;
    this.curve.series.forEach((series, at) => {
      const line = this.plot.series[at + 1];
      line.alpha = wanted === null || wanted === at ? 1 : FADED;
      line.width = this.lineWidth(series) + (wanted === at ? 1 : 0);
    });
    this.plot.redraw(false);
  }

  lineWidth(series) {
    return series.kind === "null" || this.crowded ? 1.5 : 2;
  }

  /** A value as it can be drawn: a logarithmic axis has no place for zero and less. */
  drawable(value) {
    return value !== null && (this.curve.scale !== "log" || value > 0) ? value : null;
  }

  /** Builds the plot anew: colours and languages are baked into it. */
  build() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.canvasRoom.clientWidth;
    if (width === 0) return;
    const { layers } = this.model;
    const data = [
      layers.map((_, index) => index),
      ...this.curve.series.map((one) => one.values.map((value) => this.drawable(value))),
    ];
    this.emphasised = null;
    this.plot = new uPlot(this.options(width), data, this.canvasRoom);
  }

  /** Builds the plot when it has a width for the first time, and whenever that changes. */
  resize() {
    const width = this.canvasRoom?.clientWidth ?? 0;
    if (this.plot === null) {
      if (width > 0) this.build();
    } else if (width !== this.plot.width) {
      this.build();
    }
  }

  options(width) {
    const { palette, curve } = this;
    const axis = { stroke: palette.muted, font: AXIS_FONT, ticks: { show: false } };
    const last = this.model.layers.length - 1;
    const log = curve.scale === "log";
    return {
      width,
      height: CHART_HEIGHT,
      padding: [12, 12, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { size: 9 },
      },
      scales: {
        x: { time: false, range: () => [-0.4, last + 0.4] },
        y: { distr: log ? 3 : 1, range: () => this.visibleRange() },
      },
      axes: [
        { ...axis, grid: { show: false }, ...this.layerAxis(width) },
        {
          ...axis,
          grid: { stroke: palette.hairline, width: 1 },
          size: 58,
          ...(log ? { splits: (_, axis, low, high) => logTicks(low, high), filter: (_, ticks) => ticks } : {}),
          values: (_, ticks) => ticks.map((tick) => this.tick(tick)),
        },
      ],
      series: [
        {},
        ...curve.series.map((series, index) => ({
          label: this.language.pick(series.label),
          show: !this.hidden.has(index),
          stroke: this.colour(index),
          width: this.lineWidth(series),
          dash: series.kind === "null" ? [5, 4] : undefined,
          spanGaps: false,
          points: { show: true, size: series.kind === "null" || this.crowded ? 4.5 : 6, fill: this.colour(index) },
        })),
      ],
      hooks: {
        drawClear: [(plot) => this.drawCurrentLayer(plot)],
        draw: [(plot) => this.drawErrors(plot)],
        setCursor: [(plot) => this.readAt(plot.cursor.idx)],
        ready: [
          (plot) => plot.over.addEventListener("click", () => this.choose(plot.cursor.idx)),
        ],
      },
    };
  }

  tick(value) {
    return this.language.number(value, { maximumFractionDigits: 6 }).replace("-", "−");
  }

  /** As many slanted layer names as fit, each short enough to leave room for the chart. */
  layerAxis(width) {
    const { layers } = this.model;
    const names = layers.map((layer) => abbreviate(layer, 14));
    const longest = Math.max(...names.map(textWidth));
    const slanted = longest * layers.length > width - 80;
    const step = slanted ? Math.max(1, Math.ceil((layers.length * 20) / (width - 80))) : 1;
    const places = layers.map((_, index) => index).filter((index) => index % step === 0);
    return {
      splits: () => places,
      values: (_, splits) => splits.map((index) => names[index] ?? ""),
      rotate: slanted ? 40 : 0,
      gap: 8,
      size: slanted ? Math.ceil(longest * 0.64) + 16 : 34,
    };
  }

  /** The range of the visible values with their error bars, and some air. */
  visibleRange() {
    const values = this.curve.series.flatMap((series, index) =>
      this.hidden.has(index)
        ? []
        : series.values.flatMap((value, at) =>
            this.drawable(value) === null ? [] : [[value, INTERVAL * (series.stderr[at] ?? 0)]],
          ),
    );
    return valueRange(values, this.curve.scale);
  }

  drawErrors(plot) {
    const { ctx, bbox } = plot;
    const pixel = plot.pxRatio ?? window.devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = 1.25 * pixel;
    this.curve.series.forEach((series, index) => {
      const others = this.emphasised !== null && this.emphasised !== index;
      if (this.hidden.has(index) || others) return;
      ctx.strokeStyle = this.colour(index);
      ctx.globalAlpha = this.crowded && this.emphasised === null ? 0.4 : 1;
      series.values.forEach((value, at) => {
        const error = series.stderr[at];
        if (this.drawable(value) === null || error === null) return;
        this.drawError(plot, at, value, INTERVAL * error, 3.5 * pixel);
      });
    });
    ctx.restore();
  }

  /** One error bar with its caps; below zero a logarithmic axis goes on for ever, uncapped. */
  drawError({ ctx, bbox, valToPos }, at, value, reach, cap) {
    const x = Math.round(valToPos(at, "x", true));
    const top = valToPos(value + reach, "y", true);
    const open = this.drawable(value - reach) === null;
    const bottom = open ? bbox.top + bbox.height : valToPos(value - reach, "y", true);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, bottom);
    for (const y of open ? [top] : [top, bottom]) {
      ctx.moveTo(x - cap, y);
      ctx.lineTo(x + cap, y);
    }
    ctx.stroke();
  }

  /** A soft band behind the layer whose map is shown. */
  drawCurrentLayer(plot) {
    const layer = this.model.maps[this.state.map]?.layer;
    const at = this.model.layers.indexOf(layer);
    if (at < 0) return;
    const { ctx, bbox } = plot;
    const left = plot.valToPos(at - 0.5, "x", true);
    const right = plot.valToPos(at + 0.5, "x", true);
    const start = Math.max(left, bbox.left);
    ctx.save();
    ctx.fillStyle = `${this.palette.accent}14`;
    ctx.fillRect(start, bbox.top, Math.min(right, bbox.left + bbox.width) - start, bbox.height);
    ctx.restore();
  }

  /** Shows the values at layer `index`; without one, at the layer whose map is shown. */
  readAt(index) {
    const { model, state, curve } = this;
    const mapped = model.layers.indexOf(model.maps[state.map]?.layer);
    const at = index ?? Math.max(0, mapped);
    this.readout.replaceChildren(
      `${this.language.say("page.curves.layer")} `,
      element("bdi", { class: "readout-layer", text: model.layers[at] }),
    );
    this.valueNodes.forEach((node, place) => {
      node.textContent = this.valueText(curve.series[place], at);
    });
  }

  valueText(series, at) {
    const value = series.values[at];
    return value === null ? "–" : formatMeasured(this.language, value, series.stderr[at]);
  }

  choose(index) {
    if (index !== null && index !== undefined) this.actions.goToLayer(this.model.layers[index], false);
  }
}

/** Roughly how wide the axis font sets `text`, in CSS pixels: ideographs are square. */
function textWidth(text) {
  return [...text].reduce((sum, character) => sum + (character > "\u2e80" ? 12 : 6.6), 0);
}

/** All charts of the page. */
class Charts {
  constructor(context, actions) {
    this.charts = context.model.curves.map((curve) => new Chart(context, curve, actions));
    byId("charts").append(...this.charts.map((chart) => chart.node));
  }

  render() {
    for (const chart of this.charts) chart.render();
  }

  resize() {
    for (const chart of this.charts) chart.resize();
  }
}

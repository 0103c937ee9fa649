// One chart a measured quantity, over the layers: lines with error bars, controls dashed grey.

const CHART_HEIGHT = 300;
const INTERVAL = 1.96; // standard errors on either side: a 95% interval of a normal estimate
const AXIS_FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif';

class Chart {
  /** `actions`: {goToLayer(layer)}. */
  constructor({ model, state, language, palette }, curve, actions) {
    Object.assign(this, { model, state, language, palette, curve, actions });
    this.hidden = new Set();
    this.at = null;
    this.plot = null;
    this.node = element("figure", { class: "chart" });
    state.on("map", () => this.plot?.redraw(false));
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
        this.legend,
        this.readout,
        this.canvasRoom,
        element("figcaption", { class: "caption" }, [
          [language.pick(curve.help), ...this.conventions()].join(" "),
        ]),
        table,
      );
      this.buildLegend();
    });
    this.build();
  }

  /** What the marks of this chart mean, one sentence for each kind that it has. */
  conventions() {
    const { series } = this.curve;
    const marks = [
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
    const before = this.curve.series.slice(0, index).filter((one) => one.kind === "measured");
    return this.palette.line(before.length);
  }

  buildLegend() {
    this.legend.replaceChildren(
      ...this.curve.series.map((series, index) => {
        const line = element("i", { class: `line ${series.kind}`, attributes: { "aria-hidden": "true" } });
        line.style.color = this.colour(index);
        const toggle = element(
          "button",
          {
            class: "chart-series",
            attributes: {
              type: "button",
              "data-key": `series-${index}`,
              "aria-pressed": String(!this.hidden.has(index)),
            },
            on: { click: () => this.toggle(index) },
          },
          [line, element("bdi", { text: this.language.pick(series.label) })],
        );
        return toggle;
      }),
    );
  }

  toggle(index) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    keepingFocus(this.legend, () => this.buildLegend());
    this.plot?.setSeries(index + 1, { show: !this.hidden.has(index) });
  }

  /** Builds the plot anew: colours and languages are baked into it. */
  build() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.canvasRoom.clientWidth;
    if (width === 0) return;
    const { layers } = this.model;
    const data = [layers.map((_, index) => index), ...this.curve.series.map((one) => one.values)];
    this.plot = new uPlot(this.options(width), data, this.canvasRoom);
  }

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
        y: { range: (plot) => this.valueRange(plot) },
      },
      axes: [
        { ...axis, grid: { show: false }, ...this.layerAxis(width) },
        {
          ...axis,
          grid: { stroke: palette.hairline, width: 1 },
          size: 58,
          values: (_, ticks) => ticks.map((tick) => this.tick(tick)),
        },
      ],
      series: [
        {},
        ...curve.series.map((series, index) => ({
          label: this.language.pick(series.label),
          show: !this.hidden.has(index),
          stroke: this.colour(index),
          width: series.kind === "null" ? 1.5 : 2,
          dash: series.kind === "null" ? [5, 4] : undefined,
          spanGaps: false,
          points: { show: true, size: series.kind === "null" ? 4 : 6, fill: this.colour(index) },
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
  valueRange(plot) {
    let low = Infinity;
    let high = -Infinity;
    this.curve.series.forEach((series, index) => {
      const shown = plot.series.length === 0 ? !this.hidden.has(index) : plot.series[index + 1]?.show;
      if (!shown) return;
      series.values.forEach((value, at) => {
        if (value === null) return;
        const reach = INTERVAL * (series.stderr[at] ?? 0);
        low = Math.min(low, value - reach);
        high = Math.max(high, value + reach);
      });
    });
    if (low > high) return [0, 1];
    // A quantity that comes near zero is read against zero.
    if (low > 0 && low < 0.35 * high) low = 0;
    const air = 0.06 * (high - low || Math.abs(high) || 1);
    return [low === 0 ? 0 : low - air, high + air];
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
      if (!plot.series[index + 1].show) return;
      ctx.strokeStyle = this.colour(index);
      series.values.forEach((value, at) => {
        const error = series.stderr[at];
        if (value === null || error === null) return;
        const x = Math.round(plot.valToPos(at, "x", true));
        const top = plot.valToPos(value + INTERVAL * error, "y", true);
        const bottom = plot.valToPos(value - INTERVAL * error, "y", true);
        const cap = 3.5 * pixel;
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, bottom);
        for (const y of [top, bottom]) {
          ctx.moveTo(x - cap, y);
          ctx.lineTo(x + cap, y);
        }
        ctx.stroke();
      });
    });
    ctx.restore();
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

  readAt(index) {
    if (index === null || index === undefined) {
      this.readout.replaceChildren();
      return;
    }
    const values = this.curve.series.flatMap((series, at) => {
      if (this.hidden.has(at)) return [];
      const dot = element("i", { class: `line ${series.kind}` });
      dot.style.color = this.colour(at);
      const shown = formatMeasured(this.language, series.values[index], series.stderr[index]);
      return [element("span", { class: "readout-value" }, [dot, shown])];
    });
    this.readout.replaceChildren(
      element("bdi", { class: "readout-layer", text: abbreviate(this.model.layers[index], 60) }),
      ...values,
    );
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

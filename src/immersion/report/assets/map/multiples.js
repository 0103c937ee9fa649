// One small map for every layer, in order; the sample in focus is followed through all of them.

const NARROWEST = 132; // CSS pixels of one map, unless the screen is narrower
const GAP = 14;

class Multiples {
  constructor({ model, state, scene, language, palette }) {
    Object.assign(this, { model, state, scene, language, palette });
    this.container = byId("multiples");
    this.items = model.maps.map((map, index) => this.item(map, index));
    this.container.append(...this.items.map((item) => item.node));
    state.on("selection", () => this.draw());
    state.on("map", () => this.markCurrent());
    state.on("focus", () => this.follow());
    this.markCurrent();
  }

  item(map, index) {
    const canvas = element("canvas", { attributes: { "aria-hidden": "true" } });
    const dot = element("i", { class: "follower", attributes: { "aria-hidden": "true" } });
    dot.hidden = true;
    const frame = element("span", { class: "multiple-frame" }, [canvas, dot]);
    const caption = element("span", { class: "multiple-name" }, [
      element("span", { class: "multiple-index", text: String(index + 1) }),
      name(map.layer),
    ]);
    const node = element(
      "button",
      { class: "multiple", attributes: { type: "button" }, on: { click: () => this.state.showMap(index) } },
      [frame, caption],
    );
    return { node, frame, canvas, dot, renderer: new RasterRenderer(canvas), bounds: null };
  }

  markCurrent() {
    this.items.forEach((item, index) => {
      item.node.setAttribute("aria-pressed", String(index === this.state.map));
    });
  }

  /** Takes the frames' size (all are equal) for the canvases. */
  resize() {
    this.arrange();
    const { clientWidth: width, clientHeight: height } = this.items[0].frame;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (width === 0 || (this.width === width && this.ratio === ratio)) return;
    Object.assign(this, { width, height, ratio });
    for (const { canvas } of this.items) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.draw();
  }

  /** Rows of equal length, as near as the number of layers allows. */
  arrange() {
    const { clientWidth: room } = this.container;
    const least = Math.min(NARROWEST, 0.28 * room);
    const most = Math.max(1, Math.floor((room + GAP) / (least + GAP)));
    const rows = Math.ceil(this.items.length / most);
    const columns = Math.max(Math.ceil(this.items.length / rows), Math.min(most, 6));
    this.container.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  }

  transformOf(index) {
    const item = this.items[index];
    item.bounds ??= boundsOf(this.model.maps[index].xy);
    return fit(item.bounds, this.width, this.height, 7);
  }

  draw() {
    for (let index = 0; index < this.items.length; index++) this.drawOne(index);
  }

  drawOne(index) {
    const { xy } = this.model.maps[index];
    if (xy === null || this.width === undefined) return;
    const transform = this.transformOf(index);
    const scaled = { ...transform, k: transform.k * this.ratio };
    const radius = Math.max(0.6, 0.42 * pointRadius(this.model.n)) * this.ratio;
    this.items[index].renderer.draw(this.scene.of(xy, scaled, radius, { rings: false }));
  }

  follow() {
    const row = this.state.focused;
    this.items.forEach(({ dot }, index) => {
      const { xy } = this.model.maps[index];
      dot.hidden = row < 0 || xy === null || this.width === undefined;
      if (dot.hidden) return;
      const transform = this.transformOf(index);
      const [x, y] = toPixels(transform, this.width, this.height, xy[2 * row], xy[2 * row + 1]);
      dot.style.transform = `translate(${x}px, ${y}px)`;
      dot.style.backgroundColor = this.scene.colourOf(row);
    });
  }
}

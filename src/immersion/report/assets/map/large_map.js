// The large map: one layer, with zoom, hover, pinned sample and the way from layer to layer.

const MORPH_MS = 420;
const MORPH_POINTS = 30000; // beyond this a frame of the raster takes longer than the screen's
const HOVER_REACH = 14; // CSS pixels
const MAX_ZOOM = 60;

class LargeMap {
  constructor({ model, state, scene, tooltip, language, palette }) {
    Object.assign(this, { model, state, scene, tooltip, language, palette });
    this.stage = byId("stage");
    this.overlay = byId("overlay");
    this.size = { width: 0, height: 0 };
    this.zoom = 1;
    this.pan = [0, 0];
    this.pickers = [];
    this.lasso = null;
    this.morph = null;
    this.pending = false;
    this.createRenderer();
    state.on("selection", () => this.draw());
    state.on("focus", () => this.drawOverlay());
  }

  createRenderer() {
    this.renderer = createRenderer(this.stage, () => {
      this.renderer.canvas.remove();
      this.renderer = new RasterRenderer(
        element("canvas", { class: "points", attributes: { "aria-hidden": "true" } }),
      );
      this.stage.prepend(this.renderer.canvas);
      this.resize();
    });
  }

  get xy() {
    return this.model.maps[this.state.map].xy;
  }

  get picker() {
    const index = this.state.map;
    this.pickers[index] ??= new Picker(this.xy);
    return this.pickers[index];
  }

  /** Device pixels a CSS pixel. */
  get ratio() {
    return Math.min(window.devicePixelRatio || 1, this.renderer.maxRatio);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === 0 || height === 0) return;
    this.size = { width, height };
    for (const [canvas, ratio] of [
      [this.renderer.canvas, this.ratio],
      [this.overlay, window.devicePixelRatio || 1],
    ]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.draw();
  }

  /** The transform of a map in CSS pixels, with the reader's zoom and pan. */
  transformOf(xy) {
    const { width, height } = this.size;
    const whole = fit(this.boundsOf(xy), width, height, 26);
    return {
      cx: whole.cx + this.pan[0],
      cy: whole.cy + this.pan[1],
      k: whole.k * this.zoom,
    };
  }

  boundsOf(xy) {
    this.knownBounds ??= new WeakMap();
    if (!this.knownBounds.has(xy)) this.knownBounds.set(xy, boundsOf(xy));
    return this.knownBounds.get(xy);
  }

  pixelsOf(row) {
    const { width, height } = this.size;
    const { xy } = this;
    const [x, y] = [xy[2 * row], xy[2 * row + 1]];
    return toPixels(this.transformOf(xy), width, height, x, y);
  }

  dataAt(px, py) {
    return toData(this.transformOf(this.xy), this.size.width, this.size.height, px, py);
  }

  /** The row at data coordinates (x, y), or -1 where nothing is near. */
  rowAt(x, y) {
    return this.picker.nearest(x, y, HOVER_REACH / this.transformOf(this.xy).k);
  }

  hoverAt(px, py) {
    this.state.hover(this.rowAt(...this.dataAt(px, py)));
  }

  /** Zooms by `factor` with stage point (px, py) held in place (default: the middle). */
  zoomBy(factor, px = this.size.width / 2, py = this.size.height / 2) {
    const before = this.dataAt(px, py);
    this.zoom = Math.min(MAX_ZOOM, Math.max(0.5, this.zoom * factor));
    const after = this.dataAt(px, py);
    this.pan = [this.pan[0] + before[0] - after[0], this.pan[1] + before[1] - after[1]];
    this.viewChanged();
  }

  panBy(dx, dy) {
    const { k } = this.transformOf(this.xy);
    this.pan = [this.pan[0] - dx / k, this.pan[1] + dy / k];
    this.viewChanged();
  }

  reset() {
    this.zoom = 1;
    this.pan = [0, 0];
    this.viewChanged();
  }

  viewChanged() {
    // At rest a finger on the map scrolls the page; zoomed in, it moves the map.
    this.stage.classList.toggle("zoomed", this.zoom !== 1 || this.pan[0] !== 0);
    this.requestDraw();
  }

  requestDraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  /** Shows the state's map; `from` is the map shown before, whose points travel to the new one. */
  show(from = null) {
    this.zoom = 1;
    this.pan = [0, 0];
    this.stage.classList.remove("zoomed");
    this.morph = null;
    const still = from === null || prefersStillness() || this.model.n > MORPH_POINTS;
    if (!still) {
      this.morph = { from, begin: performance.now(), between: new Uint16Array(from.length) };
    }
    this.draw();
  }

  draw() {
    if (this.xy === null || this.size.width === 0) return;
    let { xy } = this;
    let transform = this.transformOf(xy);
    if (this.morph !== null) {
      const passed = (performance.now() - this.morph.begin) / MORPH_MS;
      if (passed >= 1) {
        this.morph = null;
      } else {
        const share = passed < 0.5 ? 4 * passed ** 3 : 1 - (2 - 2 * passed) ** 3 / 2;
        transform = mixTransforms(this.transformOf(this.morph.from), transform, share);
        xy = mixPositions(this.morph.from, xy, share, this.morph.between);
        this.requestDraw();
      }
    }
    const { ratio } = this;
    const growth = Math.min(2.2, this.zoom ** 0.35);
    const radius = pointRadius(this.model.n) * Math.max(0.8, growth) * ratio;
    const scaled = { ...transform, k: transform.k * ratio };
    this.renderer.draw(this.scene.of(xy, scaled, radius));
    this.drawOverlay();
  }

  drawOverlay() {
    if (this.xy === null || this.size.width === 0) return;
    const context = this.overlay.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.size.width, this.size.height);
    this.drawLasso(context);
    const row = this.morph === null ? this.state.focused : -1;
    if (row < 0) {
      this.tooltip.show(-1);
      return;
    }
    const [x, y] = this.pixelsOf(row);
    const radius = pointRadius(this.model.n) + 4;
    for (const [colour, width] of [
      [this.palette.ground, 4.5],
      [this.palette.ink, this.state.pinned ? 2.25 : 1.5],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    this.tooltip.show(row, x, y, this.size);
  }

  drawLasso(context) {
    if (this.lasso === null || this.lasso.length < 2) return;
    context.beginPath();
    for (const [x, y] of this.lasso) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = `${this.palette.accent}22`;
    context.fill();
    context.strokeStyle = this.palette.accent;
    context.lineWidth = 1.5;
    context.stroke();
  }
}

function mixTransforms(a, b, share) {
  const mix = (p, q) => p + (q - p) * share;
  return { cx: mix(a.cx, b.cx), cy: mix(a.cy, b.cy), k: mix(a.k, b.k) };
}

function mixPositions(a, b, share, out) {
  for (let i = 0; i < out.length; i++) out[i] = a[i] + (b[i] - a[i]) * share;
  return out;
}

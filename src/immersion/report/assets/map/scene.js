// What every map draws: the points' colours, marks and emphasis, from the data and the state.

class Scene {
  constructor(model, state, palette) {
    this.model = model;
    this.state = state;
    this.palette = palette;
    this.labelled = model.labels !== null;
    this.slots = new Uint8Array(model.n);
    if (this.labelled) {
      for (let row = 0; row < model.n; row++) this.slots[row] = palette.slot(model.labels[row]);
    }
    this.rings = null;
    if (this.labelled && model.predictions !== null) {
      this.rings = new Uint8Array(model.n);
      for (let row = 0; row < model.n; row++) this.rings[row] = model.isWrong(row) ? 1 : 0;
    }
  }

  colourOf(row) {
    return this.palette.css(this.labelled ? this.model.labels[row] : null);
  }

  /** The scene for a renderer; `radius` in device pixels. */
  of(xy, transform, radius, { rings = true } = {}) {
    const crowd = Math.min(1, 4000 / this.model.n);
    return {
      xy,
      n: this.model.n,
      transform,
      slots: this.slots,
      rings: rings ? this.rings : null,
      mask: this.state.mask,
      selecting: this.state.count > 0,
      table: this.palette.table(this.labelled),
      ground: rgb(this.palette.ground),
      unselected: rgb(this.palette.unselected),
      radius,
      // A handful of samples must be found among thousands: the fewer, the larger.
      emphasis: 1.15 + 0.75 * Math.min(1, 40 / Math.max(1, this.state.count)),
      // Without classes the overlap of faint points is what shows the density.
      opacity: this.labelled ? 0.62 + 0.26 * crowd : 0.3 + 0.25 * crowd,
    };
  }
}

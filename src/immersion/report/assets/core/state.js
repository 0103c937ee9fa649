// What the reader has chosen: the map shown, the samples selected, the sample in focus.

class State {
  constructor(n) {
    this.n = n;
    this.map = 0;
    this.mask = new Uint8Array(n);
    this.count = 0;
    this.rows = [];
    this.source = null;
    this.focused = -1;
    this.pinned = false;
    this.listeners = { map: [], selection: [], focus: [] };
  }

  /** `event`: "map", "selection" or "focus". */
  on(event, listener) {
    this.listeners[event].push(listener);
  }

  emit(event) {
    for (const listener of this.listeners[event]) listener();
  }

  showMap(index) {
    if (index === this.map) return;
    this.map = index;
    this.emit("map");
  }

  /**
   * Selects `rows` (in the order in which they should be listed). `source` says where the
   * selection comes from, in the reader's language: a function called at every rendering.
   */
  select(rows, source) {
    this.mask.fill(0);
    for (const row of rows) this.mask[row] = 1;
    this.rows = rows;
    this.count = rows.length;
    this.source = rows.length ? source : null;
    this.emit("selection");
  }

  selectWhere(test, source) {
    const rows = [];
    for (let row = 0; row < this.n; row++) if (test(row)) rows.push(row);
    this.select(rows, source);
  }

  clear() {
    this.select([], null);
  }

  toggle(row, source) {
    const rows = this.mask[row] ? this.rows.filter((other) => other !== row) : [...this.rows, row];
    this.select(rows, source);
  }

  /** The sample under the pointer (-1: none); a pinned sample keeps the focus. */
  hover(row) {
    if (this.pinned || row === this.focused) return;
    this.focused = row;
    this.emit("focus");
  }

  pin(row) {
    this.focused = row;
    this.pinned = row >= 0;
    this.emit("focus");
  }
}

// Which points are meant: the nearest one, the next one in a direction, those inside a lasso.

const CELLS = 128;
const CELL_BITS = 9; // 65536 / 128 = 2 ** 9 data units a cell

/** A uniform grid over one map, built once (about 1 ms for 70,000 points). */
class Picker {
  constructor(xy) {
    const n = xy.length / 2;
    const cellOf = (i) => (xy[2 * i] >> CELL_BITS) + (xy[2 * i + 1] >> CELL_BITS) * CELLS;
    const starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < n; i++) starts[cellOf(i) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) starts[cell + 1] += starts[cell];
    const next = starts.slice();
    this.members = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.members[next[cellOf(i)]++] = i;
    this.starts = starts;
    this.xy = xy;
  }

  /** The row nearest to (x, y) within `radius` data units that `accept(dx, dy)` takes, or -1. */
  nearest(x, y, radius, accept = () => true) {
    const { xy, starts, members } = this;
    const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value) >> CELL_BITS));
    let best = -1;
    let least = radius * radius;
    for (let gy = cell(y - radius); gy <= cell(y + radius); gy++) {
      for (let gx = cell(x - radius); gx <= cell(x + radius); gx++) {
        const at = gy * CELLS + gx;
        for (let m = starts[at]; m < starts[at + 1]; m++) {
          const row = members[m];
          const dx = xy[2 * row] - x;
          const dy = xy[2 * row + 1] - y;
          const squared = dx * dx + dy * dy;
          if (squared < least && accept(dx, dy)) {
            least = squared;
            best = row;
          }
        }
      }
    }
    return best;
  }

  /** The nearest neighbour of `row` within 45 degrees of direction (ax, ay), or -1. */
  towards(row, ax, ay) {
    const x = this.xy[2 * row];
    const y = this.xy[2 * row + 1];
    const ahead = (dx, dy) => dx * ax + dy * ay > Math.abs(dx * ay - dy * ax);
    for (let radius = 512; radius < 4 * DATA_SPAN; radius *= 2) {
      const found = this.nearest(x, y, radius, ahead);
      if (found >= 0) return found;
    }
    return -1;
  }
}

/** The rows inside `polygon` ([[x, y], ...] in data coordinates; even-odd rule). */
function rowsInside(xy, polygon) {
  const xs = polygon.map((corner) => corner[0]);
  const ys = polygon.map((corner) => corner[1]);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  const rows = [];
  for (let row = 0; row < xy.length / 2; row++) {
    const x = xy[2 * row];
    const y = xy[2 * row + 1];
    if (x < left || x > right || y < bottom || y > top) continue;
    let inside = false;
    for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
      const crosses = ys[i] > y !== ys[j] > y;
      if (crosses && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) {
        inside = !inside;
      }
    }
    if (inside) rows.push(row);
  }
  return rows;
}

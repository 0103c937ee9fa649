// From data coordinates (0..65535, y upwards) to pixels (y downwards).
//
// A transform is {cx, cy, k}: data point (cx, cy) stands in the middle, k pixels a data unit.

const DATA_SPAN = 65535;

function boundsOf(xy) {
  let left = DATA_SPAN;
  let right = 0;
  let bottom = DATA_SPAN;
  let top = 0;
  for (let i = 0; i < xy.length; i += 2) {
    const x = xy[i];
    const y = xy[i + 1];
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < bottom) bottom = y;
    if (y > top) top = y;
  }
  return { left, right, bottom, top };
}

/** The transform that shows all of `bounds` in width x height pixels with `margin` around. */
function fit(bounds, width, height, margin) {
  const spanX = Math.max(1, bounds.right - bounds.left);
  const spanY = Math.max(1, bounds.top - bounds.bottom);
  return {
    cx: (bounds.left + bounds.right) / 2,
    cy: (bounds.bottom + bounds.top) / 2,
    k: Math.max(1e-6, Math.min((width - 2 * margin) / spanX, (height - 2 * margin) / spanY)),
  };
}

function toPixels(transform, width, height, x, y) {
  return [
    width / 2 + (x - transform.cx) * transform.k,
    height / 2 - (y - transform.cy) * transform.k,
  ];
}

function toData(transform, width, height, px, py) {
  return [
    transform.cx + (px - width / 2) / transform.k,
    transform.cy - (py - height / 2) / transform.k,
  ];
}

/** Radius of a point in CSS pixels: smaller where there are more of them. */
function pointRadius(n) {
  return Math.min(3.4, Math.max(1.1, 14 / n ** 0.2));
}

/** A stride that visits all n points in a scattered order, so that no class lies on top. */
function scatteredStride(n) {
  const commonDivisor = (a, b) => (b === 0 ? a : commonDivisor(b, a % b));
  let stride = Math.max(1, Math.floor(n * 0.618));
  while (commonDivisor(stride, n) !== 1) stride++;
  return stride;
}

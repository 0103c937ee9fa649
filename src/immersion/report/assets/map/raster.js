// Points drawn on the processor: small multiples always, the large map where there is no GPU.
//
// Canvas paths cost about a microsecond a point; blending a precomputed disc into the pixel
// buffer costs a tenth of that, which is what lets twelve maps follow a lasso.

/** A disc (or a ring) as pixel offsets and coverages 0..256 in a buffer `stride` pixels wide. */
function makeStamp(radius, stride, opacity, hole = 0) {
  const reach = Math.ceil(radius);
  const offsets = [];
  const covers = [];
  const parts = 4;
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      let inside = 0;
      for (let i = 0; i < parts * parts; i++) {
        const dx = x + ((i % parts) + 0.5) / parts - 0.5;
        const dy = y + (Math.floor(i / parts) + 0.5) / parts - 0.5;
        const squared = dx * dx + dy * dy;
        if (squared <= radius * radius && squared >= hole * hole) inside++;
      }
      if (inside === 0) continue;
      offsets.push(4 * (y * stride + x));
      covers.push(Math.round((256 * opacity * inside) / (parts * parts)));
    }
  }
  return { offsets: Int32Array.from(offsets), covers: Int32Array.from(covers) };
}

class RasterRenderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.maxRatio = 2;
    this.backend = "Canvas 2D";
    this.frame = null;
  }

  /**
   * Draws `scene`: {xy, n, transform, slots, rings, mask, selecting, table, ground, unselected,
   * radius, emphasis, opacity}, lengths in device pixels. `slots[i]` is the colour slot of point i,
   * `rings[i]` is 1 for a point drawn hollow; with `selecting`, points outside `mask`
   * recede and those inside grow by `emphasis`.
   */
  draw(scene) {
    const { width, height } = this.canvas;
    // The margin lets a disc hang over the edge without a test for every pixel.
    const margin = Math.ceil(scene.radius * 2) + 1;
    const stride = width + 2 * margin;
    const rows = height + 2 * margin;
    if (this.frame === null || this.frame.width !== stride || this.frame.height !== rows) {
      this.frame = this.context.createImageData(stride, rows);
    }
    const pixels = this.frame.data;
    const [r, g, b] = scene.ground;
    new Uint32Array(pixels.buffer).fill((255 << 24) | (b << 16) | (g << 8) | r);

    const box = { width, height, margin, stride };
    const disc = makeStamp(scene.radius, stride, scene.opacity);
    const size = scene.radius * (scene.selecting ? Math.max(1.5, scene.emphasis) : 1.5);
    const ring = makeStamp(size, stride, 0.95, size * 0.55);
    if (scene.selecting) {
      const faint = makeStamp(scene.radius, stride, 0.6);
      stampPoints(pixels, box, scene, 0, faint, faint, [scene.unselected]);
      const strong = makeStamp(scene.radius * scene.emphasis, stride, 0.95);
      stampPoints(pixels, box, scene, 1, strong, ring, scene.table);
    } else {
      stampPoints(pixels, box, scene, null, disc, ring, scene.table);
    }
    this.context.putImageData(this.frame, -margin, -margin);
  }
}

/** Blends the points whose mask is `wanted` (null: all) into `pixels`. */
function stampPoints(pixels, box, scene, wanted, disc, ring, table) {
  const { xy, n, mask, slots, rings, transform } = scene;
  const { cx, cy, k } = transform;
  const { width, height, margin, stride } = box;
  const left = width / 2 + margin - cx * k;
  const bottom = height / 2 + margin + cy * k;
  const step = scatteredStride(n);
  const single = table.length === 1;
  for (let visited = 0, i = 0; visited < n; visited++, i += step, i -= i >= n ? n : 0) {
    if (wanted !== null && mask[i] !== wanted) continue;
    const x = Math.round(left + xy[2 * i] * k);
    const y = Math.round(bottom - xy[2 * i + 1] * k);
    if (x < margin || y < margin || x >= width + margin || y >= height + margin) continue;
    const [r, g, b] = table[single ? 0 : slots[i]];
    const { offsets, covers } = rings !== null && rings[i] ? ring : disc;
    const at = 4 * (y * stride + x);
    for (let j = 0; j < offsets.length; j++) {
      const p = at + offsets[j];
      const cover = covers[j];
      pixels[p] += ((r - pixels[p]) * cover) >> 8;
      pixels[p + 1] += ((g - pixels[p + 1]) * cover) >> 8;
      pixels[p + 2] += ((b - pixels[p + 2]) * cover) >> 8;
    }
  }
}

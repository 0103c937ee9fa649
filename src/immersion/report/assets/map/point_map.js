// Points drawn by the GPU: the large map, in the page's only WebGL context.

const POINT_VERTEX = `#version 300 es
in vec2 position;
in float slot;
in float ring;
in float selected;
uniform vec3 table[32];
uniform vec3 unselected;
uniform vec2 centre;
uniform vec2 scale;
uniform float radius;
uniform float emphasis;
uniform float opacity;
uniform int pass;  // 0: everything, 1: the unselected, 2: the selected
out vec4 colour;
out float hole;
out float reach;
void main() {
  bool chosen = selected > 0.5;
  bool hollow = ring > 0.5 && pass != 1;
  float growth = pass == 2 ? emphasis : 1.0;
  reach = radius * (hollow ? max(1.5, growth) : growth);
  hole = hollow ? reach * 0.55 : 0.0;
  float alpha = hollow || pass == 2 ? 0.95 : pass == 1 ? 0.6 : opacity;
  colour = vec4(pass == 1 ? unselected : table[int(slot + 0.5)], alpha);
  gl_PointSize = 2.0 * reach + 2.0;
  bool drawn = pass == 0 || (pass == 2) == chosen;
  gl_Position = drawn ? vec4((position - centre) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
}`;

const POINT_FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
in float hole;
in float reach;
out vec4 pixel;
void main() {
  float distance = length(gl_PointCoord - 0.5) * (2.0 * reach + 2.0);
  float cover = clamp(reach - distance + 0.5, 0.0, 1.0);
  if (hole > 0.0) cover *= clamp(distance - hole + 0.5, 0.0, 1.0);
  float alpha = colour.a * cover;
  pixel = vec4(colour.rgb * alpha, alpha);
}`;

class PointRenderer {
  /** `gl`: the context of `canvas`. `onLost` is called once if the GPU takes it away. */
  constructor(canvas, gl, onLost) {
    this.canvas = canvas;
    this.gl = gl;
    this.maxRatio = 4;
    this.backend = "WebGL2";
    this.program = linkProgram(gl);
    this.attributes = {};
    for (const attribute of ["position", "slot", "ring", "selected"]) {
      const location = gl.getAttribLocation(this.program, attribute);
      this.attributes[attribute] = { location, buffer: gl.createBuffer() };
    }
    this.order = null;
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    canvas.addEventListener("webglcontextlost", onLost, { once: true });
  }

  /** Takes the same scene as `RasterRenderer.draw`. */
  draw(scene) {
    const { gl } = this;
    this.upload("position", scene.xy, 2, gl.UNSIGNED_SHORT);
    this.upload("slot", scene.slots, 1, gl.UNSIGNED_BYTE);
    this.upload("ring", scene.rings ?? new Uint8Array(scene.n), 1, gl.UNSIGNED_BYTE);
    this.upload("selected", scene.mask, 1, gl.UNSIGNED_BYTE);
    this.uploadOrder(scene.n);

    const { width, height } = this.canvas;
    const share = (colour) => colour.map((channel) => channel / 255);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...share(scene.ground), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const at = (uniform) => gl.getUniformLocation(this.program, uniform);
    gl.uniform3fv(at("table"), new Float32Array(scene.table.flatMap(share)));
    gl.uniform3fv(at("unselected"), share(scene.unselected));
    gl.uniform2f(at("centre"), scene.transform.cx, scene.transform.cy);
    gl.uniform2f(at("scale"), (2 * scene.transform.k) / width, (2 * scene.transform.k) / height);
    gl.uniform1f(at("radius"), scene.radius);
    gl.uniform1f(at("emphasis"), scene.emphasis);
    gl.uniform1f(at("opacity"), scene.opacity);
    for (const pass of scene.selecting ? [1, 2] : [0]) {
      gl.uniform1i(at("pass"), pass);
      gl.drawElements(gl.POINTS, scene.n, gl.UNSIGNED_INT, 0);
    }
  }

  upload(attribute, array, size, type) {
    const { gl } = this;
    const { location, buffer } = this.attributes[attribute];
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, false, 0, 0);
  }

  uploadOrder(n) {
    if (this.order !== null) return;
    const { gl } = this;
    const step = scatteredStride(n);
    const order = new Uint32Array(n);
    for (let visited = 0, i = 0; visited < n; visited++, i = (i + step) % n) order[visited] = i;
    this.order = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.STATIC_DRAW);
  }
}

function linkProgram(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, POINT_VERTEX],
    [gl.FRAGMENT_SHADER, POINT_FRAGMENT],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(gl.getProgramInfoLog(program));
  }
  return program;
}

/**
 * A canvas in `stage` with the fastest renderer there is: WebGL2 on a real GPU, else Canvas 2D.
 * WebGL in software is slower than our own raster, so it counts as none.
 */
function createRenderer(stage, onLost) {
  const fresh = () => element("canvas", { class: "points", attributes: { "aria-hidden": "true" } });
  let canvas = fresh();
  const gl = canvas.getContext("webgl2", { antialias: false, failIfMajorPerformanceCaveat: true });
  let renderer = null;
  if (gl !== null) {
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    const device = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "";
    if (!/swiftshader|llvmpipe|software|basic render/i.test(device)) {
      try {
        renderer = new PointRenderer(canvas, gl, onLost);
      } catch {
        renderer = null;  // a driver that refuses the shaders; the raster draws the same picture
      }
    }
    if (renderer === null) gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
  if (renderer === null) {
    canvas = fresh();
    renderer = new RasterRenderer(canvas);
  }
  stage.prepend(canvas);
  return renderer;
}

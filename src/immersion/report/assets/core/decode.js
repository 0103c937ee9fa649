// Unpacking the data blocks of the page: base64, gzip, little-endian numbers.

/** The packed label of a sample whose class is unknown. */
const NO_CLASS = 65535;

const ARRAY_TYPES = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  int64: BigInt64Array,
};

function readJson(id) {
  return JSON.parse(byId(id).textContent);
}

/** The typed array behind a reference `{block, dtype}` of the page's JSON. */
async function unpack(reference) {
  const text = atob(byId(`block-${reference.block}`).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new ARRAY_TYPES[reference.dtype](await new Response(stream).arrayBuffer());
}

/**
 * `model` (the page's JSON) with its arrays unpacked, except the maps (`xy` stays null until `loadMap`)
 * and the pictures (see `loadPictures`): the first map should not wait for the twelfth.
 */
async function loadModel(model) {
  const [labels, predictions, ids] = await Promise.all([
    model.labels && unpack(model.labels),
    model.predictions && unpack(model.predictions),
    unpack(model.ids),
  ]);
  const packedMaps = model.maps.map((map) => map.xy);
  for (const map of model.maps) map.xy = null;
  return {
    ...model,
    labels,
    predictions,
    ids,
    idOf: (row) => String(ids[row]),
    className: (label) => (label === NO_CLASS ? null : (model.classes[label] ?? String(label))),
    isWrong: (row) =>
      labels !== null &&
      predictions !== null &&
      labels[row] !== NO_CLASS &&
      predictions[row] !== NO_CLASS &&
      labels[row] !== predictions[row],
    async loadMap(index) {
      const map = model.maps[index];
      map.xy ??= await unpack(packedMaps[index]);
      return map.xy;
    },
  };
}

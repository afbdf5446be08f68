// Shows a head with its brain and what ageing changes, cross-hairs linked. niivue: the library loaded before this.
"use strict";

const LONGEST_WAIT_MS = 120_000;
const LAYERS = {
  head: { colormap: "gray", opacity: 1 },
  brain: { colormap: "blue2cyan", opacity: 0.15, cal_min: 0.5, cal_max: 1 },
  template: { colormap: "green", opacity: 0, cal_min: 20, cal_max: 255 },
  change: { colormap: "warm", colormapNegative: "winter", opacity: 0, cal_min: 0.02, cal_max: 0.1, cal_minNeg: -0.1, cal_maxNeg: -0.02 },
};
const COARSE_FROM_VOXELS = 4_000_000; // below, the whole head is there as soon
const INT16 = 4; // of NIfTI-1's datatypes
const place = document.querySelector("#viewer");
const canvas = place.querySelector("canvas");
const said = place.querySelector(".viewer-said");

function say(key) {
  said.textContent = key === null ? "" : place.dataset[key];
  said.hidden = key === null;
}

async function listed() {
  const until = performance.now() + LONGEST_WAIT_MS;
  while (performance.now() < until) {
    const answer = await fetch(place.dataset.volumes, { cache: "no-store" });
    if (answer.status === 200) return (await answer.json()).volumes;
    if (answer.status === 404) return null;
    if (answer.status !== 202 && answer.status !== 429 && answer.status < 500) throw new Error(String(answer.status));
    await new Promise((resolve) => { setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") ?? 1)); });
  }
  return undefined;
}

// NiiVue redraws every voxel of every layer for each change, and the head's gradients, which nothing here shows: without a
// graphics card, half of the wait. The first shader of the gradients starts with an empty scissor box, so that they cost nothing.
class Planes extends niivue.Niivue {
  refreshLayers(volume, layer) {
    const wanted = [volume.id, volume.cal_min, volume.cal_max, volume.opacity].join();
    if (layer === 0 && wanted === this.headDrawn) return;
    this.skipGradients();
    super.refreshLayers(volume, layer);
    this.gl.disable(this.gl.SCISSOR_TEST);
    if (layer === 0) this.headDrawn = wanted;
  }

  skipGradients() {
    if (Object.hasOwn(this.blurShader, "use")) return;
    const use = this.blurShader.use.bind(this.blurShader);
    this.blurShader.use = (gl) => {
      use(gl);
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, 0, 0, 0);
    };
  }
}

// Half as fine along each axis, each voxel the mean of eight: an eighth of the work to draw. null: as it is, it is soon there.
function coarse(file) {
  const header = new DataView(file);
  const from = header.getFloat32(108, true);
  const [x, y, z] = [42, 44, 46].map((at) => header.getInt16(at, true));
  if (header.getInt32(0, true) !== 348 || header.getInt16(70, true) !== INT16 || x * y * z < COARSE_FROM_VOXELS) return null;
  const voxels = new Int16Array(file, from, x * y * z);
  const half = [x, y, z].map((side) => Math.floor(side / 2));
  const made = new ArrayBuffer(from + 2 * half[0] * half[1] * half[2]);
  new Uint8Array(made).set(new Uint8Array(file, 0, from));
  const written = new DataView(made);
  for (const axis of [0, 1, 2]) {
    written.setInt16(42 + 2 * axis, half[axis], true);
    written.setFloat32(80 + 4 * axis, 2 * header.getFloat32(80 + 4 * axis, true), true);
    const row = [0, 1, 2, 3].map((column) => header.getFloat32(280 + 16 * axis + 4 * column, true));
    const origin = row[3] + (row[0] + row[1] + row[2]) / 2;
    for (const column of [0, 1, 2]) written.setFloat32(280 + 16 * axis + 4 * column, 2 * row[column], true);
    written.setFloat32(280 + 16 * axis + 12, origin, true);
  }
  const means = new Int16Array(made, from);
  let to = 0;
  for (let k = 0; k < half[2]; k += 1) {
    for (let j = 0; j < half[1]; j += 1) {
      let at = 2 * k * x * y + 2 * j * x;
      for (let i = 0; i < half[0]; i += 1, at += 2) {
        const above = at + x * y;
        means[to] = (voxels[at] + voxels[at + 1] + voxels[at + x] + voxels[at + x + 1]
          + voxels[above] + voxels[above + 1] + voxels[above + x] + voxels[above + x + 1]) / 8;
        to += 1;
      }
    }
  }
  return made;
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(String(answer.status));
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function putHead(viewer, one, buffer) {
  const image = await niivue.NVImage.loadFromUrl({ ...one, name: "head.nii", buffer });
  viewer.volumes = [image];
  viewer.setVolume(image, 0);
}

function viewerIn(frame) {
  const made = new Planes({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.51, 0.74, 0.93, 0.8],
    crosshairGap: 6,
    dragAndDropEnabled: false,
    fontColor: [0.95, 0.76, 0.31, 1],
    fontMinPx: 18,
    isCornerOrientationText: true,
    isOrientationTextVisible: true,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    loadingText: "",
    logLevel: "error",
    multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER, // without a graphics card, space takes longer than all planes
    show3Dcrosshair: true,
  });
  made.meshShaders = []; // each would be compiled first, and there are no surfaces here
  made.onLocationChange = (at) => {
    const [x, y, z] = at.mm;
    const words = { x: x.toFixed(0), y: y.toFixed(0), z: z.toFixed(0), v: at.values?.[0]?.value?.toFixed(0) ?? "" };
    frame.querySelector(".viewer-at").textContent = frame.dataset.at.replace(/%([xyzv])/g, (_, name) => words[name]);
  };
  return made;
}

function connect(viewer, names) {
  const types = niivue.SLICE_TYPE;
  const views = { all: types.MULTIPLANAR, axial: types.AXIAL, coronal: types.CORONAL, sagittal: types.SAGITTAL, space: types.RENDER };
  const planes = place.querySelector("#planes");
  const [low, high] = [viewer.volumes[0].cal_min, viewer.volumes[0].cal_max];
  planes.addEventListener("change", () => viewer.setSliceType(views[planes.value]));
  for (const [layer, name] of names.entries()) {
    for (const part of place.querySelectorAll(`[data-for="${name}"]`)) part.hidden = false;
    place.querySelector(`input#${name}`)?.addEventListener("input", (event) => viewer.setOpacity(layer, event.target.value / 100));
  }
  place.querySelector("form").addEventListener("reset", () => {
    Object.assign(viewer.volumes[0], { cal_min: low, cal_max: high });
    for (const [layer, name] of names.entries()) viewer.setOpacity(layer, LAYERS[name].opacity);
    viewer.scene.crosshairPos = [0.5, 0.5, 0.5];
    viewer.setPan2Dxyzmm([0, 0, 0, 1]);
    viewer.setSliceType(views.all);
    viewer.updateGLVolume();
  });
  place.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
}

async function show() {
  place.hidden = false;
  say("waiting");
  const volumes = await listed();
  if (!volumes) {
    say(volumes === null ? "none" : "late");
    return;
  }
  say("loading");
  const names = volumes.map((one) => one.name);
  const addressed = names.map((name) => ({ ...LAYERS[name], url: `${place.dataset.volumes}/${name}`, name: `${name}.nii.gz` }));
  const [head] = addressed;
  const coming = fetched(head.url); // while the shaders are compiled
  const viewer = viewerIn(place);
  const [file] = await Promise.all([coming, viewer.attachToCanvas(canvas, false)]);
  const first = coarse(file);
  await putHead(viewer, head, first ?? file);
  say(null);
  document.querySelector("#stills").hidden = true;
  await drawn();
  place.dataset.first = String(Math.round(performance.now()));
  if (first !== null) await putHead(viewer, head, file);
  for (const layer of addressed.slice(1)) await viewer.addVolumeFromUrl(layer);
  viewer.opts.multiplanarShowRender = niivue.SHOW_RENDER.ALWAYS;
  viewer.drawScene();
  connect(viewer, names);
  viewer.createOnLocationChange();
  place.dataset.shown = String(Math.round(performance.now()));
}

function drawn() {
  return new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });
}

// Without WebGL 2 the still pictures below stay in its place.
if (document.createElement("canvas").getContext("webgl2") !== null) show().catch(() => { say("lost"); place.dataset.failed = "1"; });

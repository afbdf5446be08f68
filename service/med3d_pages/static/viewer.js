// Shows a head with its brain and what ageing changes, cross-hairs linked. niivue: the library loaded before this.
"use strict";

const LONGEST_WAIT_MS = 120_000;
const LAYERS = {
  head: { colormap: "gray", opacity: 1 },
  brain: { colormap: "blue2cyan", opacity: 0.15, cal_min: 0.5, cal_max: 1 },
  template: { colormap: "green", opacity: 0, cal_min: 20, cal_max: 255 },
  change: { colormap: "warm", colormapNegative: "winter", opacity: 0, cal_min: 0.02, cal_max: 0.1, cal_minNeg: -0.1, cal_maxNeg: -0.02 },
};
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

function viewerIn(frame) {
  const made = new niivue.Niivue({
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
  const viewer = viewerIn(place);
  await viewer.attachToCanvas(canvas);
  const addressed = names.map((name) => ({ ...LAYERS[name], url: `${place.dataset.volumes}/${name}`, name: `${name}.nii.gz` }));
  await viewer.loadVolumes(addressed.slice(0, 1));
  say(null);
  document.querySelector("#stills").hidden = true;
  await drawn();
  place.dataset.first = String(Math.round(performance.now()));
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

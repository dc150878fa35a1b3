// The page of depth_anything_ros: receives color, 16-bit inverse depth and intrinsics, and computes the points here.
// web_view/frames.py documents the messages.
import * as three from './three.min.js';

const token = new URLSearchParams(location.search).get('token');
const query = token ? `?token=${encodeURIComponent(token)}` : '';

const element = (id) => document.getElementById(id);
const state = { frames: 0, points: 0, frozen: false, frame: null, picked: [], connected: false, error: '' };
window.viewState = state; // for tests

// ---------------------------------------------------------------- turbo, as in OpenCV (Mikhailov 2019, polynomial fit)
function turbo(x) {
  const channel = (c) => Math.max(0, Math.min(1, c.reduceRight((sum, factor) => sum * x + factor, 0)));
  return [
    channel([0.13572138, 4.6153926, -42.66032258, 132.13108234, -152.94239396, 59.28637943]),
    channel([0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604]),
    channel([0.1066733, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973]),
  ];
}
const TURBO = new Uint8ClampedArray(256 * 4);
for (let i = 0; i < 256; i++) TURBO.set([...turbo(i / 255).map((c) => 255 * c), 255], 4 * i);
{
  const legend = element('legend').getContext('2d'), pixels = legend.createImageData(256, 1);
  for (let i = 0; i < 256; i++) pixels.data.set(TURBO.subarray(4 * (255 - i), 4 * (256 - i)), 4 * i); // near first
  legend.putImageData(pixels, 0, 0);
}

// ---------------------------------------------------------------- messages
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const parts = [];
  let at = 4 + length;
  for (const size of header.parts) { parts.push(new Uint8Array(buffer, at, size)); at += size; }
  const [image, bytes, sigma] = await Promise.all([
    createImageBitmap(new Blob([parts[0]], { type: 'image/jpeg' })),
    inflate(parts[1]),
    parts[2].length ? inflate(parts[2]) : null,
  ]);
  const { width, height } = header, count = width * height, codes = new Uint16Array(count);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, code = 0; x < width; x++, i++) {
      const folded = bytes[i] | (bytes[count + i] << 8);
      code = (code + ((folded >> 1) ^ -(folded & 1))) & 0xffff;
      codes[i] = code;
    }
  }
  return { ...header, image, codes, sigma };
}

const depthAt = (frame, i) => (frame.codes[i] ? 1 / ((frame.codes[i] - 1) * frame.step) : NaN);

function pointAt(frame, [x, y]) {
  const z = depthAt(frame, y * frame.width + x);
  if (!frame.intrinsics || !Number.isFinite(z)) return null;
  const [fx, fy, cx, cy] = frame.intrinsics;
  return [((x - cx) / fx) * z, ((y - cy) / fy) * z, z];
}

// ---------------------------------------------------------------- the cloud
const canvas = document.createElement('canvas');
element('scene').prepend(canvas);
let renderer = null;
try {
  renderer = new three.WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
} catch (error) {
  state.error = `no 3D: ${error.message}`;
}
const scene = new three.Scene();
scene.background = new three.Color(0x10131a);
const camera = new three.PerspectiveCamera(60, 1, 0.01, 1000);
const controls = new three.OrbitControls(camera, canvas);
controls.enableDamping = true;
const material = new three.ShaderMaterial({
  glslVersion: three.GLSL3,
  uniforms: {
    codes: { value: null }, image: { value: null }, sigma: { value: null }, turbo: { value: turboTexture() },
    intrinsics: { value: [1, 1, 0, 0] }, size: { value: new three.Vector2(1, 1) }, step: { value: 1 },
    range: { value: new three.Vector2(0, 1) }, mode: { value: 0 }, points: { value: 1.8 }, edges: { value: 0.25 }, pixels: { value: 500 },
  },
  vertexShader: `
    precision highp usampler2D;
    uniform usampler2D codes; uniform sampler2D image, sigma, turbo;
    uniform vec4 intrinsics; uniform vec2 size, range; uniform float step, points, edges, pixels; uniform int mode;
    out vec3 shade;
    float inverseAt(ivec2 p) {
      uint code = texelFetch(codes, clamp(p, ivec2(0), ivec2(size) - 1), 0).r;
      return code == 0u ? -1.0 : float(code - 1u) * step;
    }
    float changeTo(ivec2 p, float w) {
      float other = inverseAt(p);
      return other < 0.0 ? 0.0 : abs(other - w);
    }
    void main() {
      int width = int(size.x);
      ivec2 p = ivec2(gl_VertexID % width, gl_VertexID / width);
      float w = inverseAt(p);
      gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
      gl_PointSize = 1.0;
      shade = vec3(0.0);
      if (w <= 0.0) return;
      float change = max(max(changeTo(p + ivec2(1, 0), w), changeTo(p - ivec2(1, 0), w)),
                         max(changeTo(p + ivec2(0, 1), w), changeTo(p - ivec2(0, 1), w)));
      if (change > edges * w) return;
      float z = 1.0 / w;
      vec3 point = vec3((float(p.x) - intrinsics.z) / intrinsics.x * z, -(float(p.y) - intrinsics.w) / intrinsics.y * z, -z);
      gl_Position = projectionMatrix * modelViewMatrix * vec4(point, 1.0);
      float slant = min(sqrt(1.0 + pow(change / w * intrinsics.x, 2.0)), 2.0); // neighbors are as much farther apart
      gl_PointSize = clamp(points * slant * z / intrinsics.x * pixels / gl_Position.w, 1.0, 64.0);
      vec2 at = (vec2(p) + 0.5) / size;
      if (mode == 0) shade = texture(image, at).rgb;
      else if (mode == 1) shade = texture(turbo, vec2(clamp((w - range.x) / (range.y - range.x), 0.0, 1.0), 0.5)).rgb;
      else shade = texture(turbo, vec2(clamp(texture(sigma, at).r * 2.0, 0.0, 1.0), 0.5)).rgb;
    }`,
  fragmentShader: `
    in vec3 shade; out vec4 color;
    void main() { color = vec4(shade, 1.0); }`,
});
let cloud = null;

function turboTexture() {
  const texture = new three.DataTexture(new Uint8Array(TURBO.buffer.slice(0)), 256, 1);
  texture.magFilter = three.LinearFilter;
  texture.needsUpdate = true;
  return texture;
}

function resizeCloud(frame) {
  if (cloud) { scene.remove(cloud); cloud.geometry.dispose(); }
  const { width, height } = frame, uniforms = material.uniforms;
  for (const name of ['codes', 'image', 'sigma']) uniforms[name].value?.dispose();
  const codes = new three.DataTexture(new Uint16Array(width * height), width, height, three.RedIntegerFormat, three.UnsignedShortType);
  codes.internalFormat = 'R16UI';
  const sigma = new three.DataTexture(new Uint8Array(width * height), width, height, three.RedFormat);
  for (const texture of [codes, sigma]) { texture.magFilter = texture.minFilter = three.NearestFilter; texture.unpackAlignment = 1; }
  const picture = document.createElement('canvas');
  [picture.width, picture.height] = [width, height];
  const image = new three.Texture(picture);
  image.flipY = false;
  image.minFilter = image.magFilter = three.LinearFilter;
  uniforms.codes.value = codes; uniforms.image.value = image; uniforms.sigma.value = sigma;
  uniforms.size.value.set(width, height);
  const geometry = new three.BufferGeometry();
  geometry.setAttribute('position', new three.BufferAttribute(new Float32Array(3 * width * height), 3));
  cloud = new three.Points(geometry, material);
  cloud.frustumCulled = false;
  scene.add(cloud);
}

function showCloud(frame) {
  if (!renderer || !frame.intrinsics) return;
  const uniforms = material.uniforms;
  const isNew = !cloud || uniforms.size.value.x !== frame.width || uniforms.size.value.y !== frame.height;
  if (isNew) resizeCloud(frame);
  uniforms.codes.value.image.data.set(frame.codes);
  uniforms.codes.value.needsUpdate = true;
  uniforms.image.value.image.getContext('2d').drawImage(frame.image, 0, 0, frame.width, frame.height);
  uniforms.image.value.needsUpdate = true;
  if (frame.sigma) { uniforms.sigma.value.image.data.set(frame.sigma); uniforms.sigma.value.needsUpdate = true; }
  uniforms.intrinsics.value = frame.intrinsics;
  uniforms.step.value = frame.step;
  uniforms.range.value.set(...frame.range);
  if (isNew) home();
}

function home() {
  const frame = state.frame, middle = frame ? median(frame) : 2;
  if (frame?.intrinsics) {
    const [fx, fy] = frame.intrinsics, wide = frame.width / fx / camera.aspect;
    camera.fov = Math.min(100, (360 / Math.PI) * Math.atan(0.5 * Math.max(frame.height / fy, wide)));
    fit();
  }
  camera.position.set(0.12 * middle, 0.12 * middle, 0.5 * middle);
  controls.target.set(0, 0, -middle);
  controls.update();
}

function fit() {
  const { clientWidth, clientHeight } = element('scene');
  if (!renderer || !clientWidth || !clientHeight) return;
  renderer.setPixelRatio(window.devicePixelRatio);
  renderer.setSize(clientWidth, clientHeight, false);
  camera.aspect = clientWidth / clientHeight;
  camera.updateProjectionMatrix();
  material.uniforms.pixels.value = (clientHeight * window.devicePixelRatio) / (2 * Math.tan((camera.fov * Math.PI) / 360));
}
new ResizeObserver(fit).observe(element('scene'));
renderer?.setAnimationLoop(() => { controls.update(); renderer.render(scene, camera); });

// ---------------------------------------------------------------- the pictures
function sampled(frame) {
  const values = [];
  for (let i = 0; i < frame.codes.length; i += 37) if (frame.codes[i] > 1) values.push((frame.codes[i] - 1) * frame.step);
  return values.sort((a, b) => a - b);
}

function median(frame) {
  const values = sampled(frame);
  return values.length ? 1 / values[values.length >> 1] : 2;
}

function robustRange(frame) {
  const values = sampled(frame);
  if (!values.length) return [0, 1];
  const low = values[Math.floor(0.02 * (values.length - 1))], high = values[Math.ceil(0.98 * (values.length - 1))];
  return high > low ? [low, high] : [low, low + 1];
}

function showPictures(frame) {
  for (const id of ['image', 'depth']) {
    const target = element(id);
    if (target.width !== frame.width || target.height !== frame.height) [target.width, target.height] = [frame.width, frame.height];
  }
  element('image').getContext('2d').drawImage(frame.image, 0, 0, frame.width, frame.height);
  const context = element('depth').getContext('2d'), pixels = context.createImageData(frame.width, frame.height);
  const [low, high] = frame.range, out = pixels.data;
  let known = 0;
  for (let i = 0; i < frame.codes.length; i++) {
    const code = frame.codes[i];
    out[4 * i + 3] = 255;
    if (!code) continue;
    known += code > 1;
    const level = Math.max(0, Math.min(255, Math.round((255 * ((code - 1) * frame.step - low)) / (high - low))));
    out[4 * i] = TURBO[4 * level]; out[4 * i + 1] = TURBO[4 * level + 1]; out[4 * i + 2] = TURBO[4 * level + 2];
  }
  state.points = frame.intrinsics ? known : 0;
  context.putImageData(pixels, 0, 0);
  element('near').textContent = meters(1 / high);
  element('middle').textContent = meters(2 / (low + high));
  element('far').textContent = meters(1 / low);
  const center = depthAt(frame, (frame.height >> 1) * frame.width + (frame.width >> 1));
  element('center').textContent = Number.isNaN(center) ? '' : `center ${meters(center)}`;
  drawPicked();
}

const meters = (value) => (Number.isFinite(value) ? `${value.toFixed(value < 10 ? 2 : 1)} m` : '∞');

function show(frame) {
  frame.range = robustRange(frame);
  state.frame = frame;
  state.frames++;
  showPictures(frame);
  showCloud(frame);
  let notice = '';
  if (!frame.intrinsics) notice = 'no points: camera_info is missing';
  else if (state.error) notice = state.error;
  element('notice').textContent = notice;
}

// ---------------------------------------------------------------- measuring
function pixelOf(event) {
  const box = event.target.getBoundingClientRect(), frame = state.frame;
  const clamp = (value, size) => Math.max(0, Math.min(size - 1, Math.floor(value * size)));
  return [clamp((event.clientX - box.left) / box.width, frame.width), clamp((event.clientY - box.top) / box.height, frame.height)];
}

function drawPicked() {
  for (const id of ['image', 'depth']) {
    const context = element(id).getContext('2d');
    context.strokeStyle = '#fff'; context.lineWidth = 1.5;
    context.beginPath();
    for (const [x, y] of state.picked) { context.moveTo(x + 5.5, y + 0.5); context.arc(x + 0.5, y + 0.5, 5, 0, 7); }
    if (state.picked.length === 2) { context.moveTo(...state.picked[0]); context.lineTo(...state.picked[1]); }
    context.stroke();
  }
  measure();
}

function measure() {
  const points = state.picked.map((pixel) => pointAt(state.frame, pixel));
  state.distance = points.length === 2 && points[0] && points[1] ? Math.hypot(...points[0].map((v, i) => v - points[1][i])) : null;
  let text = 'Click two points in the image or in the depth.';
  if (points.length === 1) text = points[0] ? `${meters(Math.hypot(...points[0]))} from the camera. Click the second point.` : 'There is no depth. Click the second point.';
  if (points.length === 2) text = state.distance === null ? 'A point has no depth.' : `${state.distance.toFixed(3)} m apart`;
  element('distance').textContent = text;
  element('scaleForm').hidden = state.distance === null;
}

for (const id of ['image', 'depth']) {
  element(id).addEventListener('click', (event) => {
    if (!state.frame) return;
    state.picked = state.picked.length === 2 ? [pixelOf(event)] : [...state.picked, pixelOf(event)];
    showPictures(state.frame);
  });
  element(id).addEventListener('pointermove', (event) => {
    if (!state.frame) return;
    const [x, y] = pixelOf(event), z = depthAt(state.frame, y * state.frame.width + x);
    element('hover').textContent = Number.isNaN(z) ? 'no depth' : meters(z);
  });
  element(id).addEventListener('pointerleave', () => { element('hover').textContent = 'depth'; });
}

async function act(name, values) {
  const answer = element('answer');
  answer.className = '';
  answer.textContent = '…';
  try {
    const response = await fetch(`actions/${name}${query}`, { method: 'POST', body: JSON.stringify(values) });
    answer.className = response.ok ? '' : 'bad';
    answer.textContent = (await response.json()).text;
    return response.ok;
  } catch (error) {
    answer.className = 'bad';
    answer.textContent = `the server does not answer: ${error.message}`;
    return false;
  }
}

element('scaleForm').addEventListener('submit', async (event) => {
  event.preventDefault();
  if (!await act('scale', { shown: state.distance, true: Number(element('true').value) })) return;
  state.picked = []; // the distance that is shown has the old scale
  if (state.frozen) freeze();
  showPictures(state.frame);
});

// ---------------------------------------------------------------- buttons
function freeze() {
  state.frozen = !state.frozen;
  element('freeze').setAttribute('aria-pressed', state.frozen);
  if (!state.frozen) while (state.held) { state.held--; ready(); }
}

function snapshot() {
  const pictures = [canvas, element('image'), element('depth')], out = document.createElement('canvas');
  const height = 2 * pictures[1].height, width = Math.round((canvas.width * height) / canvas.height);
  [out.width, out.height] = [width + pictures[1].width, height];
  const context = out.getContext('2d');
  context.drawImage(canvas, 0, 0, width, height);
  context.drawImage(pictures[1], width, 0);
  context.drawImage(pictures[2], width, pictures[1].height);
  const link = document.createElement('a');
  link.download = `depth_${new Date().toISOString().replace(/[:.]/g, '-')}.png`;
  link.href = out.toDataURL('image/png');
  link.click();
}

element('freeze').addEventListener('click', freeze);
element('snapshot').addEventListener('click', snapshot);
element('record').addEventListener('click', async (event) => {
  event.target.disabled = true;
  await act('record', {});
  event.target.disabled = false;
});
element('home').addEventListener('click', home);
element('mode').addEventListener('change', (event) => { material.uniforms.mode.value = Number(event.target.value); });
element('size').addEventListener('input', (event) => { material.uniforms.points.value = Number(event.target.value); });
element('edges').addEventListener('input', (event) => { material.uniforms.edges.value = 1.001 - Number(event.target.value); });
document.addEventListener('keydown', (event) => {
  if (['INPUT', 'SELECT', 'BUTTON'].includes(event.target.tagName)) return;
  ({ ' ': freeze, s: snapshot, h: home })[event.key]?.();
});

// ---------------------------------------------------------------- the stream
let socket = null;
const ready = () => { if (socket?.readyState === WebSocket.OPEN) socket.send('ready'); };

function report(status) {
  state.status = status;
  element('rate').textContent = status.rate.toFixed(1);
  element('latency').textContent = status.latency === null ? '–' : (1000 * status.latency).toFixed(0);
  element('scale').textContent = status.scale ?? '–';
  element('guess').hidden = status.scale !== 'nominal';
  element('statuses').replaceChildren(...Object.entries(status.diagnostics).map(([name, entry]) => {
    const box = document.createElement('div');
    box.className = `status l${entry.level}`;
    const title = document.createElement('small');
    title.textContent = name;
    box.append(title, entry.text);
    return box;
  }));
  const log = element('log'), atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.replaceChildren(...status.log.map((line) => {
    const row = document.createElement('div');
    row.className = line.level;
    row.textContent = line.text;
    return row;
  }));
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (!state.frame) element('notice').textContent = waiting(status);
}

function waiting(status) {
  const worst = Object.values(status.diagnostics).sort((a, b) => b.level - a.level)[0];
  if (!worst?.level) return 'waiting for depth …';
  return worst.text.startsWith('no depth') ? worst.text : `no depth yet: ${worst.text}`;
}

function connect() {
  socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/stream${query}`);
  socket.binaryType = 'arraybuffer';
  state.held = 0;
  let newest = 0; // number of the frame that is shown
  socket.onopen = () => { state.connected = true; };
  socket.onmessage = async ({ data }) => {
    if (typeof data === 'string') { report(JSON.parse(data)); return; }
    if (!state.frozen) {
      try {
        const frame = await decode(data);
        if (frame.number > newest) { newest = frame.number; show(frame); } // two may be decoded at once
      } catch (error) {
        element('notice').textContent = `a frame cannot be shown: ${error.message}`;
      }
    }
    if (state.frozen) state.held++; else ready();
  };
  socket.onclose = () => {
    state.connected = false;
    element('notice').textContent = 'the connection is lost; trying again …';
    setTimeout(connect, 1000);
  };
}
connect();

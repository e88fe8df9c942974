// The gateway's page. A browser loads this file twice: as the page's script, and in the thread of its
// audio, where it only gathers what the microphone hears.

const PIECE_SAMPLES = 2048; // of one message to the gateway: an eighth of a second at 16 kHz
const SOCKET_BYTES = 256 * 1024; // of a file that wait to be sent
const LATE_BYTES = 4 * 1024 * 1024; // of the microphone that wait: the gateway does not keep up
const FILE_BYTES = 64 * 1024 * 1024;
const KEPT_SECONDS = 600; // of audio that pictures are made of
const PICTURE_SECONDS = 60; // of one picture

const SPEECH = "/v1/stream";
const MODELS = "/v1/models";
const TRANSCRIPTIONS = "/v1/audio/transcriptions";

const find = (id) => document.getElementById(id);

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

// Audio

class Recording {
  // 16-bit samples of one channel, as many as KEPT_SECONDS hold.
  constructor(rate) {
    this.rate = rate;
    this.length = 0;
    this.samples = new Int16Array(rate * 30);
  }

  add(piece) {
    const most = this.rate * KEPT_SECONDS;
    const kept = piece.subarray(0, Math.max(0, most - this.length));
    if (this.length + kept.length > this.samples.length) {
      const larger = new Int16Array(Math.min(most, 2 * this.samples.length + kept.length));
      larger.set(this.samples.subarray(0, this.length));
      this.samples = larger;
    }
    this.samples.set(kept, this.length);
    this.length += kept.length;
  }

  // The samples from one second to another, or null where they are not kept.
  between(start, end) {
    const [first, last] = [Math.floor(start * this.rate), Math.ceil(end * this.rate)];
    const isKept = first < this.length && last <= this.length + this.rate / 2;
    return isKept ? this.samples.slice(first, Math.min(last, this.length)) : null;
  }
}

function toInt16(floats) {
  return Int16Array.from(floats, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768))));
}

function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, word) => [...word].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, sample, true));
  return new Blob([view], { type: "audio/wav" });
}

// The microphone, at the rate of its own device: the server resamples.
class Microphone {
  async open(onPiece) {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives no microphone to this page: it has to come by https or from localhost.");
    }
    this.media = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false },
    });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(import.meta.url);
    const source = this.context.createMediaStreamSource(this.media);
    this.node = new AudioWorkletNode(this.context, "gatherer", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit",
    });
    this.node.port.onmessage = ({ data }) => (data ? onPiece(data) : this.flushed());
    source.connect(this.node);
    return this.context.sampleRate;
  }

  async close() {
    if (this.node) {
      await new Promise((done) => {
        this.flushed = done;
        setTimeout(done, 500); // where the thread of the audio has gone
        this.node.port.postMessage("flush");
      });
    }
    this.media?.getTracks().forEach((track) => track.stop());
    await this.context?.close();
  }
}

function registerGatherer() {
  class Gatherer extends AudioWorkletProcessor {
    constructor() {
      super();
      this.begin();
      this.port.onmessage = () => {
        if (this.filled) this.port.postMessage(this.piece.slice(0, this.filled));
        this.begin();
        this.port.postMessage(null);
      };
    }

    begin() {
      this.piece = new Float32Array(PIECE_SAMPLES);
      this.filled = 0;
    }

    process([[channel]]) {
      for (const sample of channel ?? []) {
        this.piece[this.filled++] = sample;
        if (this.filled === PIECE_SAMPLES) {
          this.port.postMessage(this.piece);
          this.begin();
        }
      }
      return true;
    }
  }
  registerProcessor("gatherer", Gatherer);
}

// The samples of a file at `rate`, its channels mixed, or null where the browser cannot read it.
async function decode(bytes, rate) {
  try {
    const audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice(0));
    const mean = new Float32Array(audio.length);
    for (let c = 0; c < audio.numberOfChannels; c++) {
      audio.getChannelData(c).forEach((x, i) => { mean[i] += x / audio.numberOfChannels; });
    }
    return toInt16(mean);
  } catch {
    return null;
  }
}

// The gateway

class Speech {
  // One WebSocket: audio goes in, `onMessage` gets what is said; `ended` is a promise of the end.
  constructor(config, onMessage) {
    this.socket = new WebSocket(location.origin.replace(/^http/, "ws") + SPEECH);
    this.socket.binaryType = "arraybuffer";
    const later = {};
    this.begun = new Promise((resolve, reject) => Object.assign(later, { resolve, reject }));
    this.begun.catch(() => {}); // told by `ended` as well
    this.ended = new Promise((resolve, reject) => {
      let error = null;
      let done = false;
      this.socket.onopen = () => this.socket.send(JSON.stringify({ config }));
      this.socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "started") later.resolve(message);
        if (message.type === "error" || message.error) error = new Error(message.error.message);
        if (message.type === "done") done = true;
        onMessage(message);
      };
      this.socket.onclose = () => {
        error ??= done ? null : new Error("The connection to the gateway has ended. Try again.");
        if (error) {
          later.reject(error);
          reject(error);
        } else {
          resolve();
        }
      };
    });
  }

  get waiting() {
    return this.socket.bufferedAmount;
  }

  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  finish() {
    const send = () => this.send(JSON.stringify({ eof: 1 }));
    this.begun.then(send, () => {}); // before it, the gateway takes no end
  }

  cancel() {
    this.socket.close();
  }
}

function keyHeader() {
  const key = find("key").value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: keyHeader() });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? `The gateway answers ${response.status}.`);
  return body;
}

// What the server makes of a recording that it hears as a whole, with what it heard frame by frame.
async function look(samples, rate) {
  const form = new FormData();
  form.append("file", wavOf(samples, rate), "segment.wav");
  form.append("model", chosenModel().id);
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("include[]", "posteriors");
  phrases().forEach((phrase) => form.append("keywords[]", phrase));
  return ask(TRANSCRIPTIONS, { method: "POST", body: form });
}

// The state of the page

const state = {
  models: [],
  speech: null, // the stream that goes on
  microphone: null,
  recording: null,
  finals: [], // {start, end, words, alternatives, recording}
  shown: null, // the one whose picture is drawn
  picture: null, // what the picture shows
};

const chosenModel = () => state.models.find((model) => model.id === find("model").value) ?? { id: "", sample_rate: 16000 };
const phrases = () => find("phrases").value.split("\n").map((line) => line.trim()).filter(Boolean);

function configOf(audio) {
  const config = {
    native: true,
    model: chosenModel().id,
    latency: find("latency").value,
    max_alternatives: Math.max(1, Math.min(10, Number(find("alternatives").value) || 1)),
    ...audio,
  };
  if (phrases().length) config.phrase_list = phrases();
  if (find("written").checked) config.written = true;
  if (find("key").value.trim()) config.api_key = find("key").value.trim();
  return config;
}

function tellStatus(text) {
  find("status").textContent = text;
}

function tellError(error) {
  find("error").hidden = !error;
  find("error").textContent = error ? (error.message || String(error)) : "";
}

function begin(audio, recording) {
  tellError(null);
  state.recording = recording;
  const offset = { recording };
  const speech = new Speech(configOf(audio), (message) => hear(message, offset));
  state.speech = speech;
  showBusy();
  speech.ended.catch(tellError).finally(() => {
    if (state.speech !== speech) return;
    state.speech = null;
    showPartial("", "");
    stopMicrophone();
    showBusy();
    tellStatus("");
  });
  return speech;
}

function hear(message, { recording }) {
  if (message.type === "partial") showPartial(message.stable, message.unstable);
  if (message.type !== "final") return;
  showPartial("", "");
  if (!message.text) return;
  const final = { ...message, recording };
  state.finals.push(final);
  addSegment(final);
  if (state.microphone || state.finals.length === 1) select(final); // others when they are asked for
}

async function startMicrophone() {
  const microphone = (state.microphone = new Microphone());
  showBusy();
  tellStatus("Asking for the microphone …");
  let recording = null;
  let early = [];
  const send = (piece) => {
    recording.add(piece);
    state.speech?.send(piece);
    if (state.speech?.waiting > LATE_BYTES) stop(new Error("The gateway does not keep up with the microphone."));
  };
  try {
    const rate = await microphone.open((floats) => {
      showLevel(floats);
      const piece = toInt16(floats);
      if (early) early.push(piece);
      else send(piece);
    });
    if (state.microphone !== microphone) { // stopped before the browser gave it
      await microphone.close();
      return;
    }
    recording = new Recording(rate);
    const speech = begin({ encoding: "LINEAR16", sample_rate: rate }, recording);
    await speech.begun;
    const waited = early;
    early = null;
    waited.forEach(send);
    tellStatus("Listening. Text in italics may still change.");
  } catch (error) {
    await stopMicrophone();
    if (!state.speech) tellStatus("");
    tellError(error.name === "NotAllowedError" ? new Error("The browser was not allowed to use the microphone.") : error);
    showBusy();
  }
}

async function stopMicrophone() {
  const microphone = state.microphone;
  if (!microphone) return;
  state.microphone = null;
  await microphone.close();
  showLevel([]);
  showBusy();
}

async function stop(error) {
  if (error) tellError(error);
  const speech = state.speech;
  await stopMicrophone();
  if (error) speech?.cancel();
  else speech?.finish();
  tellStatus(state.speech ? "Waiting for the last results …" : "");
}

async function readFile(file) {
  if (state.speech || state.microphone) return;
  try {
    if (file.size > FILE_BYTES) throw new Error(`${file.name} has more than ${FILE_BYTES / 1024 / 1024} MiB.`);
    const bytes = await file.arrayBuffer();
    const rate = chosenModel().sample_rate;
    const samples = await decode(bytes, rate);
    const recording = samples && new Recording(rate);
    recording?.add(samples);
    const speech = begin(samples ? { encoding: "LINEAR16", sample_rate: rate } : { encoding: "FILE" }, recording);
    tellStatus(`Reading ${file.name} …`);
    await speech.begun;
    await sendAll(speech, samples ?? new Uint8Array(bytes));
    speech.finish();
    await speech.ended;
  } catch (error) {
    tellError(error);
  }
}

async function sendAll(speech, data) {
  const size = 8 * PIECE_SAMPLES;
  for (let start = 0; start < data.length && state.speech === speech; start += size) {
    speech.send(data.slice(start, start + size));
    while (speech.waiting > SOCKET_BYTES && state.speech === speech) {
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}

// What is shown

function showBusy() {
  const button = find("microphone");
  const isRecording = state.microphone !== null;
  button.textContent = isRecording ? "Stop the microphone" : "Start the microphone";
  button.classList.toggle("on", isRecording);
  find("level").hidden = !isRecording;
  button.disabled = !isRecording && state.speech !== null;
  find("file").disabled = isRecording || state.speech !== null;
  const isEmpty = state.finals.length === 0;
  find("empty").hidden = !isEmpty || isRecording || state.speech !== null;
  find("srt").disabled = isEmpty;
  find("clear").disabled = isEmpty;
}

function showLevel(floats) {
  const power = floats.length ? floats.reduce((sum, x) => sum + x * x, 0) / floats.length : 0;
  find("level").value = power ? Math.max(0, 1 + Math.log10(power) / 6) : 0; // from -60 dB
}

function showPartial(stable, unstable) {
  find("stable").textContent = stable;
  find("unstable").textContent = unstable;
}

const levelOf = (confidence) => Math.min(4, Math.floor(confidence * 5));
const percent = (confidence) => `${Math.round(100 * confidence)} %`;

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function wordSpans(words) {
  return words.flatMap((word) => {
    const span = make("span", `word c${levelOf(word.confidence)}`, word.word);
    span.title = `${percent(word.confidence)} sure, ${word.start.toFixed(2)} to ${word.end.toFixed(2)} s`;
    return [span, " "];
  });
}

function addSegment(final) {
  const item = make("li", "segment");
  const button = make("button", "time", clock(final.start));
  button.type = "button";
  button.setAttribute("aria-label", `Show what was heard from ${clock(final.start)} to ${clock(final.end)}`);
  button.addEventListener("click", () => select(final));
  const text = make("span", "text");
  text.append(...(final.words.length ? wordSpans(final.words) : [final.text]));
  if (final.spoken && final.spoken !== final.text) text.title = `Spoken: ${final.spoken}`;
  item.append(button, text);
  final.item = item;
  find("segments").append(item);
  showBusy();
}

async function select(final) {
  state.shown?.item.classList.remove("shown");
  state.shown?.item.firstChild.removeAttribute("aria-current");
  state.shown = final;
  final.item.classList.add("shown");
  final.item.firstChild.setAttribute("aria-current", "true");
  find("segment").hidden = false;
  showAlternatives(final.alternatives);
  showTable(final.words);
  await showPicture(final);
}

function showAlternatives(alternatives) {
  find("nbest").replaceChildren(...alternatives.map(({ text, confidence }) => {
    const item = make("li", "", `${text} `);
    item.append(make("span", "sure", `${percent(confidence)} sure`));
    return item;
  }));
}

function showTable(words) {
  find("words").replaceChildren(...words.map((word) => {
    const row = make("tr", "");
    row.append(...[word.word, word.start.toFixed(2), word.end.toFixed(2), percent(word.confidence)].map((text) => make("td", "", text)));
    return row;
  }));
}

async function showPicture(final) {
  const samples = final.end - final.start <= PICTURE_SECONDS
    ? final.recording?.between(final.start, final.end) : null;
  const note = find("picture-note");
  find("scroll").hidden = !samples?.length;
  state.picture = null;
  if (!samples?.length) {
    note.textContent = "There is no picture: the page has not kept this audio, or the browser cannot read the file.";
    return;
  }
  note.textContent = "Reading the segment as a whole …";
  const words = final.words.map((w) => ({ ...w, start: w.start - final.start, end: w.end - final.start }));
  const picture = { samples, rate: final.recording.rate, start: final.start, words };
  state.picture = picture;
  draw(picture);
  try {
    final.heard ??= await look(samples, picture.rate);
    if (state.picture !== picture) return;
    Object.assign(picture, final.heard);
    note.textContent = `Read again as a whole, with all that follows in view: ${final.heard.text || "no words"}`;
  } catch (error) {
    if (state.picture !== picture) return;
    note.textContent = `The probabilities are missing: ${error.message}`;
  }
  draw(picture);
}

// The picture: a spectrogram, the probabilities of tokens, and words, over one axis of time

const SECOND_PIXELS = 160;
const LANES = { spectrogram: 150, posteriors: 120, words: 34, axis: 20 };
const WINDOW_SECONDS = 0.03;
const RANGE_DB = 70;
const TOKEN_COLOURS = 8;
const LABEL_PROBABILITY = 0.5;

function draw(picture) {
  const canvas = find("picture");
  const seconds = picture.samples.length / picture.rate;
  const width = Math.max(find("scroll").clientWidth, Math.ceil(seconds * SECOND_PIXELS));
  const height = Object.values(LANES).reduce((sum, lane) => sum + lane);
  const scale = Math.min(devicePixelRatio || 1, 16000 / width); // what browsers can hold
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  g.fillStyle = colour("back");
  g.fillRect(0, 0, width, height);
  const x = (time) => (time / seconds) * width;
  drawSpectrogram(g, picture, width, LANES.spectrogram);
  g.font = "12px system-ui, sans-serif";
  let top = LANES.spectrogram;
  if (picture.posteriors) drawPosteriors(g, picture.posteriors, x, top, colour);
  top += LANES.posteriors;
  drawWords(g, picture.words ?? [], x, top, colour);
  drawAxis(g, picture.start, seconds, x, top + LANES.words, colour);
  const said = (picture.words ?? []).map((word) => word.word).join(" ");
  canvas.setAttribute("aria-label", `${seconds.toFixed(1)} seconds of sound: spectrogram, probabilities of tokens, and the words ${said}`);
}

function drawSpectrogram(g, { samples, rate }, width, height) {
  const size = 2 ** Math.round(Math.log2(WINDOW_SECONDS * rate));
  const highest = chosenModel().sample_rate / 2; // hertz: the model hears no more
  const columns = Math.max(1, Math.min(Math.ceil(width), Math.ceil(samples.length / (rate / 200))));
  const rows = Math.min(size / 2, Math.round((size * highest) / rate));
  const levels = new Float32Array(columns * rows);
  let loudest = -Infinity;
  for (let column = 0; column < columns; column++) {
    const middle = Math.round(((column + 0.5) / columns) * samples.length);
    powers(samples, middle - size / 2, size).subarray(0, rows).forEach((power, row) => {
      const level = 10 * Math.log10(power + 1);
      levels[column * rows + row] = level;
      loudest = Math.max(loudest, level);
    });
  }
  const image = new ImageData(columns, rows);
  levels.forEach((level, place) => {
    const [column, row] = [Math.floor(place / rows), place % rows];
    const pixel = 4 * ((rows - 1 - row) * columns + column);
    image.data.set([...heat(1 + (level - loudest) / RANGE_DB), 255], pixel);
  });
  const sheet = new OffscreenCanvas(columns, rows);
  sheet.getContext("2d").putImageData(image, 0, 0);
  g.drawImage(sheet, 0, 0, width, height);
}

// The power of each frequency in a Hann window of so many samples, a power of two.
function powers(samples, start, size) {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    re[i] = (samples[start + i] ?? 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  }
  fourier(re, im);
  return Float64Array.from({ length: size / 2 }, (_, k) => re[k] ** 2 + im[k] ** 2);
}

// The Fourier transform of a power of two values, in place (Cooley & Tukey 1965).
function fourier(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const [c, s] = [Math.cos((2 * Math.PI * k) / size), -Math.sin((2 * Math.PI * k) / size)];
      for (let a = k; a < n; a += size) {
        const b = a + size / 2;
        const [r, i] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        [re[b], im[b]] = [re[a] - r, im[a] - i];
        re[a] += r;
        im[a] += i;
      }
    }
  }
}

// From black over violet and orange to light yellow; the same in both colour schemes.
const HEAT = [[8, 6, 24], [74, 21, 104], [165, 44, 96], [237, 105, 37], [251, 180, 60], [252, 250, 190]];

function heat(level) {
  const place = Math.max(0, Math.min(0.9999, level)) * (HEAT.length - 1);
  const [low, high] = [HEAT[Math.floor(place)], HEAT[Math.floor(place) + 1]];
  return low.map((value, i) => value + (high[i] - value) * (place % 1));
}

// As in Graves et al. (2006), figure 1: the blank in grey, tokens in colours, a name at each peak.
function drawPosteriors(g, { frame_step: step, tokens, probabilities }, x, top, colour) {
  const bytes = Uint8Array.from(atob(probabilities), (c) => c.charCodeAt(0));
  const count = tokens.length;
  const frames = count ? bytes.length / count : 0;
  const height = LANES.posteriors - 18; // below the names
  const bottom = top + LANES.posteriors - 2;
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const at = (frame, token) => bytes[frame * count + token] / 255;
  const point = (frame, token) => [x((frame + 0.5) * step), bottom - height * at(frame, token)];
  const colourOf = (token) => `hsl(${(token * 360) / TOKEN_COLOURS + 200} 70% ${isDark ? 68 : 38}%)`;
  for (let token = 0; token < count; token++) {
    g.beginPath();
    g.setLineDash(token ? [] : [4, 3]);
    g.lineWidth = token ? 1.6 : 1;
    g.strokeStyle = token ? colourOf(token) : colour("quiet");
    for (let frame = 0; frame < frames; frame++) {
      const isZero = !at(frame, token) && !(frame && at(frame - 1, token));
      if (isZero) g.moveTo(...point(frame, token)); // tokens that are not said leave the bottom free
      else g.lineTo(...point(frame, token));
    }
    g.stroke();
  }
  g.setLineDash([]);
  g.textAlign = "center";
  for (const [frame, token] of peaks(at, frames, count)) {
    g.fillStyle = colourOf(token);
    const [left, high] = point(frame, token);
    g.fillText(tokens[token] === "<space>" ? "␣" : tokens[token], left, Math.max(high - 4, top + 12));
  }
}

// Frame and token of each highest point of a token, the blank left out.
function peaks(at, frames, count) {
  const found = [];
  for (let token = 1; token < count; token++) {
    for (let frame = 0; frame < frames; frame++) {
      const here = at(frame, token);
      const before = frame ? at(frame - 1, token) : 0;
      const after = frame + 1 < frames ? at(frame + 1, token) : 0;
      if (here >= LABEL_PROBABILITY && here > before && here >= after) found.push([frame, token]);
    }
  }
  return found;
}

function drawWords(g, words, x, top, colour) {
  g.textAlign = "center";
  for (const word of words) {
    const [left, right] = [x(word.start), x(word.end)];
    g.fillStyle = colour("panel");
    g.fillRect(left, top + 5, right - left, LANES.words - 10);
    g.strokeStyle = g.fillStyle = colour(`c${levelOf(word.confidence)}`);
    g.lineWidth = 1;
    g.strokeRect(left, top + 5, right - left, LANES.words - 10);
    g.fillText(word.word, (left + right) / 2, top + LANES.words / 2 + 4, Math.max(14, right - left - 2));
  }
}

function drawAxis(g, start, seconds, x, top, colour) {
  g.fillStyle = colour("quiet");
  g.textAlign = "left";
  for (let second = 0; second <= seconds; second++) {
    g.fillRect(x(second), top, 1, 5);
    if (x(second) < x(seconds) - 30) g.fillText(`${(start + second).toFixed(1)} s`, x(second) + 4, top + 14);
  }
}

// Subtitles, by the rules of `asr transcribe --format srt`

const CUE_CHARACTERS = 84;
const CUE_SECONDS = 6;
const PAUSE_SECONDS = 1;

function cues(words) {
  const groups = [];
  for (const word of words) {
    const group = groups.at(-1);
    const characters = group?.reduce((sum, each) => sum + each.word.length + 1, word.word.length);
    if (!group || characters > CUE_CHARACTERS || word.end - group[0].start > CUE_SECONDS
      || word.start - group.at(-1).end > PAUSE_SECONDS) groups.push([word]);
    else group.push(word);
  }
  return groups;
}

function srtClock(seconds) {
  const ms = Math.round(seconds * 1000);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)},${String(ms % 1000).padStart(3, "0")}`;
}

function toSrt(words) {
  const groups = cues(words);
  return groups.map((group, index) => {
    const start = group[0].start;
    const next = groups[index + 1]?.[0].start ?? Infinity;
    const end = Math.min(Math.max(group.at(-1).end, start + 0.001), next);
    const text = group.map((word) => word.word).join(" ");
    return `${index + 1}\n${srtClock(start)} --> ${srtClock(end)}\n${text}\n\n`;
  }).join("");
}

function download(name, text) {
  const link = make("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/x-subrip" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Each recording begins at 0: the next one's times go on where the last one ended.
function allWords() {
  const words = [];
  let [offset, last, recording] = [0, 0, null];
  for (const final of state.finals) {
    if (recording !== final.recording) [offset, recording] = [last, final.recording];
    words.push(...final.words.map((w) => ({ ...w, start: w.start + offset, end: w.end + offset })));
    last = Math.max(last, final.end + offset);
  }
  return words;
}

function clear() {
  Object.assign(state, { finals: [], shown: null, picture: null });
  find("segments").replaceChildren();
  find("segment").hidden = true;
  showPartial("", "");
  tellError(null);
  showBusy();
}

async function listModels() {
  try {
    const { data } = await ask(MODELS);
    state.models = data;
    find("model").replaceChildren(...data.map((model) => new Option(model.id, model.id)));
    tellError(null);
  } catch (error) {
    tellError(error);
    if (!find("key").value) find("options").open = true;
  }
}

function begun() {
  find("microphone").addEventListener("click", () => (state.microphone ? stop() : startMicrophone()));
  find("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) readFile(target.files[0]);
    target.value = "";
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files[0]) readFile(event.dataTransfer.files[0]);
  });
  find("srt").addEventListener("click", () => download("speech.srt", toSrt(allWords())));
  find("clear").addEventListener("click", clear);
  find("key").addEventListener("change", listModels);
  const redraw = () => state.picture && draw(state.picture);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  showBusy();
  listModels();
}

if (globalThis.registerProcessor) registerGatherer();
else begun();

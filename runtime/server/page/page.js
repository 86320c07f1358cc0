"use strict";

// The page of mop serve: a conversation with each served model, side by side.

const $ = (id) => document.getElementById(id);
const panes = []; // of the models: {name, chat, images, messages, turns, figures}
let key = "";
let running = null; // AbortController of the answers under way

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = "Bearer " + key;
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  if (response.status === 401) {
    key = prompt("API key") || "";
    if (key) return ask(path, body, signal);
  }
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try { message = JSON.parse(text).error.message; } catch { /* not JSON */ }
    throw new Error(message);
  }
  return response;
}

function add(pane, kind, text) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  pane.turns.append(p);
  return p;
}

// events calls each with the JSON of every event of a stream.
async function events(response, each) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data !== "[DONE]") each(JSON.parse(data));
    }
  }
}

// dataURL reads a file as an address that holds it.
function dataURL(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function answer(pane, message, picture, signal) {
  const shown = add(pane, "user", message);
  let content = message;
  if (picture && pane.images) {
    const image = document.createElement("img");
    image.src = picture;
    image.alt = "picture";
    shown.prepend(image);
    content = [{ type: "image_url", image_url: { url: picture } }, { type: "text", text: message }];
  }
  const messages = [...pane.messages, { role: "user", content }];
  const target = add(pane, "assistant", "");
  const start = performance.now();
  let text = "", tokens = 0, first = 0;
  const show = () => {
    const seconds = (performance.now() - first) / 1000;
    const rate = tokens > 1 && seconds > 0 ? ((tokens - 1) / seconds).toFixed(1) + " tokens/s" : "";
    pane.figures.textContent = first ? `first token ${(first - start).toFixed(0)} ms, ${tokens} tokens, ${rate}` : "";
  };
  const body = { model: pane.name, stream: true, max_tokens: Number($("tokens").value), temperature: Number($("temperature").value) };
  if (pane.chat) body.messages = messages; else body.prompt = message;
  // Every token is one event where its probability is asked for, so that they can be counted.
  if (pane.chat) body.logprobs = true; else body.logprobs = 0;
  try {
    const response = await ask(pane.chat ? "v1/chat/completions" : "v1/completions", body, signal);
    await events(response, (event) => {
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices[0];
      if (!choice) return;
      const lists = choice.logprobs;
      const n = lists ? (lists.content || lists.tokens).length : 0;
      if (n && !first) first = performance.now();
      tokens += n;
      text += (pane.chat ? choice.delta.content : choice.text) || "";
      target.textContent = text;
      show();
      if (event.timings) {
        const t = event.timings;
        pane.figures.textContent = `first token ${(first - start).toFixed(0)} ms, ${t.predicted_n} tokens, ${t.predicted_per_second.toFixed(1)} tokens/s`;
      }
    });
    pane.messages = [...messages, { role: "assistant", content: text }];
  } catch (error) {
    add(pane, "error", error.name === "AbortError" ? "stopped" : error.message);
  }
}

async function send(event) {
  event.preventDefault();
  const message = $("message").value.trim();
  if (!message || running) return;
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  try {
    const file = $("picture").files[0];
    const picture = file && await dataURL(file);
    $("message").value = "";
    $("picture").value = "";
    await Promise.all(panes.map((pane) => answer(pane, message, picture, running.signal)));
  } catch (error) { // of the file of the picture
    for (const pane of panes) add(pane, "error", error.message);
  }
  running = null;
  $("send").disabled = false;
  $("stop").disabled = true;
}

function reset() {
  for (const pane of panes) {
    pane.messages = [];
    pane.turns.replaceChildren();
    pane.figures.textContent = "";
  }
}

async function begin() {
  const list = await (await ask("v1/models")).json();
  for (const model of list.data) {
    const section = document.createElement("section");
    const title = document.createElement("h2");
    const note = model.has_chat_template ? "" : ", continues texts: it has no chat template";
    title.textContent = `${model.id} (${(model.parameters / 1e6).toFixed(1)} M parameters${note})`;
    const figures = document.createElement("div");
    figures.className = "figures";
    const turns = document.createElement("div");
    turns.className = "turns";
    section.append(title, figures, turns);
    $("models").append(section);
    if (model.takes_images) $("picture").hidden = false;
    panes.push({ name: model.id, chat: model.has_chat_template, images: model.takes_images, messages: [], turns, figures });
  }
}

$("form").addEventListener("submit", send);
$("stop").addEventListener("click", () => running && running.abort());
$("reset").addEventListener("click", reset);
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); $("form").requestSubmit(); }
});
begin().catch((error) => { $("models").textContent = error.message; });

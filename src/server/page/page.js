/*
 * Asks the server for a story, and shows it as it comes.
 */
const byId = (id) => document.getElementById(id);
const [form, story, status, stop] = ["form", "story", "status", "stop"].map(byId);
let running;

const headers = () => {
  const key = byId("key").value;
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
};

/** The server's error message. Where a key is needed, shows the field for it. */
async function complaintOf(response) {
  if (response.status === 401) byId("key-label").hidden = false;
  const { error } = await response.json().catch(() => ({}));
  return error?.message ?? `the server answers ${response.status}`;
}

async function listModels() {
  const response = await fetch("/v1/models", { headers: headers() });
  if (!response.ok) throw new Error(await complaintOf(response));
  const { data } = await response.json();
  byId("model").replaceChildren(...data.map(({ id }) => new Option(id, id)));
}

/** The events of a stream: the data of each. */
async function* eventsOf(body) {
  let text = "";
  for await (const piece of iterate(body.pipeThrough(new TextDecoderStream()))) {
    text += piece;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) yield event.replace(/^data: /, "");
  }
}

/** Iterate over a stream, also in browsers whose streams are not iterable yet. */
async function* iterate(stream) {
  const reader = stream.getReader();
  try {
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) yield value;
  } finally {
    reader.cancel();
  }
}

async function tell(signal) {
  if (byId("model").options.length === 0) await listModels();
  const prompt = byId("prompt").value;
  const seed = byId("seed").value;
  const body = {
    model: byId("model").value,
    prompt,
    echo: true,
    temperature: Number(byId("temperature").value),
    top_p: 0.9,
    ...(seed && { seed }),
    stream: true,
    stream_options: { include_usage: true },
  };
  const response = await fetch("/v1/completions", {
    method: "POST",
    headers: headers(),
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error(await complaintOf(response));
  const start = performance.now();
  for await (const data of eventsOf(response.body)) {
    if (data === "[DONE]") return;
    const { choices, usage, error } = JSON.parse(data);
    if (error) throw new Error(error.message);
    story.append(choices[0]?.text ?? "");
    if (usage) {
      const perSecond = (1000 * usage.completion_tokens) / (performance.now() - start);
      status.textContent = `${usage.completion_tokens} tokens, ${perSecond.toFixed(0)} a second`;
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  running?.abort();
  const mine = new AbortController();
  running = mine;
  story.textContent = "";
  status.textContent = "";
  stop.disabled = false;
  try {
    await tell(mine.signal);
  } catch (error) {
    if (running === mine) status.textContent = mine.signal.aborted ? "stopped" : error.message;
  } finally {
    if (running === mine) stop.disabled = true;
  }
});
stop.addEventListener("click", () => running?.abort());
listModels().catch((error) => {
  status.textContent = error.message;
});

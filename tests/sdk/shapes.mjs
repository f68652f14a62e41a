// Every call of the official `openai` package for Node that has two shapes, once. Arguments and result as in shapes.py, and the folder
// of the package.

import { createRequire } from "node:module";

const VERSION = "2025-04-01-preview";
const KEY = "client-key-not-real";
const MESSAGES = [{ role: "user", content: "Say something." }];

const [kind, base, model, modules] = process.argv.slice(2);
const load = createRequire(`${modules}/`);
const { default: OpenAI, AzureOpenAI, toFile } = load("openai");
const { OpenAIRealtimeWS } = load("openai/realtime/ws");
const sdk =
  kind === "azure"
    ? new AzureOpenAI({ endpoint: base, apiKey: KEY, apiVersion: VERSION })
    : new OpenAI({ baseURL: `${base}/openai/v1`, apiKey: KEY });
const sound = () => toFile(Buffer.concat([Buffer.from("RIFF"), Buffer.alloc(50_000, 7)]), "speech.wav");

const CALLS = {
  chat: async () => (await sdk.chat.completions.create({ model, messages: MESSAGES })).choices[0].message.content,
  stream: async () => {
    let text = "";
    for await (const chunk of await sdk.chat.completions.create({ model, messages: MESSAGES, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    return text;
  },
  completion: async () => (await sdk.completions.create({ model, prompt: "Say" })).choices[0].text,
  embeddings: async () => String((await sdk.embeddings.create({ model, input: ["a", "b"] })).data.length),
  responses: async () => (await sdk.responses.create({ model, input: "Say something." })).output_text,
  image: async () => {
    const answer = await sdk.images.generate({ model, prompt: "A gate.", response_format: "b64_json" });
    return Buffer.from(answer.data[0].b64_json, "base64").toString();
  },
  image_edit: async () =>
    (await sdk.images.edit({ model, prompt: "A gate.", image: await sound() })).data[0].revised_prompt,
  speech: async () => {
    const answer = await sdk.audio.speech.create({ model, voice: "alloy", input: "Hi" });
    return Buffer.from(await answer.arrayBuffer()).subarray(0, 60).toString("latin1");
  },
  transcription: async () => (await sdk.audio.transcriptions.create({ model, file: await sound() })).text,
  translation: async () => (await sdk.audio.translations.create({ model, file: await sound() })).text,
  models: async () => {
    const names = [];
    for await (const one of sdk.models.list()) names.push(one.id);
    return names.join(",");
  },
  realtime: async () => {
    const socket =
      kind === "azure"
        ? await OpenAIRealtimeWS.azure(sdk, { deploymentName: model })
        : await OpenAIRealtimeWS.create(sdk, { model });
    const told = (type) => new Promise((tell, fail) => (socket.once(type, tell), socket.once("error", fail)));
    const created = await told("session.created");
    const updated = told("session.updated");
    socket.send({ type: "session.update", session: { type: "realtime" } });
    await updated;
    socket.close();
    return created.session.model;
  },
  retrieved: async () => (await sdk.models.retrieve(model)).id,
};

const results = {};
for (const [name, call] of Object.entries(CALLS)) {
  try {
    results[name] = await call();
  } catch (error) {
    results[name] = `${error.name}: ${error.message}`;
  }
}
console.log(JSON.stringify(results));
process.exit(0);

// Streams of the official `openai` package for Node, many at once, some left midway; tells what each of them saw. Jobs, results and
// arguments as in usage.py.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const VERSION = "2024-10-21";
const RESPONSES_VERSION = "2025-03-01-preview";
const KEY = "client-key-not-real";
const MESSAGES = [{ role: "user", content: "Say something." }];

const [kind, base, modules] = process.argv.slice(2);
const { default: OpenAI, AzureOpenAI } = createRequire(`${modules}/`)("openai");

function client(call) {
  if (kind === "azure") {
    const apiVersion = call === "responses" ? RESPONSES_VERSION : VERSION;
    return new AzureOpenAI({ endpoint: base, apiKey: KEY, apiVersion });
  }
  return new OpenAI({ baseURL: `${base}/openai/v1`, apiKey: KEY });
}

function begin(sdk, job) {
  const headers = { "x-request-id": job.id, "x-sim-tokens": String(job.tokens), "x-sim-words": "1" };
  if (job.stall_after !== null) headers["x-sim-stall-after"] = String(job.stall_after);
  if (job.call === "responses") {
    return sdk.responses.create({ model: "gpt", input: "Say something.", stream: true }, { headers });
  }
  const options = { model: "gpt", stream: true, ...(job.ask ? { stream_options: { include_usage: true } } : {}) };
  if (job.call === "completions") return sdk.completions.create({ ...options, prompt: "Say" }, { headers });
  return sdk.chat.completions.create({ ...options, messages: MESSAGES }, { headers });
}

function textOf(call, chunk) {
  if (call === "responses") return chunk.type === "response.output_text.delta" ? chunk.delta : null;
  const choice = chunk.choices[0];
  return call === "completions" ? choice?.text : choice?.delta?.content;
}

function usageOf(call, chunk) {
  if (call === "responses") {
    const usage = chunk.type === "response.completed" ? chunk.response.usage : null;
    return usage && { prompt: usage.input_tokens, completion: usage.output_tokens };
  }
  return chunk.usage && { prompt: chunk.usage.prompt_tokens, completion: chunk.usage.completion_tokens };
}

async function run(job) {
  let seen = 0;
  const usages = [];
  for await (const chunk of await begin(client(job.call), job)) {
    if (textOf(job.call, chunk)) seen += 1;
    const usage = usageOf(job.call, chunk);
    if (usage) usages.push(usage);
    if (job.leave_after !== null && seen >= job.leave_after) break; // the SDK ends the request with the loop
  }
  return { id: job.id, seen, usages };
}

const jobs = (await text(process.stdin)).split("\n").filter(Boolean).map(JSON.parse);
for (const result of await Promise.all(jobs.map(run))) console.log(JSON.stringify(result));
process.exit(0);

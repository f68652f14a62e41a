// Reads whole lists by the pagination of the official `openai` package for Node. Arguments and result as in lists.py, and the folder of
// the package.

import { createRequire } from "node:module";

const [kind, base, modules] = process.argv.slice(2);
const { default: OpenAI, AzureOpenAI } = createRequire(`${modules}/`)("openai");
const options = { apiKey: "not-real", maxRetries: 0 };
const sdk =
  kind === "azure"
    ? new AzureOpenAI({ ...options, endpoint: base, apiVersion: "2025-04-01-preview" })
    : new OpenAI({ ...options, baseURL: `${base}/openai/v1` });
const lists = {
  vector_stores: sdk.vectorStores,
  assistants: sdk.beta.assistants,
  jobs: sdk.fineTuning.jobs,
  files: sdk.files,
};

const told = {};
for (const [name, calls] of Object.entries(lists)) {
  told[name] = [];
  for await (const item of calls.list({ limit: 2 })) {
    if ((await calls.retrieve(item.id)).id !== item.id) throw new Error(`${item.id} is another`);
    told[name].push(item.name ?? item.purpose ?? item.metadata.name);
  }
}
console.log(JSON.stringify(told));

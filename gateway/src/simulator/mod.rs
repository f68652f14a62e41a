//! A faithful Azure OpenAI region in a process.

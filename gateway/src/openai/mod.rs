//! The OpenAI protocol, parsing and printing. Pure.

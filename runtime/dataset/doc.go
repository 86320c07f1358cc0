// Package dataset reads the texts on which models are calibrated, trained and evaluated:
// JSON, JSON lines and plain text, with rows in the form of Alpaca, prompt and completion,
// or messages. It returns prompts, training examples with the tokens that have a loss, and
// windows of text.
package dataset

package llama2c

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"

	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/gguf"
	"mop/runtime/modelcard"
	"mop/runtime/tokenizer"
)

// ImportFiles converts a weight file and its tokenizer, a tokenizer.bin or a
// tokenizer.model, to a checkpoint with the files that other programs look for.
func ImportFiles(weights, tokenizerFile, out, hfType string) error {
	s, err := Open(weights)
	if err != nil {
		return err
	}
	c := s.Config()
	s.Close()
	t, err := tokenizer.OpenFile(tokenizerFile)
	if err != nil {
		return err
	}
	if t.Vocab() != c.VocabSize {
		return fmt.Errorf("%s: want %d tokens, the vocabulary of the model in %s, got %d", tokenizerFile, c.VocabSize, weights, t.Vocab())
	}
	data, err := tokenizerFiles(t, c.MaxPositions)
	if err != nil {
		return fmt.Errorf("%s: %w", tokenizerFile, err)
	}
	return Import(weights, out, hfType, checkpoint.SaveOptions{Data: data, Card: &modelcard.Card{
		Title:  modelcard.Name(weights),
		Origin: fmt.Sprintf("Imported by mop from `%s` and `%s`, files of llama2.c.", modelcard.Name(weights), modelcard.Name(tokenizerFile)),
	}})
}

// tokenizerFiles returns the contents of the tokenizer's files by their names.
func tokenizerFiles(t *tokenizer.Tokenizer, positions int) (map[string][]byte, error) {
	var text, settings bytes.Buffer
	if err := tokenizer.WriteJSON(&text, t); err != nil {
		return nil, err
	}
	if err := tokenizer.WriteSettings(&settings, t, positions); err != nil {
		return nil, err
	}
	data := map[string][]byte{"tokenizer.json": text.Bytes(), "tokenizer_config.json": settings.Bytes()}
	model, err := gguf.SentencePieceModel(t)
	if errors.Is(err, gguf.ErrTokenizer) {
		slog.Warn("no tokenizer.model is written, which converters of other programs may want", "reason", err)
		return data, nil
	}
	data["tokenizer.model"] = model
	return data, err
}

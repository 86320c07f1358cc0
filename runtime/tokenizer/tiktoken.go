package tokenizer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// looksTiktoken reports whether the first line is that of a tiktoken file: base64, a
// space and a rank.
func looksTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 1024)], []byte("\n"))
	text, rank, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(text) == 0 {
		return false
	}
	_, errText := base64.StdEncoding.DecodeString(string(text))
	_, errRank := strconv.Atoi(string(bytes.TrimSpace(rank)))
	return errText == nil && errRank == nil
}

// llama3Special lists LLaMA-3's special tokens in the order of their ids, which follow
// the ranks. The file does not contain them. LLaMA-3.1 renamed some of the reserved
// ones; its tokenizer.json has the new names.
func llama3Special() []string {
	names := []string{
		"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
		"<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>", "<|end_header_id|>",
		"<|reserved_special_token_4|>", "<|eot_id|>",
	}
	for i := 5; len(names) < 256; i++ {
		names = append(names, fmt.Sprintf("<|reserved_special_token_%d|>", i))
	}
	return names
}

// parseTiktoken reads LLaMA-3's tokenizer.model: a line for each piece, with base64 and
// rank. The rank of a piece is its id, and merges go by the rank of their result.
func parseTiktoken(data []byte) (*Tokenizer, error) {
	var pieces [][]byte
	number := 0
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		text, rank, _ := bytes.Cut(line, []byte(" "))
		p, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if r, err := strconv.Atoi(string(rank)); err != nil || r != len(pieces) || len(p) == 0 {
			return nil, fmt.Errorf("line %d: want a piece and rank %d, got %q", number, len(pieces), clip(string(line)))
		}
		pieces = append(pieces, p)
	}
	special := llama3Special()
	t := newTokenizer(len(pieces) + len(special))
	m := &t.model
	m.bytes, m.whole = true, true
	t.preTokenizers = []preTokenizer{&splitter{cover: covers(llama3Pattern), local: true}}
	score := make([]float64, len(t.pieces))
	for id, p := range pieces {
		if other, ok := m.ids[string(p)]; ok {
			return nil, fmt.Errorf("rank %d: %q has rank %d already", id, clip(string(p)), other)
		}
		t.pieces[id], t.class[id] = p, normal
		m.ids[string(p)] = int32(id)
		score[id] = -float64(id)
		if len(p) == 1 {
			m.raw[p[0]] = int32(id)
		}
	}
	for b, id := range m.raw {
		if id < 0 {
			return nil, fmt.Errorf("byte 0x%02x has no rank", b)
		}
	}
	m.rankByScore(score, func(int) bool { return false })
	for i, name := range special {
		id := len(pieces) + i
		t.pieces[id], t.class[id] = []byte(name), control
		t.raw.add(addedToken{text: name, id: id, special: true})
		t.named(name, id)
	}
	return t, nil
}

// clip shortens text for an error.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

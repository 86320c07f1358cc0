package server

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"

	"mop/internal/files"
	"mop/runtime/tokenizer"
)

// tokenize turns a text into token ids.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	f, bad := readFields(w, r, s.o.MaxBody)
	if bad != nil {
		bad.write(w)
		return
	}
	m := s.readModel(f)
	text, ok := f.text("prompt")
	if !ok {
		f.fail("prompt", "is required")
	}
	special := f.boolean("add_special_tokens", true)
	pieces := f.boolean("return_token_strs", false)
	if bad := f.end(); bad != nil {
		bad.write(w)
		return
	}
	ids, err := m.Tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{BOS: special, EOS: special, Special: true})
	if err != nil {
		badField("prompt", "%v", err).write(w)
		return
	}
	if ids == nil {
		ids = []int{}
	}
	var texts []string // null where they were not asked for
	for _, id := range ids {
		if pieces {
			texts = append(texts, m.tokenText(id))
		}
	}
	writeJSON(w, map[string]any{"count": len(ids), "max_model_len": m.Engine.Stats().MaxContext, "tokens": ids, "token_strs": texts})
}

// detokenize turns token ids into text.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	f, bad := readFields(w, r, s.o.MaxBody)
	if bad != nil {
		bad.write(w)
		return
	}
	m := s.readModel(f)
	raw, ok := f.take("tokens")
	if !ok {
		f.fail("tokens", "is required")
	}
	if bad := f.end(); bad != nil {
		bad.write(w)
		return
	}
	ids, err := tokens(raw, m.config.VocabSize)
	if err != nil {
		badField("tokens", "%v", err).write(w)
		return
	}
	text, err := m.decode(ids)
	if err != nil {
		badField("tokens", "%v", err).write(w)
		return
	}
	writeJSON(w, map[string]string{"prompt": string(text)})
}

// tokenizerInfo is the checkpoint's tokenizer_config.json with the names of the special tokens
// as texts.
func (s *Server) tokenizerInfo(w http.ResponseWriter, r *http.Request) {
	m := s.served()[0]
	if name := r.URL.Query().Get("model"); name != "" {
		f := &fields{}
		if m = s.findModel(f, name); m == nil {
			f.err.write(w)
			return
		}
	}
	info := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": nil, "pad_token": nil, "chat_template": nil}
	if data, err := files.ReadText(filepath.Join(m.dir, "tokenizer_config.json"), 16<<20); err == nil {
		json.Unmarshal(data, &info) // the tokenizer has read the file before
	}
	for key, value := range info {
		if o, ok := value.(map[string]any); ok && strings.HasSuffix(key, "_token") && o["content"] != nil {
			info[key] = o["content"]
		}
	}
	info["eos_token"] = nil
	if eos := m.config.EOS; len(eos) > 0 {
		info["eos_token"] = string(m.Tokenizer.Piece(eos[0]))
	}
	if eos := m.Tokenizer.EOS(); len(eos) > 0 {
		info["eos_token"] = string(m.Tokenizer.Piece(eos[0]))
	}
	if bos := m.Tokenizer.BOS(); bos >= 0 {
		info["bos_token"] = string(m.Tokenizer.Piece(bos))
	}
	writeJSON(w, info)
}

package tokenizer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// used runs a tokenizer that a fuzzed file gave: nothing may panic, and what it
// encodes it can decode.
func used(t *testing.T, data []byte, kind func([]byte) (*Tokenizer, error)) {
	tok, err := kind(data)
	if err != nil {
		return
	}
	if tok.Vocab() > len(data)+256 {
		t.Fatalf("%d ids of a file of %d bytes", tok.Vocab(), len(data))
	}
	for _, text := range []string{"", " ", "a b  ab <s>é\xff\n" + meta, string(data[:min(len(data), 200)])} {
		for _, special := range []bool{false, true} {
			ids, err := tok.Encode([]byte(text), EncodeOptions{BOS: true, Special: special})
			if err != nil {
				continue
			}
			if _, err := tok.Decode(ids); err != nil {
				t.Fatalf("%q: ids %v: %v", text, ids, err)
			}
		}
	}
	var out bytes.Buffer
	if WriteJSON(&out, tok) != nil {
		return
	}
	back, err := Parse(out.Bytes())
	if err != nil {
		t.Fatalf("what was written is not read: %v\n%s", err, out.Bytes())
	}
	for _, text := range []string{"", "a", "aab ab  b", "ba\xffé<>s"} {
		want, errWant := tok.Encode([]byte(text), EncodeOptions{BOS: true})
		got, errGot := back.Encode([]byte(text), EncodeOptions{BOS: true})
		if (errWant == nil) != (errGot == nil) || !slices.Equal(want, got) {
			t.Fatalf("%q: %v %v, written %v %v\n%s", text, want, errWant, got, errGot, out.Bytes())
		}
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	f.Add(jsonFile())
	for _, name := range []string{"legacy.json", "first.json", "always.json", "bytelevel.json", "prefixed.json"} {
		f.Add(testFile(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) { used(t, data, parseJSON) })
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(spFile(message(2, number(3, 2))))
	f.Add(testFile(f, "fallback.model"))
	f.Add(testFile(f, "mapped.model"))
	f.Fuzz(func(t *testing.T, data []byte) { used(t, data, parseSentencePiece) })
}

func FuzzTiktoken(f *testing.F) {
	f.Add(tikFile())
	f.Add(testFile(f, "tiktoken.model"))
	f.Fuzz(func(t *testing.T, data []byte) { used(t, data, parseTiktoken) })
}

func FuzzLlama2c(f *testing.F) {
	f.Add(binFile("a", "b", " "))
	f.Add(testFile(f, "fallback.bin"))
	f.Fuzz(func(t *testing.T, data []byte) { used(t, data, parseLlama2c) })
}

// What is encoded decodes to itself, up to the rule for spaces in front.
func FuzzRoundTrip(f *testing.F) {
	toks := map[string]*Tokenizer{}
	for _, name := range withBytes {
		toks[name] = parseFile(f, name)
	}
	for _, text := range append(readGolden(f).Texts, "a\xff\xe2\x82", "\xc0\x80 \xed\xa0\x80") {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		for _, name := range withBytes {
			ids, err := toks[name].Encode(text, EncodeOptions{BOS: true})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := toks[name].Decode(ids)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if want := roundTrip(name, string(text)); string(got) != want && !hasAdded(toks[name], text) {
				t.Fatalf("%s: %q: want %q, got %q", name, text, want, got)
			}
		}
		if !bytes.Equal(text, before) {
			t.Fatal("the text was changed")
		}
	})
}

// hasAdded says that a text has added tokens in it: some of them take white space
// along, and what stands after one begins with a space of its own.
func hasAdded(tok *Tokenizer, text []byte) bool {
	for _, set := range []*addedSet{&tok.raw, &tok.normalized} {
		for _, a := range set.tokens {
			if !a.special && bytes.Contains(text, []byte(strings.TrimLeft(unescape(a.text), " "))) {
				return true
			}
		}
	}
	return false
}

// The matchers of words agree with a regular-expression engine.
func FuzzWords(f *testing.F) {
	matchers := []struct {
		s splitter
		r *regexp2.Regexp
	}{
		{splitter{cut: cutLlama3}, regexp2.MustCompile(llama3Pattern, regexp2.Unicode)},
		{splitter{cut: cutQwen2}, regexp2.MustCompile(qwen2Pattern, regexp2.Unicode)},
		{splitter{cut: cutGPT2}, regexp2.MustCompile(gpt2Pattern, regexp2.Unicode)},
	}
	for _, text := range readGolden(f).Texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// The engine folds U+017F otherwise than the peers do; see TestPeers.
		if !utf8.ValidString(text) || len(text) > 2000 || bytes.ContainsRune([]byte(text), 0x17f) {
			return
		}
		for i, m := range matchers {
			rest := text
			match, err := m.r.FindStringMatch(text)
			for ; match != nil && err == nil; match, err = m.r.FindNextMatch(match) {
				if len(rest) == 0 {
					t.Fatalf("matcher %d: %q: a word too many, %q", i, text, match.String())
				}
				n := m.s.length([]byte(rest))
				if rest[:n] != match.String() {
					t.Fatalf("matcher %d: %q: want %q, got %q", i, text, match.String(), rest[:n])
				}
				rest = rest[n:]
			}
			if err != nil || rest != "" {
				t.Fatalf("matcher %d: %q: left %q, %v", i, text, rest, err)
			}
		}
	})
}

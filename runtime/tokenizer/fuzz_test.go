package tokenizer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"mop/runtime/tokenizer/oniguruma"
)

// exercise runs the tokenizer of a fuzzed file: nothing may panic, and it can decode
// what it encodes.
func exercise(t *testing.T, data []byte, kind func([]byte) (*Tokenizer, error)) {
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
	for _, c := range readPipelines(f).Cases {
		if strings.HasSuffix(c.File, ".json") {
			f.Add(testFile(f, c.File))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { exercise(t, data, parseJSON) })
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(spFile(message(2, number(3, 2))))
	f.Add(testFile(f, "fallback.model"))
	f.Add(testFile(f, "mapped.model"))
	f.Add(spFile(message(2, number(3, 1))))
	f.Add(testFile(f, "pipelines/unigram.model"))
	f.Fuzz(func(t *testing.T, data []byte) { exercise(t, data, parseSentencePiece) })
}

func FuzzTiktoken(f *testing.F) {
	f.Add(tikFile())
	f.Add(testFile(f, "tiktoken.model"))
	f.Fuzz(func(t *testing.T, data []byte) { exercise(t, data, parseTiktoken) })
}

func FuzzLlama2c(f *testing.F) {
	f.Add(binFile("a", "b", " "))
	f.Add(testFile(f, "fallback.bin"))
	f.Fuzz(func(t *testing.T, data []byte) { exercise(t, data, parseLlama2c) })
}

// Decoding the ids of a text gives the text, except for the spaces in front.
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

// hasAdded reports whether a text contains added tokens: some of them include white
// space, and the text after one gets a space in front.
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

// The hand-written matchers agree with regular-expression engines: ours, which also
// sees text that is not UTF-8, and an independent one.
func FuzzPatterns(f *testing.F) {
	type engine struct {
		cover func([]byte) int
		ours  *oniguruma.Regexp
		other *regexp2.Regexp
	}
	var engines []engine
	for _, pattern := range []string{llama3Pattern, qwen2Pattern, gpt2Pattern} {
		ours, err := oniguruma.Compile(pattern)
		if err != nil {
			f.Fatal(err)
		}
		engines = append(engines, engine{covers(pattern), ours, regexp2.MustCompile(pattern, regexp2.Unicode)})
	}
	for _, text := range readGolden(f).Texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		for i, m := range engines {
			var words []string
			for rest := []byte(text); len(rest) > 0; {
				n := m.cover(rest)
				words, rest = append(words, string(rest[:n])), rest[n:]
			}
			var ours []string
			m.ours.Matcher().FindAll([]byte(text), func(start, end int) { ours = append(ours, text[start:end]) })
			if !slices.Equal(words, ours) {
				t.Fatalf("pattern %d: %q: oniguruma %q, got %q", i, text, ours, words)
			}
			// regexp2 folds U+017F in another way than the tokenizers library; see TestOtherLibraries.
			if !utf8.ValidString(text) || bytes.ContainsRune([]byte(text), 0x17f) {
				continue
			}
			var want []string
			match, err := m.other.FindStringMatch(text)
			for ; match != nil && err == nil; match, err = m.other.FindNextMatch(match) {
				want = append(want, match.String())
			}
			if err != nil || !slices.Equal(words, want) {
				t.Fatalf("pattern %d: %q: want %q, got %q, %v", i, text, want, words, err)
			}
		}
	})
}

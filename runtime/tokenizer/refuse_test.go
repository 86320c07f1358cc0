package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// binPiece is one entry of a tokenizer.bin.
func binPiece(score float32, text string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, math.Float32bits(score))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	return append(out, text...)
}

// binFile is a tokenizer.bin without bytes, whose pieces all have score 0.
func binFile(pieces ...string) []byte {
	out := []byte{64, 0, 0, 0}
	for _, p := range append([]string{"<unk>", "\n<s>\n", "\n</s>\n"}, pieces...) {
		out = append(out, binPiece(0, p)...)
	}
	return out
}

// message is a protobuf field that holds bytes.
func message(field int, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := binary.AppendUvarint(nil, uint64(field)<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(body))), body...)
}

func number(field int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3), v)
}

func float(field int, v float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(nil, uint64(field)<<3|5), math.Float32bits(v))
}

// spFile is a SentencePiece model: parts, and a few pieces.
func spFile(parts ...[]byte) []byte {
	piece := func(text string, kind uint64) []byte {
		return message(1, message(1, []byte(text)), float(2, 0), number(3, kind))
	}
	out := bytes.Join([][]byte{piece("<unk>", 2), piece("<s>", 3), piece("</s>", 3), piece("a", 1)}, nil)
	return append(out, bytes.Join(parts, nil)...)
}

// tikFile is a tiktoken file of all bytes, with lines in place of the last ones.
func tikFile(lines ...string) []byte {
	var out bytes.Buffer
	for b := range 256 - len(lines) {
		fmt.Fprintf(&out, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(b)}), b)
	}
	for _, l := range lines {
		out.WriteString(l + "\n")
	}
	return out.Bytes()
}

// jsonFile is a tokenizer.json with things put in place of others.
func jsonFile(replacements ...string) []byte {
	const plain = `{"version":"1.0","added_tokens":[{"id":0,"content":"<unk>","special":true}],"normalizer":null,"pre_tokenizer":null,` +
		`"post_processor":null,"decoder":null,"model":{"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}`
	return []byte(strings.NewReplacer(replacements...).Replace(plain))
}

// A file that is malformed or not supported gives one line that names the file and the
// problem.
func TestRefusedFiles(t *testing.T) {
	bpe := message(2, number(3, 2))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "empty file"},
		{"not JSON", []byte(`{"model":`), "ends inside"},
		{"a key twice", jsonFile(`"a":1`, `"a":1,"a":1`), "stands twice"},
		{"word pieces", jsonFile(`"BPE"`, `"WordPiece"`), `want type BPE or Unigram, got "WordPiece"`},
		{"unigram with merges", jsonFile(`"BPE"`, `"Unigram"`), "a list of [text, score] for Unigram"},
		{"BPE with scores", jsonFile(`{"<unk>":0,"a":1,"b":2,"ab":3}`, `[["<unk>",0],["a",-1]]`), "want an object for BPE"},
		{"unigram without scores", jsonFile(`"BPE"`, `"Unigram"`, `{"<unk>":0,"a":1,"b":2,"ab":3}`, `[["<unk>",0],["a"]]`), "id 1: want [text, score]"},
		{"unigram with one piece twice", jsonFile(`"BPE"`, `"Unigram"`, `{"<unk>":0,"a":1,"b":2,"ab":3}`, `[["<unk>",0],["a",1],["a",1]]`), `"a" has id 1 and id 2`},
		{"unigram with an absent unknown id", jsonFile(`"BPE"`, `"Unigram","unk_id":7`, `{"<unk>":0,"a":1,"b":2,"ab":3}`, `[["<unk>",0],["a",1]]`), "unk_id: want 0 to 1"},
		{"no model", []byte(`{}`), "want type BPE"},
		{"dropout", jsonFile(`"BPE"`, `"BPE","dropout":0.1`), "dropout"},
		{"prefix of subwords", jsonFile(`"BPE"`, `"BPE","continuing_subword_prefix":"##"`), "continuing_subword_prefix"},
		{"merge of an absent token", jsonFile(`"a b"`, `"a c"`), `"c" is not in the vocabulary`},
		{"merge into an absent token", jsonFile(`"a b"`, `"b a"`), `"ba" is not in the vocabulary`},
		{"merge of three", jsonFile(`"a b"`, `"a b a"`), "want two pieces"},
		{"merge of one", jsonFile(`["a b"]`, `[["a"]]`), "want two pieces, got 1"},
		{"merges of another kind", jsonFile(`["a b"]`, `[7]`), "merges: want"},
		{"one id twice", jsonFile(`"ab":3`, `"ab":2`), "both have id 2"},
		{"negative id", jsonFile(`"ab":3`, `"ab":-3`), "id -3"},
		{"gigantic id", jsonFile(`"ab":3`, `"ab":2000000000`), "id 2000000000"},
		{"id beyond 32 bits", jsonFile(`"ab":3`, `"ab":20000000000`), "20000000000"},
		{"added token of another's id", jsonFile(`"id":0`, `"id":1`), `added token "<unk>": id 1, in the vocabulary 0`},
		{"added token over another", jsonFile(`"content":"<unk>"`, `"content":"<x>"`), "is another's"},
		{"added token with a gigantic id", jsonFile(`"id":0`, `"id":1000000000000`), "id 1000000000000"},
		{"added token twice", jsonFile(`"special":true}`, `"special":true},{"id":9,"content":"<unk>"}`), "has id 0 and id 9"},
		{"added tokens of one id", jsonFile(`"special":true}`, `"special":true},{"id":9,"content":"x"},{"id":9,"content":"y"}`), "both have id 9"},
		{"added token without text", jsonFile(`"special":true}`, `"special":true},{"id":9,"content":""}`), "no content"},
		{"some bytes", jsonFile(`"BPE"`, `"BPE","byte_fallback":true`, `"ab":3`, `"ab":3,"<0x00>":4`), "byte_fallback with some bytes"},
		{"unknown token absent", jsonFile(`"unk_token":"<unk>"`, `"unk_token":"?"`), `unk_token "?"`},
		{"normalizer", jsonFile(`"normalizer":null`, `"normalizer":{"type":"Nmt"}`), "normalizer Nmt: not supported"},
		{"normalizer in a sequence", jsonFile(`"normalizer":null`, `"normalizer":{"type":"Sequence","normalizers":[{"type":"StripAccents"}]}`), "normalizer StripAccents"},
		{"regex", jsonFile(`"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"Regex":"(x)\\1"},"content":""}`), `not supported`},
		{"pre-tokenizer", jsonFile(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"UnicodeScripts"}`), "pre_tokenizer UnicodeScripts"},
		{"split with a reference", jsonFile(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated"}`), "pre_tokenizer Split: regex"},
		{"split without a behavior", jsonFile(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"}}`), "behavior"},
		{"two byte levels", jsonFile(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"ByteLevel"}]}`), "a second one"},
		{"post-processor", jsonFile(`"post_processor":null`, `"post_processor":{"type":"BertProcessing"}`), "post_processor BertProcessing"},
		{"template that ends a text with an absent token", jsonFile(`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"<unk>"}}]}`), "want one id"},
		{"template with two tokens in front", jsonFile(`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}}`), "at most one special token"},
		{"template of two texts", jsonFile(`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}]}`), "at most one special token"},
		{"template with an absent token", jsonFile(`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}`), "want one id"},
		{"decoder", jsonFile(`"decoder":null`, `"decoder":{"type":"WordPiece"}`), "decoder WordPiece"},
		{"decoder of bytes for characters", jsonFile(`"decoder":null`, `"decoder":{"type":"ByteLevel"}`), "decoder ByteLevel"},

		{"word model", spFile(message(2, number(3, 3))), "want unigram (1) or bpe (2), got word (3)"},
		{"piece cut off", spFile(bpe)[:20], "not a SentencePiece model"},
		{"gigantic piece", append(spFile(bpe), 0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f), "truncated"},
		{"endless number", append(spFile(bpe), bytes.Repeat([]byte{0xff}, 20)...), "bad field tag"},
		{"group", append(spFile(bpe), 0x0b), "wire type 3"},
		{"piece without text", spFile(bpe, message(1, float(2, 0))), "piece 4: want a text"},
		{"score that is no number", spFile(bpe, message(1, message(1, []byte("b")), float(2, float32(math.NaN())))), "piece 4"},
		{"piece twice", spFile(bpe, message(1, message(1, []byte("a")))), `"a" is piece 3 already`},
		{"piece of unknown type", spFile(bpe, message(1, message(1, []byte("b")), number(3, 9))), "unknown type 9"},
		{"byte without byte_fallback", spFile(bpe, message(1, message(1, []byte("<0x00>")), number(3, 6))), "byte_fallback"},
		{"byte_fallback without bytes", spFile(message(2, number(3, 2), number(35, 1))), "byte 0x00 has no piece"},
		{"two unknown pieces", spFile(bpe, message(1, message(1, []byte("b")), number(3, 2))), "unknown"},
		{"space at the end of words", spFile(message(2, number(3, 2), number(24, 1))), "treat_whitespace_as_suffix"},
		{"broken character table", spFile(bpe, message(3, message(2, []byte{0, 0, 0, 4, 0}))), "precompiled_charsmap"},
		{"denormalizer", spFile(bpe, message(5, message(2, []byte("x")))), "denormalizer"},

		{"rank left out", tikFile("/w== 300"), "line 256: want a piece and rank 255"},
		{"piece that stands twice", tikFile("AA== 255"), "has rank 0 already"},
		{"byte without rank", tikFile("YWI= 255"), "byte 0xff has no rank"},
		{"bad base64", tikFile("*** 255"), "line 256"},
		{"negative rank", tikFile("/w== -1"), "line 256"},

		{"no pieces", []byte{7, 0, 0, 0}, "want at least 4 ids"},
		{"gigantic longest piece", []byte{0, 0, 0, 0x7f, 1, 2, 3}, "longest piece"},
		{"negative longest piece", []byte{0xff, 0xff, 0xff, 0xff}, "longest piece of -1"},
		{"truncated entry", append(binFile("a"), 1, 2, 3), "id 4: truncated"},
		{"negative length", append(binFile("a"), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), "piece of -1 bytes"},
		{"gigantic length", append(binFile("a"), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f), "piece of 2147483647 bytes"},
		{"score NaN", append(binFile("a"), binPiece(float32(math.NaN()), "b")...), "id 4: score NaN"},
		{"twice in a tokenizer.bin", binFile("a", "a"), `"a" has id 3 already`},
		{"a byte twice", binFile("<0x41>", "<0x41>"), "byte 0x41 has id 3 already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokenizer.file")
			if err := os.WriteFile(path, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			tok, err := OpenFile(path)
			if err == nil {
				t.Fatalf("accepted, %d ids", tok.Vocab())
			}
			if s := err.Error(); !strings.Contains(s, c.want) || !strings.HasPrefix(s, path) || strings.Contains(s, "\n") || len(s) > len(path)+300 {
				t.Errorf("want one line that names the file and has %q, got %q", c.want, s)
			}
		})
	}
	// The files that the cases were derived from are accepted.
	for _, data := range [][]byte{jsonFile(), spFile(bpe), tikFile(), binFile("a")} {
		if _, err := Parse(data); err != nil {
			t.Error(err)
		}
	}
}

// A directory may hold only a tokenizer. Of several files the first in the documented
// order counts.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "found none") {
		t.Errorf("an empty directory: %v", err)
	}
	for i, c := range []struct {
		name string
		data []byte
	}{{"tokenizer.bin", binFile("a")}, {"tokenizer.model", tikFile()}, {"tokenizer.json", jsonFile()}} {
		if err := os.WriteFile(filepath.Join(dir, c.name), c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		tok, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{4, 512, 4}[i]; tok.Vocab() != want {
			t.Errorf("%s: want %d ids, got %d", c.name, want, tok.Vocab())
		}
	}
	broken := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(broken, tikFile(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(broken); err == nil || !strings.HasPrefix(err.Error(), broken) {
		t.Errorf("a tokenizer.json that is no JSON: %v", err)
	}
	settings := `{"bos_token":{"content":"<unk>"},"eos_token":"<unk>"}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	if tok, err := Open(dir); err != nil || tok.BOS() != 0 || len(tok.EOS()) != 1 || tok.EOS()[0] != 0 {
		t.Errorf("named by tokenizer_config.json: %v", err)
	}
}

// Ids outside the vocabulary, and those without a piece, are errors.
func TestDecodeOutside(t *testing.T) {
	tok, err := Parse(jsonFile(`"ab":3`, `"ab":7`))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int{-1, 8, 1 << 40, 5} {
		if b, err := tok.Decode([]int{1, id}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(id)) || b != nil {
			t.Errorf("id %d: %q, %v", id, b, err)
		}
	}
	if b, err := tok.Decode([]int{1, 7, 0}); err != nil || string(b) != "aab" {
		t.Errorf("%q, %v", b, err)
	}
}

// Without an unknown token a character outside the vocabulary is an error.
func TestUnknownCharacterWithoutUnknownToken(t *testing.T) {
	tok, err := Parse(jsonFile(`"unk_token":"<unk>",`, ``))
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := tok.Encode([]byte("ac"), EncodeOptions{}); err == nil || !strings.Contains(err.Error(), `"c" is not in the vocabulary`) {
		t.Errorf("%v, %v", ids, err)
	}
}

// charsMapOf is a table that maps the letter a to a text.
func charsMapOf(text string) []byte {
	units := make([]uint32, 1024)
	units[0] = 256 << 10
	units[256^'a'] = 'a' | 1<<8 | (256^'a'^512)<<10
	units[512] = 1 << 31
	out := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, u := range units {
		out = binary.LittleEndian.AppendUint32(out, u)
	}
	return append(append(out, text...), 0)
}

// A small file cannot make a small text much longer.
func TestBoundedNormalization(t *testing.T) {
	double := strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aa"},`, 40)
	double = `{"type":"Sequence","KIND":[` + strings.TrimSuffix(double, ",") + `]}`
	many := `{"type":"Sequence","normalizers":[` + strings.TrimSuffix(strings.Repeat(`{"type":"Prepend","prepend":"a"},`, 1000), ",") + `]}`
	book := strings.Repeat("b", 20000)
	bpe := message(2, number(3, 2))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"rules that double", jsonFile(`"normalizer":null`, `"normalizer":`+strings.Replace(double, "KIND", "normalizers", 1)), "become"},
		{"a letter that becomes a book", jsonFile(`"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"`+book+`"}`), "become"},
		{"a long text in front", jsonFile(`"normalizer":null`, `"normalizer":{"type":"Prepend","prepend":"`+book+`"}`), "become"},
		{"many rules", jsonFile(`"normalizer":null`, `"normalizer":`+many), "at most 64 steps, got 1000"},
		{"pieces that double", jsonFile(`"decoder":null`, `"decoder":`+strings.Replace(double, "KIND", "decoders", 1)), "become"},
		{"a space that becomes a word", jsonFile(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Metaspace","replacement":"word"}`), "want one character"},
		{"a table that maps a letter to a book", spFile(bpe, message(3, message(2, charsMapOf(book)))), "become"},
	} {
		tok, err := Parse(c.data)
		if err == nil {
			_, err = tok.Encode(bytes.Repeat([]byte("a"), 1000), EncodeOptions{})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
	}
	// The same table with a short text is accepted.
	tok, err := Parse(spFile(bpe, message(3, message(2, charsMapOf("bb")))))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tok.normalizer.apply([]byte("a")); err != nil || string(out) != meta+"bb" {
		t.Errorf("got %q, %v", out, err)
	}
}

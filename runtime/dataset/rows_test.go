package dataset

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"mop/runtime/chat"
)

// The same rows give the same tokens in every form of file, whatever its name; and
// examples, prompts and documents skip the same rows.
func TestForms(t *testing.T) {
	tok := letters(t)
	rows := []string{`{"instruction":"ab","input":"","output":"cd"}`, `{"instruction":"ef","output":"gh","input":"i","id":[1]}`, `{"instruction":"no"}`, `{"instruction":"jk","input":["l"],"output":"m"}`}
	lines := strings.Join(rows, "\n")
	array := "[" + strings.Join(rows, ",\n") + "]"
	forms := map[string]string{
		"a.json": array, "b.JSON": array, "c.jsonl": lines, "d.json": lines, "e.jsonl": array, "f.txt": lines, "g": array, "h.ndjson": strings.ReplaceAll(lines, "\n", "\r\n"),
		"i.json": byteOrderMark + array, "j.jsonl": byteOrderMark + lines + "\n\n", "k.json": "\n " + strings.ReplaceAll(lines, "\n", " "),
		"l.json": "{\n\"data\": " + array + "}", "m.json": strings.ReplaceAll(lines, `,"`, ",\n\t\""), "n.data": byteOrderMark + strings.ReplaceAll(array, "\n", "\r\n"),
		"o.json": strings.ReplaceAll(lines, "\n", "\r"),
	}
	var first string
	for name, text := range forms {
		f := File{Path: write(t, name, text)}
		examples, skipped, err := ReadExamples(f, tok, 512)
		if err != nil || len(examples) != 2 || len(skipped) != 2 {
			t.Errorf("%s: got %d examples, %v, %v", name, len(examples), skipped, err)
			continue
		}
		prompts, n, err := Prompts(tok, f, 9, 512, false, 0)
		if err != nil || n != 2 || len(prompts) != 2 {
			t.Errorf("%s: prompts: got %d of %d, %v", name, len(prompts), n, err)
		}
		windows, err := WindowsOfFile(tok, f, 512, 0, 0)
		if err != nil || len(windows) != 2 {
			t.Errorf("%s: got %d windows, %v", name, len(windows), err)
		}
		for i := range examples {
			examples[i].Row = 0
		}
		if got := fmt.Sprint(examples, prompts, windows); first == "" {
			first = got
		} else if got != first {
			t.Errorf("%s: got other tokens than another form", name)
		}
	}
}

// Every form of row gives an example, a prompt and a document.
func TestRowForms(t *testing.T) {
	tok := letters(t)
	template := func() (*chat.Template, error) {
		return chat.Parse("x", "{% for m in messages %}{{ m.role[0] + m.content }}{% endfor %}{% if add_generation_prompt %}a{% endif %}", nil)
	}
	for _, c := range []struct{ row, example, prompt, document string }{
		{`"ab"`, "^_ab", "^_ab", "^_ab"},
		{`{"text":"ab","meta":{"x":1}}`, "^_ab", "^_ab", "^_ab"},
		{`{"prompt":"ab","completion":"cd"}`, "^_abcd", "^_ab", "^_abcd"},
		{`{"prompt":"ab","response":"cd"}`, "^_abcd", "^_ab", "^_abcd"},
		{`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`, "_uxay", "^_uxa", "^_uxay"},
		{`{"system":"s","conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}`, "_ssuxay", "^_ssuxa", "^_ssuxay"},
		{`{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"text","text":"z"}]},{"role":"assistant","content":"y"}]}`, "_uxzay", "^_uxza", "^_uxzay"},
	} {
		f := File{Path: write(t, "x.jsonl", c.row), Template: template}
		examples, _, err := ReadExamples(f, tok, 64)
		if err != nil || len(examples) != 1 {
			t.Errorf("%s: got %v, %v", c.row, examples, err)
			continue
		}
		var ids []int
		for _, id := range examples[0].Tokens {
			if id != 2 {
				ids = append(ids, int(id))
			}
		}
		prompts, _, err1 := Prompts(tok, f, 1, 64, false, 0)
		windows, err2 := WindowsOfFile(tok, f, 64, 0, 0)
		if err1 != nil || err2 != nil {
			t.Errorf("%s: %v, %v", c.row, err1, err2)
			continue
		}
		windows[0].FirstScored = 0
		got := [3]string{spell([]Window{{ids, 0}}), spell([]Window{{prompts[0], 0}}), spell(windows)}
		if want := [3]string{c.example, c.prompt, c.document}; got != want {
			t.Errorf("%s: want %v, got %v", c.row, want, got)
		}
	}
}

// A row that cannot be used is skipped for a reason that names what is wrong, and a file
// without any other row is an error.
func TestBadRows(t *testing.T) {
	tok := letters(t)
	for _, c := range []struct{ row, want string }{
		{`{"a":1,"b":2}`, "found a, b; want text, instruction and output"},
		{`{"prompt":"a","chosen":"b","rejected":"c"}`, "found chosen, prompt, rejected"},
		{`{"instruction":"a","output":7}`, "output is not a string"},
		{`{"instruction":"a","output":null}`, "no output"},
		{`{"instruction":" ","output":"b"}`, "no instruction"},
		{`{"instruction":"a","output":"b","history":[["c","d"]]}`, "history is not supported"},
		{`{"instruction":"a","context":"c"}`, "no output"},
		{`{"instruction":"a","response":" "}`, "no response"},
		{`{"prompt":"a","completion":""}`, "no completion"},
		{`{"prompt":{"x":1},"completion":"b"}`, "prompt is not a string"},
		{`{"text":["a"]}`, "text is not a string"},
		{`{"text":" \n"}`, "the text is empty"},
		{`{"messages":"a"}`, "messages is not a list of messages"},
		{`{"messages":[]}`, "no messages"},
		{`{"messages":[{"role":"user","content":"a"}]}`, "no message of the assistant"},
		{`{"messages":[{"role":"user"},{"role":"assistant","content":"a"}]}`, "messages: message 1: no content"},
		{`{"messages":[{"content":"a"}]}`, "no content|no role"},
		{`{"messages":[{"role":"user","content":[{"type":"image"}]}]}`, "only text is supported"},
		{`{"conversations":[{"from":"cat","value":"a"}]}`, "speaker cat: want human, gpt or system"},
		{`{"messages":[{"role":"assistant","content":"a","tool_calls":[{"x":1}]}]}`, "tool_calls is not supported"},
		{`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}`, "message 2: weight 0 is not supported"},
		{`{"messages":[{"role":"user","content":"a","train":false},{"role":"assistant","content":"b","train":false}]}`, "message 2: train false is not supported"},
		{`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_content":"c"}]}`, "reasoning_content is not supported"},
		{`{"prompt":"a","completion":"b","label":false}`, "label false: the completion is one to avoid"},
		{`{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"b"}],"label":false}`, "label false"},
		{`{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}],"tools":"[{}]"}`, "tools is not supported"},
		{`7`, "not a JSON object"}, {`null`, "not a JSON object"}, {`{"text":"a"`, "not valid JSON"}, {`{"text":NaN}`, "not valid JSON"},
	} {
		path := write(t, "x.jsonl", c.row)
		_, skipped, err := ReadExamples(File{Path: path}, tok, 64)
		matches := err != nil && strings.HasPrefix(err.Error(), path) && strings.Contains(err.Error(), "1 skipped: row 1: ")
		if matches {
			matches = false
			for want := range strings.SplitSeq(c.want, "|") {
				matches = matches || strings.Contains(err.Error(), want)
			}
		}
		if !matches || len(skipped) != 1 || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: want an error with %q, got %v", c.row, c.want, err)
		}
		var log bytes.Buffer
		defer slog.SetDefault(slog.Default())
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		both := write(t, "y.jsonl", c.row+"\n"+`{"text":"ab"}`)
		examples, skipped, err := ReadExamples(File{Path: both}, tok, 64)
		if err != nil || len(examples) != 1 || len(skipped) != 1 || skipped[0].Row != 1 {
			t.Errorf("%s: beside a good row: got %v, %v, %v", c.row, examples, skipped, err)
		}
		if w, err := WindowsOfFile(tok, File{Path: both}, 64, 0, 0); err != nil || len(w) != 1 || !strings.Contains(log.String(), "count=1") {
			t.Errorf("%s: windows: got %v, %v, log %s", c.row, w, err, &log)
		}
	}
}

// A broken JSON file is an error that says where.
func TestBrokenJSON(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.json", "[\n{\"text\":\"a\"},\n{\"text\"", "not valid JSON: it ends in line 3, inside a value"},
		{"x.json", "[\n{\"text\":\"a\"} {\n]", "not valid JSON: line 2, column 14"},
		{"x.json", "{\n\"text\": a\n}", "not valid JSON: line 2"},
		{"x.json", "some text", "want rows of JSON, got some text"},
	} {
		path := write(t, c.name, c.text)
		if _, _, err := ReadExamples(File{Path: path}, letters(t), 64); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: want an error with %q, got %v", c.text, c.want, err)
		}
	}
}

// What is not text is refused by the name of what it is, by all readers.
func TestNotText(t *testing.T) {
	utf16Text := func(order int) string {
		var b []byte
		for _, u := range utf16.Encode([]rune("Once upon a time there was a ring.\n")) {
			pair := []byte{byte(u), byte(u >> 8)}
			b = append(b, pair[order], pair[1-order])
		}
		return string(b)
	}
	text := strings.Repeat("abc ", 100)
	for _, c := range []struct{ name, text, want string }{
		{"x.txt", "\x1f\x8b\x08\x00abc", "gzip"}, {"x.jsonl", "PAR1abcPAR1", "Parquet"}, {"x.txt", "PK\x03\x04..", "zip"}, {"x.json", "\x28\xb5\x2f\xfd..", "Zstandard"},
		{"x.txt", "\xff\xfe" + utf16Text(0), "UTF-16"}, {"x.txt", "\xfe\xff" + utf16Text(1), "UTF-16"}, {"x.txt", utf16Text(0), "UTF-16 without"}, {"x.txt", utf16Text(1), "UTF-16 without"},
		{"x.txt", "\xff\xfe\x00\x00a\x00\x00\x00", "UTF-32"}, {"x.txt", text + "\x00", "binary data: byte 400 is 0"}, {"x.txt", text + "\xe9t\xe9", "not UTF-8"},
		{"x.parquet", text, "Parquet"}, {"x.CSV", "text\n" + text, "CSV"}, {"x.txt.gz", text, "gzip"}, {"x.txt", "BZh91AY", "bzip2"}, {"x.txt", "%PDF-1.4\n", "PDF"},
		{"x.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 5\n", "LFS"},
		{"x.pt", "\x80\x02}q", "pickle"}, {"x.txt", "\x7fELF\x02", "program"}, {"x.npy", "\x93NUMPY", "NumPy"},
	} {
		path := write(t, c.name, c.text)
		_, _, err1 := ReadExamples(File{Path: path}, letters(t), 64)
		_, _, err2 := Prompts(letters(t), File{Path: path}, 1, 64, false, 0)
		_, err3 := WindowsOfFile(letters(t), File{Path: path}, 64, 0, 0)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %q: want an error with %q, got %v", c.name, c.text[:min(len(c.text), 20)], c.want, err)
			}
		}
	}
	// A byte that is not UTF-8 in a long text is tolerated, and so is a byte order mark.
	for _, ok := range []string{strings.Repeat(text, 10) + "\xe9" + text, byteOrderMark + "ab"} {
		if _, err := Documents(write(t, "x.txt", ok), ""); err != nil {
			t.Error(err)
		}
	}
	if _, err := Documents(filepath.Dir(write(t, "x", "")), ""); err == nil || !strings.Contains(err.Error(), "got a directory") {
		t.Errorf("a directory: got %v", err)
	}
}

// A text is the same with LF and CR LF, and with and without a byte order mark.
func TestTextForms(t *testing.T) {
	for _, text := range []string{"a\nb\n<|end|>\nc\n", byteOrderMark + "a\nb\n<|end|>\nc\n", "a\r\nb\r\n<|end|>\r\nc\r\n", byteOrderMark + "a\r\nb\r\n<|end|>\r\nc\r\n"} {
		if got, err := Documents(write(t, "x.txt", text), "<|end|>"); err != nil || fmt.Sprintf("%q", got) != `["a\nb" "c"]` {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if got, err := Documents(write(t, "x.txt", text), ""); err != nil || fmt.Sprintf("%q", got) != `["a\nb\n<|end|>\nc\n"]` {
			t.Errorf("%q, whole: got %q, %v", text, got, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, seed := range []string{`[{"text":"a"}]`, "{\"text\":\"a\"}\n{", `{"messages":[{"role":"user","content":[{"text":"a"}]}]}`, "\xff\xfea\x00", `{"data":[1]}`} {
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		name := "x"
		if isJSON {
			name += ".json"
		}
		path := write(t, name, string(data))
		template := func() (*chat.Template, error) { return chat.Builtin("chatml", nil) }
		examples, _, err := ReadExamples(File{Path: path, Template: template}, letters(t), 16)
		for _, e := range examples {
			if err != nil || len(e.Tokens) > 16 || e.FirstTarget < 1 || e.Targets() < 1 {
				t.Fatalf("%q: example %v, %v", data, e, err)
			}
		}
		_, _ = WindowsOfFile(letters(t), File{Path: path, Template: template}, 16, 0, 0)
	})
}

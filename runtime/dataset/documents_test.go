package dataset

import (
	"reflect"
	"strings"
	"testing"
)

func TestDocuments(t *testing.T) {
	for _, c := range []struct {
		name, text, separator string
		want                  []string
	}{
		{"x.txt", " one\nstream \n", "", []string{" one\nstream \n"}},
		{"x.txt", "a<|end|>\n b \n<|end|>  <|end|>c", "<|end|>", []string{"a", "b", "c"}},
		{"x.raw", "{\"text\":\"a\"}\n", "", []string{"a"}}, // the contents decide
		{"x.raw", "{\"key\":\"a\"}\n", "", []string{"{\"key\":\"a\"}\n"}},
		{"x.jsonl", "{\"text\":\"a\",\"other\":[1]}\n\n{\"text\":\" b\\n\"}", "", []string{"a", " b\n"}},
	} {
		if got, err := Documents(write(t, c.name, c.text), c.separator); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %q: got %q, %v", c.name, c.text, got, err)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"x.txt", " \n", "no text"},
		{"x.jsonl", "", "no text"},
		{"x.jsonl", "{\"text\":\"\"}\nnot JSON", "2 skipped: row 1: the text is empty"},
		{"x.jsonl", "{\"txt\":\"a\"}", "row 1: found txt; want text, instruction and output, prompt and completion, messages, or conversations"},
		{"x.jsonl", "{\"text\":7}", "row 1: text is not a string"},
		{"x.jsonl", "[[\"text\"]]", "row 1: not a JSON object"},
	} {
		path := write(t, c.name, c.text)
		if got, err := Documents(path, ""); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s %q: want an error with the file and %q, got %q, %v", c.name, c.text, c.want, got, err)
		}
	}
}

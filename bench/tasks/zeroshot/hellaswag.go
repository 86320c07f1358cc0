package zeroshot

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hellaswagLines is the number of lines of a question in llama.cpp's text file: context,
// label, four endings.
const hellaswagLines = 6

// hellaswag: context and endings are cleaned of WikiHow's marks, and the second part of
// the context begins with a capital letter.
func hellaswag() Task {
	return Task{Name: "hellaswag", Norm: true, Split: []string{"val", "dev"}, Formats: []Format{
		{Name: "the data set's rows", Keys: []string{"activity_label", "ctx_a", "ctx_b", "endings", "label"}, Parse: func(row []byte) (Question, error) {
			var r struct {
				Activity string `json:"activity_label"`
				CtxA     string `json:"ctx_a"`
				CtxB     string `json:"ctx_b"`
				Endings  []string
				Label    label
			}
			r.Label = noLabel
			if err := decode(row, &r); err != nil {
				return Question{}, err
			}
			return hellaswagQuestion(r.Activity, r.CtxA, r.CtxB, r.Endings, int(r.Label))
		}},
		{Name: "llama.cpp's text file, six lines a question", Lines: hellaswagLines, Parse: func(row []byte) (Question, error) {
			lines := strings.Split(strings.TrimSuffix(string(row), "\n"), "\n")
			activity, ctx, ok := strings.Cut(lines[0], ": ")
			gold, err := strconv.Atoi(strings.TrimSpace(lines[1]))
			if !ok || err != nil {
				return Question{}, fmt.Errorf("want a line \"ACTIVITY: CONTEXT\" and one with the label, got %q and %q", lines[0], lines[1])
			}
			a, b := splitContext(ctx)
			return hellaswagQuestion(activity, a, b, lines[2:], gold)
		}},
	}}
}

func hellaswagQuestion(activity, a, b string, endings []string, gold int) (Question, error) {
	var texts []string
	for _, e := range endings {
		texts = append(texts, cleanHellaswag(e))
	}
	return choose(cleanHellaswag(activity+": "+a+" "+capitalize(b)), texts, gold)
}

var sentenceEnd = regexp.MustCompile(`[.!?] `)

// splitContext undoes the joining of ctx_a and ctx_b, which llama.cpp's file has in one: a
// last sentence without its end is ctx_b.
func splitContext(ctx string) (a, b string) {
	ends := sentenceEnd.FindAllStringIndex(ctx, -1)
	if len(ends) == 0 || strings.HasSuffix(ctx, ".") || strings.HasSuffix(ctx, "!") || strings.HasSuffix(ctx, "?") {
		return ctx, ""
	}
	at := ends[len(ends)-1][1]
	return ctx[:at-1], ctx[at:]
}

var brackets = regexp.MustCompile(`\[.*?\]`)

func cleanHellaswag(s string) string {
	s = strings.TrimFunc(s, isSpace)
	s = strings.ReplaceAll(s, " [title]", ". ")
	s = brackets.ReplaceAllString(s, "")
	return strings.ReplaceAll(s, "  ", " ")
}

// capitalize is Python's: the first letter in title case, all others in lower case.
func capitalize(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(first)) + strings.ToLower(s[n:])
}

// isSpace is Python's str.isspace, which also holds for the separators 0x1c to 0x1f.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

package tasks

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"

	"mop/internal/build"
	"mop/internal/progress"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// wikitextResult is the harness's task wikitext: perplexities per word and per byte of the
// original pages, which do not depend on the tokenizer.
type wikitextResult struct {
	Protocol       string  `json:"protocol"`
	WordPerplexity float64 `json:"word_perplexity"`
	BytePerplexity float64 `json:"byte_perplexity"`
	BitsPerByte    float64 `json:"bits_per_byte"`
	Pages          int     `json:"pages"`
	Words          int     `json:"words"`
	Bytes          int     `json:"bytes"`
	Tokens         int     `json:"tokens"` // that were scored
	Context        int     `json:"context"`
	Commit         string  `json:"commit"`
}

func (r wikitextResult) String() string {
	return fmt.Sprintf("word perplexity %.4f, byte perplexity %.4f, %.4f bits per byte (protocol %s: %d pages, %d words, %d bytes, %d tokens in windows of %d)",
		r.WordPerplexity, r.BytePerplexity, r.BitsPerByte, r.Protocol, r.Pages, r.Words, r.Bytes, r.Tokens, r.Context)
}

// wikitext scores the pages of a WikiText file as the harness does: each page is cleaned
// of the marks of tokenisation and scored by itself in windows of the model's context.
func wikitext(ctx context.Context, m *open.Model, path string, contextLength int, p progress.Func) (Result, error) {
	documents, err := dataset.Documents(path, "")
	if err != nil {
		return nil, err
	}
	pages := documents
	if len(documents) == 1 {
		pages = wikitextPages(documents[0])
	}
	t, err := tokenizer.Open(m.Name)
	if err != nil {
		return nil, err
	}
	prefix := m.Config.BOS
	if prefix < 0 && len(m.Config.EOS) > 0 {
		prefix = m.Config.EOS[0]
	}
	if prefix < 0 {
		return nil, fmt.Errorf("%s: protocol harness: want a BOS or EOS token in its config.json: the first window begins with it", m.Name)
	}
	r := wikitextResult{Protocol: protocolHarness, Pages: len(pages), Context: contextLength, Commit: build.Commit()}
	var windows [][]metric.Continuation
	for _, page := range pages {
		r.Words += countWords(page)
		r.Bytes += len(page)
		tokens, err := t.Encode([]byte(cleanWikitext(page)), tokenizer.EncodeOptions{BOS: true})
		if err != nil {
			return nil, err
		}
		r.Tokens += len(tokens)
		for _, w := range rollingWindows(tokens, prefix, contextLength) {
			windows = append(windows, []metric.Continuation{w})
		}
	}
	sum := 0.0
	tick := p.Counter(0, "windows", len(windows))
	if err := metric.Choices(ctx, m.Model, windows, func(_ int, sums []float64) error {
		sum += sums[0]
		tick()
		return nil
	}); err != nil {
		return nil, m.Wrap(err)
	}
	r.WordPerplexity = math.Exp(-sum / float64(r.Words))
	r.BytePerplexity = math.Exp(-sum / float64(r.Bytes))
	r.BitsPerByte = -sum / float64(r.Bytes) / math.Ln2
	if r.WordPerplexity-r.WordPerplexity != 0 {
		return nil, m.Wrap(fmt.Errorf("the perplexity is not finite: log-likelihood %v", sum))
	}
	return r, nil
}

// rollingWindows cuts a page into windows that score every token once. The first one has
// prefix in front. Each other one begins with the last token that was scored before, and
// the last one with as many as fill the context.
func rollingWindows(tokens []int, prefix, context int) (out []metric.Continuation) {
	for done := 0; done < len(tokens); {
		end := min(done+context, len(tokens))
		w := metric.Continuation{Context: []int{prefix}, Tokens: tokens[done:end]}
		if done > 0 {
			w.Context = tokens[max(0, end-context-1):done]
		}
		out = append(out, w)
		done = end
	}
	return out
}

// wikitextPages cuts a file at the headings of the first level, "= Title =".
func wikitextPages(text string) (pages []string) {
	var page []string
	flush := func() {
		if s := strings.Join(page, "\n"); strings.TrimFunc(s, isPythonSpace) != "" {
			pages = append(pages, s)
		}
		page = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if isTitle(line) {
			flush()
		}
		page = append(page, line)
	}
	flush()
	return pages
}

func isTitle(line string) bool {
	s := strings.ReplaceAll(strings.ReplaceAll(line, "= = =", "==="), "= =", "==")
	s = strings.TrimFunc(s, isPythonSpace)
	return strings.HasPrefix(s, "= ") && strings.HasSuffix(s, " =")
}

// space is what \s matches in Python, in a Go expression.
const space = `[\s\v\x1c-\x1f\x{85}\p{Z}]`

func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

var spaces = regexp.MustCompile(space + `+`)

// countWords counts the parts between stretches of white space, also the empty ones at
// the ends.
func countWords(page string) int { return len(spaces.FindAllStringIndex(page, -1)) + 1 }

// enclosed matches a text between two marks with the space inside them.
func enclosed(before, after, not string) *regexp.Regexp {
	return regexp.MustCompile(before + space + `*([^` + not + `]*?)` + space + `*` + after)
}

// The rules by which the harness undoes WikiText's tokenisation, in their order.
var (
	separators  = [][2]string{{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}}
	punctuation = []string{":", ";", ".", "!", "?", ","}
	enclosures  = []struct {
		re *regexp.Regexp
		by string
	}{
		{enclosed(`\(`, `\)`, `)`), "($1)"}, {enclosed(`\[`, `\]`, `\]`), "[$1]"}, {enclosed(`\{`, `\}`, `}`), "{$1}"},
		{enclosed(`"`, `"`, `"`), `"$1"`}, {enclosed(`'`, `'`, `'`), "'$1'"},
	}
	quotedDigit = regexp.MustCompile(`/' [0-9]/`)
	rest        = [][2]string{{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="}, {" ° ", "°"}, {" \n", "\n"}, {"\n ", "\n"}, {" N ", " 1 "}, {" 's", "'s"}}
)

func cleanWikitext(s string) string {
	s = strings.ReplaceAll(s, "s '", "s'")
	s = quotedDigit.ReplaceAllLiteralString(s, "/'[0-9]/")
	for _, pair := range separators {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	for _, mark := range punctuation {
		s = strings.ReplaceAll(s, " "+mark+" ", mark+" ")
	}
	for _, e := range enclosures {
		s = e.re.ReplaceAllString(s, e.by)
	}
	for _, pair := range rest {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

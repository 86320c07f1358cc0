package vqa

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Normalize brings an answer to the form in which VQA answers are compared, by the rules of
// EvalAI as lmms-eval applies them: lower case, no articles, digits for the words of small
// numbers, apostrophes in contractions, and hardly any punctuation. A rule of theirs that
// looks like a slip is kept: results are compared with theirs.
func Normalize(answer string) string {
	s := strings.ToLower(answer)
	s = strings.ReplaceAll(strings.ReplaceAll(s, ",", ""), "?", "")
	s = strings.TrimSpace(strings.ReplaceAll(s, "'s", " 's"))
	s = strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(s))
	return digitsAndArticles(punctuation(s))
}

// removed are the marks that are deleted where a space stands beside one of their kind,
// and become a space elsewhere.
const removed = ";/[]\"{}()=+\\_-><@`,?!"

var comma = regexp.MustCompile(`\p{Nd},+\p{Nd}`)

func punctuation(in string) string {
	out, number := in, comma.MatchString(in)
	for _, r := range removed {
		p := string(r)
		if number || strings.Contains(in, p+" ") || strings.Contains(in, " "+p) {
			out = strings.ReplaceAll(out, p, "")
		} else {
			out = strings.ReplaceAll(out, p, " ")
		}
	}
	return periods(out)
}

// maxPeriods is how many periods are deleted at most: the number of re.UNICODE, which is
// passed in the place of a count.
const maxPeriods = 32

// periods deletes periods that no digit follows.
func periods(s string) string {
	var out strings.Builder
	deleted := 0
	for i, r := range s {
		if r == '.' && deleted < maxPeriods && !startsWithDigit(s[i+1:]) {
			deleted++
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

func startsWithDigit(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsDigit(r)
}

var numbers = map[string]string{
	"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}

func digitsAndArticles(s string) string {
	var out []string
	for _, word := range strings.Fields(strings.ToLower(s)) {
		if n, ok := numbers[word]; ok {
			word = n
		}
		if word == "a" || word == "an" || word == "the" {
			continue
		}
		if c, ok := contractions[word]; ok {
			word = c
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

// Agreement is the accuracy of an answer against those of several annotators: the mean over
// the annotators of min(1, matches among the others / 3).
func Agreement(answer string, annotators []string) float64 {
	if len(annotators) == 0 {
		return 0
	}
	answer = Normalize(answer)
	matches := 0
	equal := make([]bool, len(annotators))
	for i, a := range annotators {
		if equal[i] = Normalize(a) == answer; equal[i] {
			matches++
		}
	}
	sum := 0.0
	for _, e := range equal {
		others := matches
		if e {
			others--
		}
		sum += min(1, float64(others)/3)
	}
	return sum / float64(len(annotators))
}

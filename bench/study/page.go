package study

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:embed page.html
var page []byte

// HTML is the report as one page that needs no other file and no network.
func (r *Result) HTML() ([]byte, error) {
	short := *r
	short.Rows = nil
	for _, e := range r.Rows { // the page shows no single answers
		models := e.Models
		e.Models = nil
		for _, m := range models {
			m.Before, m.After = nil, nil
			e.Models = append(e.Models, m)
		}
		short.Rows = append(short.Rows, e)
	}
	// JSON escapes <, > and &, so that no text can end the script element.
	data, err := json.Marshal(struct {
		*Result
		Summary string `json:"summary"`
		Verdict string `json:"verdict"`
	}{&short, r.summaryLine(), r.Verdict()})
	return bytes.Replace(page, []byte("{{.}}"), data, 1), err
}

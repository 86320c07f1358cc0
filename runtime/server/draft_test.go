package server

import (
	"strings"
	"testing"

	"mop/runtime/engine"
)

// startDrafted serves the demo's model with itself as the draft.
func startDrafted(t *testing.T, tokens int) *running {
	t.Helper()
	return startSpec(t, Options{}, Spec{Name: "demo", Dir: demoDir, Chat: chatTemplate, Engine: engine.Options{MaxBatch: 3}, Draft: demoDir, DraftTokens: tokens})
}

// A server with a draft answers as one without, and shows in its metrics how the proposals
// fared. The model as its own draft is always right.
func TestDraft(t *testing.T) {
	bodies := []string{
		greedy + `}`,
		greedy + `,"n":3,"logprobs":2}`,
		`{"prompt":"Once upon a time","max_tokens":30,"temperature":0,"stop":["ed"]}`,
		`{"prompt":"The","max_tokens":20,"temperature":0,"frequency_penalty":1}`,
	}
	plain := start(t, Options{}, engine.Options{})
	var want []completion
	for _, body := range bodies {
		want = append(want, plain.complete(body))
	}
	for _, tokens := range []int{0, 3} {
		r := startDrafted(t, tokens)
		for i, body := range bodies {
			got := r.complete(body)
			for j, c := range got.Choices {
				w := want[i].Choices[j]
				if c.Text != w.Text || *c.FinishReason != *w.FinishReason || marshal(t, c.Logprobs) != marshal(t, w.Logprobs) {
					t.Errorf("%d proposals, %s: want %+v, got %+v", tokens, body, w, c)
				}
			}
		}
		r.idle()
		s := r.model.Engine.Stats()
		if s.Drafted == 0 || s.Accepted != s.Checked {
			t.Errorf("want proposals, all accepted, got %+v", s)
		}
		_, data := r.get("/metrics")
		for _, name := range []string{"mop_spec_decode_num_draft_tokens_total", "mop_spec_decode_num_accepted_tokens_total", "mop_spec_decode_num_drafts_total", "mop_spec_decode_draft_acceptance_rate"} {
			if !strings.Contains(string(data), name+`{model_name="demo"} `) || strings.Contains(string(data), name+`{model_name="demo"} 0`+"\n") {
				t.Errorf("want %s in the metrics", name)
			}
		}
	}
	if _, data := plain.get("/metrics"); strings.Contains(string(data), "spec_decode") {
		t.Error("want no metrics of a draft without one")
	}
}

// A draft with another tokenizer is refused when it is loaded.
func TestDraftOfAnotherTokenizer(t *testing.T) {
	_, err := Load(devOf(t), Spec{Name: "demo", Dir: demoDir, Engine: engine.Options{MaxBatch: 1}, Draft: "../vision/testdata/models/dense"})
	if err == nil || !strings.Contains(err.Error(), "want a draft with the tokenizer of") {
		t.Errorf("got %v", err)
	}
}

package model

import (
	"fmt"

	"mop/runtime/device"
)

// reducedRows is how many positions' logits a device reduces in one operation.
const reducedRows = 512

func (m *Model) end() device.LMHead {
	return device.LMHead{X: m.work.final, Norm: m.norm, W: m.head, Eps: m.Config.NormEps, Phase: m.kind}
}

// NLL is the negative log-likelihood, in nats, of the id targets[i] after row
// rows[i] of the last pass.
func (m *Model) NLL(rows, targets []int) ([]float64, error) {
	for i, id := range targets {
		if id < 0 || id >= m.Config.VocabSize {
			return nil, fmt.Errorf("target %d, id %d: %w of %d", i, id, ErrVocabulary, m.Config.VocabSize)
		}
	}
	out := make([]float64, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		m.dev.NLL(out[at:end], m.end(), rows[at:end], targets[at:end])
	}
	return out, m.dev.Sync()
}

// Argmax is the argmax token of the given rows of the last pass; -1 where a logit is
// not finite.
func (m *Model) Argmax(rows []int) ([]int, error) {
	out := make([]int, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		m.dev.Argmax(out[at:end], m.end(), rows[at:end])
	}
	return out, m.dev.Sync()
}

// Compare holds the logits of q's last pass against those of p's, row by row.
// Both live on the same device and have one vocabulary.
func Compare(p Reference, q *Model, rows []int) ([]device.Divergence, error) {
	if p.Device() != q.dev {
		return nil, fmt.Errorf("want both models on one device, got two")
	}
	if p.vocab() != q.vocab() {
		return nil, fmt.Errorf("want one vocabulary, got %d and %d ids", p.vocab(), q.vocab())
	}
	out := make([]device.Divergence, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		q.dev.CompareLogits(out[at:end], p.end(), q.end(), rows[at:end])
	}
	return out, q.dev.Sync()
}

package model

import (
	"fmt"
	"slices"

	"mop/runtime/device"
)

const (
	// logitRows is how many rows of logits or hidden states are computed at a time,
	// so that [T, V] is never in memory for long texts.
	logitRows = 16
	// reducedRows is how many rows of logits a device reduces in one operation.
	reducedRows = 512
)

// Hidden calls each with the output of the final norm [D] for the given rows of the
// last pass, one by one. The slice is valid during the call only.
func (m *Model) Hidden(rows []int, each func(i int, h []float32) error) error {
	return readInBatches(m.dev, &m.work.out, rows, m.Config.HiddenSize, func(batch []int) device.Buffer {
		m.dev.Norm(m.work.last, m.work.final, batch, m.weights.Norm, m.Config.NormEps)
		return m.work.last
	}, each)
}

// Logits calls each with the logits [V] of the given rows of the last pass, one by
// one, computed by the kernels of that pass's phase. The slice is valid during the
// call only.
func (m *Model) Logits(rows []int, each func(i int, logits []float32) error) error {
	return readInBatches(m.dev, &m.work.out, rows, m.Config.VocabSize, func(batch []int) device.Buffer {
		m.dev.Norm(m.work.last, m.work.final, batch, m.weights.Norm, m.Config.NormEps)
		m.dev.Linear(m.phase, m.work.logits, m.work.last, len(batch), m.weights.Head)
		return m.work.logits
	}, each)
}

// readInBatches computes a buffer [len(batch), cols] for some rows at a time, copies
// it to host, which is reused, and calls each with every row. The callback must not
// read from the same model.
func readInBatches(d device.Device, host *[]float32, rows []int, cols int, compute func(batch []int) device.Buffer, each func(int, []float32) error) error {
	n := min(logitRows, len(rows)) * cols
	*host = slices.Grow((*host)[:0], n)[:n]
	out := *host
	for at := 0; at < len(rows); at += logitRows {
		batch := rows[at:min(at+logitRows, len(rows))]
		d.Read(out, compute(batch), 0, len(batch))
		if err := d.Sync(); err != nil {
			return err
		}
		for i := range batch {
			if err := each(at+i, out[i*cols:(i+1)*cols]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Argmax returns the argmax token of the given rows of the last pass, -1 where a logit
// is not finite.
func (m *Model) Argmax(rows []int) ([]int, error) {
	out := make([]int, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		m.dev.Argmax(out[at:end], m.lmHead(), rows[at:end])
	}
	return out, m.dev.Sync()
}

// NLL returns the negative log-likelihood, in nats, of the token targets[i] after row
// rows[i] of the last pass.
func (m *Model) NLL(rows, targets []int) ([]float64, error) {
	for i, token := range targets {
		if token < 0 || token >= m.Config.VocabSize {
			return nil, fmt.Errorf("target %d, token %d: %w of %d", i, token, ErrVocabulary, m.Config.VocabSize)
		}
	}
	out := make([]float64, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		m.dev.NLL(out[at:end], m.lmHead(), rows[at:end], targets[at:end])
	}
	return out, m.dev.Sync()
}

// CompareLogits compares the logits of q's last pass with those of the reference p,
// row by row. Both must be on one device and have one vocabulary.
func CompareLogits(p Reference, q *Model, rows []int) ([]device.Divergence, error) {
	if p.Device() != q.dev {
		return nil, fmt.Errorf("want both models on one device, got two")
	}
	if p.vocabSize() != q.vocabSize() {
		return nil, fmt.Errorf("want one vocabulary, got %d and %d tokens", p.vocabSize(), q.vocabSize())
	}
	out := make([]device.Divergence, len(rows))
	for at := 0; at < len(rows); at += reducedRows {
		end := min(at+reducedRows, len(rows))
		q.dev.CompareLogits(out[at:end], p.lmHead(), q.lmHead(), rows[at:end])
	}
	return out, q.dev.Sync()
}

// Residual calls each with the residual stream [D] after the last layer, before the
// final norm, for the first n rows of the last pass. The slice is valid during the
// call only.
func (m *Model) Residual(n int, each func(i int, x []float32) error) error {
	D := m.Config.HiddenSize
	host := make([]float32, logitRows*D)
	for at := 0; at < n; at += logitRows {
		batch := min(logitRows, n-at)
		m.dev.Read(host, m.work.final, at, batch)
		if err := m.dev.Sync(); err != nil {
			return err
		}
		for i := range batch {
			if err := each(at+i, host[i*D:(i+1)*D]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Model) vocabSize() int { return m.Config.VocabSize }

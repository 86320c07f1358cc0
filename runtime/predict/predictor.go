package predict

import (
	"fmt"
	"slices"

	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/model"
)

// Workload is what is to be timed.
type Workload struct {
	In    int // prompt tokens of each sequence
	Out   int // generated tokens of each sequence, end-of-sequence ignored
	Batch int // sequences
	Part  Part
}

// Part is the part of a run that counts.
type Part string

// The parts of a run.
const (
	EndToEnd    Part = ""        // from the prompt's tokens to the last token
	PrefillOnly Part = "prefill" // from the prompt's tokens to the first token
	DecodeStep  Part = "decode"  // one decode step, the mean over the run
)

// Check refuses workloads that cannot run.
func (w Workload) Check() error {
	if w.In < 1 || w.Out < 1 || w.Batch < 1 || w.In > 1<<24 || w.Out > 1<<24 || w.Batch > 1<<16 {
		return fmt.Errorf("workload: want at least 1 token in, 1 out and a batch of 1, got %d, %d and %d", w.In, w.Out, w.Batch)
	}
	if w.Part == DecodeStep && w.Out < 2 {
		return fmt.Errorf("workload: decode time: want at least 2 tokens out, got %d", w.Out)
	}
	return nil
}

// Predictor predicts times of one workload on the table's device.
type Predictor struct {
	table    *Table
	workload Workload
	prefill  []prefillPass

	attention map[[2]int]blockTime // by heads and KV heads
	mlp       map[int]blockTime    // by width
	other     float64
}

// blockTime is what a block of a size adds to a run.
type blockTime struct {
	full float64 // in every layer but the last one with attention and those after it
	last float64 // in the last layer with attention
	tail float64 // in the layers after it
}

// prefillPass is one pass of prefill: rows tokens, in chunks of sequences.
type prefillPass struct {
	rows   int
	chunks [][2]int // positions before the chunk, and tokens of the chunk
	last   bool     // only last rows are computed in the last layers
}

// Predictor prepares predictions of a workload.
func (t *Table) Predictor(w Workload) (*Predictor, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	p := &Predictor{table: t, workload: w, attention: map[[2]int]blockTime{}, mlp: map[int]blockTime{}}
	p.prefill = prefillPasses(w, t.Machine.PrefillRows)
	for _, phase := range p.phases() {
		if len(t.passes(phase)) == 0 {
			return nil, fmt.Errorf("the latency table has no %s pass: measure it with mop sweep", phase)
		}
	}
	p.other = p.otherTime()
	return p, nil
}

// phases lists those that the workload's time includes.
func (p *Predictor) phases() []device.Phase {
	switch {
	case p.workload.Part == DecodeStep:
		return []device.Phase{device.Decode}
	case p.workload.Part == PrefillOnly || p.workload.Out == 1:
		return []device.Phase{device.Prefill}
	}
	return []device.Phase{device.Prefill, device.Decode}
}

// prefillPasses divides prompts into passes as package generate does.
func prefillPasses(w Workload, limit int) (all []prefillPass) {
	limit = max(limit, 1)
	room := 0
	for range w.Batch {
		if w.In <= room {
			p := &all[len(all)-1]
			p.rows, p.chunks = p.rows+w.In, append(p.chunks, [2]int{0, w.In})
			room -= w.In
			continue
		}
		for at := 0; at < w.In; at += limit {
			n := min(limit, w.In-at)
			all = append(all, prefillPass{rows: n, chunks: [][2]int{{at, n}}})
			room = limit - n
		}
	}
	for i := range all {
		all[i].last = all[i].rows >= model.LongPrompt
	}
	return all
}

// Latency predicts the time of a model with these layers, in milliseconds.
func (p *Predictor) Latency(layers []config.LayerShape) float64 {
	total := p.other
	last := lastAttention(layers)
	for l, s := range layers {
		if s.Heads > 0 {
			b := p.attentionTime(s)
			if l == last {
				total += b.last
			} else {
				total += b.full
			}
		}
		if s.Intermediate > 0 {
			b := p.mlpTime(s.Intermediate)
			if l >= last {
				total += b.tail
			} else {
				total += b.full
			}
		}
	}
	return total
}

// lastAttention is the index of the last layer with attention, or 0.
func lastAttention(layers []config.LayerShape) int {
	for l := len(layers) - 1; l > 0; l-- {
		if layers[l].Heads > 0 {
			return l
		}
	}
	return 0
}

// Attention is the time that the attention block of an ordinary layer adds.
func (p *Predictor) Attention(s config.LayerShape) float64 {
	if s.Heads == 0 {
		return 0
	}
	return p.attentionTime(s).full
}

// MLP is the time that an MLP block of an ordinary layer adds.
func (p *Predictor) MLP(width int) float64 {
	if width == 0 {
		return 0
	}
	return p.mlpTime(width).full
}

// Other is the time outside of the layers: embedding, LM head and sampling.
func (p *Predictor) Other() float64 { return p.other }

// Workload is the one that is predicted.
func (p *Predictor) Workload() Workload { return p.workload }

func (p *Predictor) attentionTime(s config.LayerShape) blockTime {
	key := [2]int{s.Heads, s.KVHeads}
	if b, ok := p.attention[key]; ok {
		return b
	}
	t, w := p.table, p.workload
	var b blockTime
	pre, dec := p.prefillTime(func(pass prefillPass) (full, last float64) {
		qkv := t.byRows(device.Prefill, float64(pass.rows), attentionWidths(s, func(a Attention) float64 { return a.QKV.MS }))
		out := attentionWidths(s, func(a Attention) float64 { return a.Output.MS })
		full = qkv + t.byRows(device.Prefill, float64(pass.rows), out)
		attend := 0.0
		lastAttend := 0.0
		for _, c := range pass.chunks {
			seen := float64(c[1])*float64(c[0]) + float64(c[1])*float64(c[1]+1)/2
			attend += t.prefillAttention(s, seen)
			lastAttend += t.prefillAttention(s, seen) * float64(c[0]+c[1]) / seen
		}
		full += attend
		if !pass.last {
			return full, full
		}
		// All rows leave keys and values, and the last ones run through the whole block.
		n := float64(len(pass.chunks))
		last = qkv + t.byRows(device.Prefill, n, attentionWidths(s, func(a Attention) float64 { return a.QKV.MS + a.Output.MS })) + lastAttend
		return full, last
	}), 0.0
	if p.decodes() {
		fixed := t.byRows(device.Decode, float64(w.Batch), attentionWidths(s, func(a Attention) float64 { return a.QKV.MS + a.Output.MS }))
		dec = p.decodeTime(func(context float64) float64 { return fixed + t.decodeAttention(s, w.Batch, context) })
	}
	b = blockTime{full: pre.full + dec, last: pre.last + dec, tail: pre.tail + dec}
	p.attention[key] = b
	return b
}

func (p *Predictor) mlpTime(width int) blockTime {
	if b, ok := p.mlp[width]; ok {
		return b
	}
	t := p.table
	value := mlpWidths(width)
	pre, dec := p.prefillTime(func(pass prefillPass) (full, last float64) {
		full = t.byRows(device.Prefill, float64(pass.rows), value)
		if !pass.last {
			return full, full
		}
		return full, t.byRows(device.Prefill, float64(len(pass.chunks)), value)
	}), 0.0
	if p.decodes() {
		fixed := t.byRows(device.Decode, float64(p.workload.Batch), value)
		dec = p.decodeTime(func(float64) float64 { return fixed })
	}
	b := blockTime{full: pre.full + dec, last: pre.last + dec, tail: pre.tail + dec}
	p.mlp[width] = b
	return b
}

// prefillTime adds up the passes of prefill, 0 where they do not count.
func (p *Predictor) prefillTime(pass func(prefillPass) (full, last float64)) (b blockTime) {
	if p.workload.Part == DecodeStep {
		return b
	}
	for _, x := range p.prefill {
		full, last := pass(x)
		b.full, b.last, b.tail = b.full+full, b.last+last, b.tail+last
	}
	return b
}

func (p *Predictor) decodes() bool { return slices.Contains(p.phases(), device.Decode) }

// decodeTime adds up the decode steps, or takes their mean. Contexts that are far apart
// differ smoothly, so that at most 64 of them are evaluated.
func (p *Predictor) decodeTime(step func(context float64) float64) float64 {
	w := p.workload
	steps := w.Out - 1
	n := min(steps, 64)
	mean := 0.0
	for i := range n {
		mean += step(float64(w.In)+(float64(i)+0.5)*float64(steps)/float64(n)-0.5) / float64(n)
	}
	if w.Part == DecodeStep {
		return mean
	}
	return mean * float64(steps)
}

func (p *Predictor) otherTime() float64 {
	t, w := p.table, p.workload
	total := p.prefillTime(func(x prefillPass) (float64, float64) {
		// The head runs for the last row of each sequence, the rest for every row.
		v := t.otherAt(device.Prefill, len(x.chunks), float64(x.rows)/float64(len(x.chunks)))
		return v, v
	}).full
	if p.decodes() {
		total += p.decodeTime(func(context float64) float64 { return t.otherAt(device.Decode, w.Batch, context) })
	}
	return total
}

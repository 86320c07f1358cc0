package predict

import (
	"mop/runtime/config"
	"mop/runtime/device"
)

// OpWork is what one operation of a layer computes and reads, and its time.
type OpWork struct {
	Op    string
	Flops float64 // a multiply-add counts as two
	Bytes float64 // weights once, and the keys and values of the positions that it sees
	MS    float64
}

// PassWork lists the operations of the largest measured block of each kind in a pass.
func (t *Table) PassWork(p *Pass) []OpWork {
	var out []OpWork
	rows, D, element := p.rows(), float64(t.Model.HiddenSize), t.elementBytes()
	add := func(op string, weights, ms float64) {
		out = append(out, OpWork{op, 2 * rows * weights, weights * element, ms})
	}
	if n := len(p.Attention); n > 0 {
		a := p.Attention[n-1]
		q, kv := float64(a.Heads*t.Model.Shapes[0].HeadDim), float64(a.KVHeads*t.Model.Shapes[0].HeadDim)
		add("QKV", D*(q+2*kv), a.QKV.MS)
		seen, positions := p.Tokens*(p.Tokens+1)/2, p.Tokens
		if p.Phase == device.Decode.String() {
			seen, positions = p.Tokens+1, p.Tokens+1
		}
		b := float64(p.Batch)
		out = append(out, OpWork{"attention", b * 4 * q * seen, b * 2 * (kv*float64(t.Machine.CacheBytes) + float64(a.KVHeads*t.Machine.CacheScaleBytes)) * positions, a.Attend.MS})
		add("output", D*q, a.Output.MS)
	}
	if n := len(p.MLP); n > 0 {
		m := p.MLP[n-1]
		add("gate and up", 2*D*float64(m.Intermediate), m.GateUp.MS)
		add("down", D*float64(m.Intermediate), m.Down.MS)
	}
	return out
}

// elementBytes is the size of a weight on the device.
func (t *Table) elementBytes() float64 {
	switch {
	case t.Machine.Weights == "int8":
		return 1
	case t.Model.DType == "F32":
		return 4
	}
	return 2
}

// Bytes is the size of the weights that a decode step reads for these layers: what the
// objective bytes minimises.
func (t *Table) Bytes(layers []config.LayerShape) float64 {
	c := config.Config{VocabSize: t.Model.VocabSize, HiddenSize: t.Model.HiddenSize, Tied: t.Model.Tied, Layers: layers}
	return float64(c.Params()) * t.elementBytes()
}

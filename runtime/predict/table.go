// Package predict predicts how long a model of any shapes takes on a device, from a
// latency table: the measured times of attention and MLP blocks of many sizes, each in
// its place in a step. mop sweep writes tables (see bench/sweep); pruning, search and
// plans read them.
package predict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/google/renameio/v2"

	"mop/runtime/config"
	"mop/runtime/device"
)

// Version is that of the file format.
const Version = 1

// Table is the content of a latency table. Times are in milliseconds.
type Table struct {
	Version int    `json:"version"`
	Model   Model  `json:"model"`
	Machine Source `json:"machine"`
	Passes  []Pass `json:"passes"`
	// Whole holds measured times of whole models, all layers alike.
	Whole []Whole `json:"whole,omitempty"`
}

// Model is the base model that the table belongs to: blocks of other hidden sizes have
// other times.
type Model struct {
	Name       string              `json:"name"`
	VocabSize  int                 `json:"vocab"`   // V
	HiddenSize int                 `json:"d_model"` // D
	Tied       bool                `json:"tied"`
	DType      string              `json:"dtype"`  // type of the weights
	Shapes     []config.LayerShape `json:"shapes"` // [L]
}

// Source says where and with what the times were measured.
type Source struct {
	Device          string  `json:"device"`           // "cpu", or the GPU's name
	CPU             string  `json:"cpu"`              // the processor's name
	ClockMHz        float64 `json:"clock_mhz"`        // of the first core, or of the GPU; 0 = not known
	Driver          string  `json:"driver,omitempty"` // of a GPU
	Threads         int     `json:"threads"`
	Kernels         string  `json:"kernels"`
	Weights         string  `json:"weights"`     // stored or int8
	Activations     string  `json:"activations"` // float32 or bfloat16
	PrefillRows     int     `json:"prefill_rows"`
	ReadGBps        float64 `json:"read_gbps"`             // roofline, 0 = not measured
	FMAGflops       float64 `json:"fma_gflops"`            // roofline, 0 = not measured
	CacheType       string  `json:"cache_type,omitempty"`  // of the KV cache: see KVType
	CacheBytes      int     `json:"cache_element"`         // bytes of one number in the KV cache
	CacheScaleBytes int     `json:"cache_scale,omitempty"` // bytes of the scale of a head's key or value
	Commit          string  `json:"commit"`
	Go              string  `json:"go"`
	Date            string  `json:"date"` // RFC 3339, UTC
}

// KVType is the type of the KV cache, as in device.Capabilities. Tables of former versions
// have only the bytes of a number; with two bytes it is "16-bit", which is any type of 16 bits.
func (s Source) KVType() string {
	if s.CacheType != "" {
		return s.CacheType
	}
	return map[int]string{1: "int8", 2: sixteenBits, 4: "f32"}[s.CacheBytes]
}

// sixteenBits stands for the 16-bit type that a device computes in.
const sixteenBits = "16-bit"

// SameKVType reports whether times with a KV cache of a type can be compared with the table's.
func (s Source) SameKVType(kind string) bool {
	t := s.KVType()
	return t == kind || t == sixteenBits && (kind == "f16" || kind == "bf16")
}

// Pass holds the times of blocks in one kind of pass.
type Pass struct {
	Phase string `json:"phase"` // prefill or decode
	Batch int    `json:"batch"` // B
	// Tokens is the length of each prompt in a prefill pass, and in a decode pass the
	// mean number of positions that the cache holds of each sequence.
	Tokens    float64     `json:"tokens"`
	Attention []Attention `json:"attention"` // ascending by heads
	MLP       []MLP       `json:"mlp"`       // ascending by width
	// Other is the rest of the pass: embedding, LM head, sampling, and the time between
	// operations.
	Other Time `json:"other"`
	// Disturbed says that the machine was busy with other things whenever this pass was
	// measured, so that its times are too long.
	Disturbed bool `json:"disturbed,omitempty"`
}

// Attention is the attention block of a layer.
type Attention struct {
	Heads   int  `json:"heads"`
	KVHeads int  `json:"kv_heads"`
	QKV     Time `json:"qkv"`       // norm, projections, RoPE, writing to the cache
	Attend  Time `json:"attention"` // over the positions of the cache
	Output  Time `json:"output"`    // output projection and residual
}

// MLP is the MLP block of a layer.
type MLP struct {
	Intermediate int  `json:"mlp"`
	GateUp       Time `json:"gate_up"` // norm, gate, up and SiLU
	Down         Time `json:"down"`    // down projection and residual
}

// Whole is the measured time of one pass of a model whose layers are all alike.
type Whole struct {
	What   string            `json:"what"` // the quantity that was varied: mlp, heads, kv or layers
	Shape  config.LayerShape `json:"shape"`
	Layers int               `json:"layers"`
	Phase  string            `json:"phase"`
	Batch  int               `json:"batch"`
	Tokens float64           `json:"tokens"`
	Time   Time              `json:"time"`
}

// Time is a measured time in milliseconds: the median over several visits of the model,
// with its 95 % interval.
type Time struct {
	MS float64 `json:"ms"`
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
	N  int     `json:"n"` // visits
}

// ModelOf describes a base model. dtype is the type of its weights.
func ModelOf(name string, c *config.Config, dtype string) Model {
	return Model{Name: name, VocabSize: c.VocabSize, HiddenSize: c.HiddenSize, Tied: c.Tied, DType: dtype, Shapes: slices.Clone(c.Layers)}
}

// Load reads a table.
func Load(path string) (*Table, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: want a latency table that mop sweep wrote", path, err)
	}
	return t, nil
}

// Parse reads a table and checks it.
func Parse(data []byte) (*Table, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	t := &Table{}
	if err := d.Decode(t); err != nil {
		return nil, err
	}
	return t, t.Check()
}

// Save writes the table. The file is complete or the former one.
func (t *Table) Save(path string) error {
	if err := t.Check(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o666)
}

// Check reports whether predictions can be made from the table.
func (t *Table) Check() error {
	if t.Version != Version {
		return fmt.Errorf("version: want %d, got %d", Version, t.Version)
	}
	if len(t.Model.Shapes) == 0 || t.Model.HiddenSize < 1 || t.Model.VocabSize < 1 {
		return fmt.Errorf("model: want layers, a hidden size and a vocabulary, got %d, %d and %d", len(t.Model.Shapes), t.Model.HiddenSize, t.Model.VocabSize)
	}
	for l, x := range t.Model.Shapes {
		if x.Heads < 0 || x.KVHeads < 0 || x.Intermediate < 0 || (x.Heads == 0) != (x.KVHeads == 0) || x.KVHeads > 0 && x.Heads%x.KVHeads != 0 {
			return fmt.Errorf("model: layer %d: want heads, KV heads that divide them and neurons, got %d, %d and %d", l, x.Heads, x.KVHeads, x.Intermediate)
		}
	}
	if t.Machine.PrefillRows < 1 {
		return fmt.Errorf("machine: prefill_rows: want at least 1, got %d", t.Machine.PrefillRows)
	}
	if len(t.Passes) == 0 {
		return fmt.Errorf("passes: want at least one, got none")
	}
	for i := range t.Passes {
		if err := t.Passes[i].check(); err != nil {
			return fmt.Errorf("pass %d: %w", i, err)
		}
	}
	for i, w := range t.Whole {
		if !w.Time.valid() || w.Layers < 1 || w.Batch < 1 || w.Phase != device.Prefill.String() && w.Phase != device.Decode.String() {
			return fmt.Errorf("whole %d: want prefill or decode, a time up to %g ms, and layers and a batch above 0, got %+v", i, longest, w)
		}
	}
	return nil
}

func (p *Pass) check() error {
	switch {
	case p.Phase != device.Prefill.String() && p.Phase != device.Decode.String():
		return fmt.Errorf("phase: want prefill or decode, got %q", p.Phase)
	case p.Batch < 1 || !(p.Tokens > 0) || math.IsInf(p.Tokens, 0):
		return fmt.Errorf("%s: want a batch of at least 1 and tokens above 0, got %d and %v", p.Phase, p.Batch, p.Tokens)
	case !(p.Other.MS >= 0 && p.Other.MS <= longest):
		return fmt.Errorf("%s: other: want 0 to %g ms, got %v", p.Phase, longest, p.Other.MS)
	case len(p.Attention) == 0 || len(p.MLP) == 0:
		return fmt.Errorf("%s: want attention and MLP blocks, got %d and %d", p.Phase, len(p.Attention), len(p.MLP))
	}
	for i, a := range p.Attention {
		if a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || !a.QKV.valid() || !a.Attend.valid() || !a.Output.valid() {
			return fmt.Errorf("%s: attention %d: want heads, KV heads that divide them, and times above 0 and up to %g ms, got %+v", p.Phase, i, longest, a)
		}
		if b := p.Attention[max(i-1, 0)]; i > 0 && (b.Heads > a.Heads || b.Heads == a.Heads && b.KVHeads >= a.KVHeads) {
			return fmt.Errorf("%s: attention %d: want ascending heads", p.Phase, i)
		}
	}
	for i, m := range p.MLP {
		if m.Intermediate < 1 || !m.GateUp.valid() || !m.Down.valid() {
			return fmt.Errorf("%s: mlp %d: want a width and times above 0 and up to %g ms, got %+v", p.Phase, i, longest, m)
		}
		if i > 0 && p.MLP[i-1].Intermediate >= m.Intermediate {
			return fmt.Errorf("%s: mlp %d: want ascending widths", p.Phase, i)
		}
	}
	return nil
}

// longest is more milliseconds than any pass takes: eleven days.
const longest = 1e9

func (t Time) valid() bool { return t.MS > 0 && t.MS <= longest }

// sharesAs reports whether as many query heads share a KV head as in a layer.
func (a Attention) sharesAs(s config.LayerShape) bool { return a.Heads*s.KVHeads == a.KVHeads*s.Heads }

// Total is the time of the whole block.
func (a Attention) Total() float64 { return a.QKV.MS + a.Attend.MS + a.Output.MS }

// Total is the time of the whole block.
func (m MLP) Total() float64 { return m.GateUp.MS + m.Down.MS }

// CheckModel refuses a model whose blocks the table does not describe.
func (t *Table) CheckModel(c *config.Config) error {
	m := t.Model
	if c.VocabSize != m.VocabSize || c.HiddenSize != m.HiddenSize || c.Tied != m.Tied || c.HeadDim != m.Shapes[0].HeadDim {
		return fmt.Errorf("the latency table is of %s: vocab %d, hidden size %d, head size %d, tied %v; the model has %d, %d, %d, %v: measure it with mop sweep",
			m.Name, m.VocabSize, m.HiddenSize, m.Shapes[0].HeadDim, m.Tied, c.VocabSize, c.HiddenSize, c.HeadDim, c.Tied)
	}
	for l, s := range c.Layers {
		if s.KVHeads > 0 && !t.shares(s) {
			return fmt.Errorf("the latency table is of %s, and has no attention block in which %d query heads share a KV head, as in layer %d of the model: measure it with mop sweep", m.Name, s.Heads/s.KVHeads, l)
		}
	}
	return nil
}

// shares reports whether the passes of each phase have attention blocks in which as many query
// heads share a KV head as in s.
func (t *Table) shares(s config.LayerShape) bool {
	alike := func(a Attention) bool { return a.sharesAs(s) }
	for _, phase := range []device.Phase{device.Prefill, device.Decode} {
		passes := t.passes(phase)
		if len(passes) > 0 && !slices.ContainsFunc(passes, func(p *Pass) bool { return slices.ContainsFunc(p.Attention, alike) }) {
			return false
		}
	}
	return true
}

// Disturbed reports whether any pass was measured on a busy machine only.
func (t *Table) Disturbed() bool {
	return slices.ContainsFunc(t.Passes, func(p Pass) bool { return p.Disturbed })
}

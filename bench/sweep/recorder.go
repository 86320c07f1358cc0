package sweep

import (
	"time"

	"mop/runtime/device"
	"mop/runtime/model"
)

// Operation names an operation of a layer.
type Operation int

// The operations of a layer, in their order.
const (
	QKV Operation = iota
	Attend
	Output
	GateUp
	Down
	Operations // their number
)

// String is the operation's name in tables and plots.
func (o Operation) String() string {
	return [...]string{"QKV", "attention", "output", "gate and up", "down"}[o]
}

// Call is one operation of one layer in one pass.
type Call struct {
	Layer int
	Op    Operation
	Rows  int // rows of activations
	Time  time.Duration
}

// Recorder is a device that records when the operations of the layers begin and end. On a
// device that queues operations it waits after each of them. Decoding by graph is not
// offered, since a graph cannot be timed in parts.
type Recorder struct {
	device.Device
	now    func() time.Time
	sync   bool
	layers map[device.Weight]int // by the output projection, the gate and the down projection
	layer  map[device.Weight]int // by the query projection
	Calls  []Call                // since the last Clear
}

// NewRecorder wraps a device. Its models must be loaded through it.
func NewRecorder(dev device.Device, now func() time.Time) *Recorder {
	if now == nil {
		now = time.Now
	}
	return &Recorder{Device: dev, now: now, sync: !dev.Capabilities().HostMemory}
}

// Watch makes the recorder recognise the layers of a model.
func (r *Recorder) Watch(m *model.Model) {
	r.layers, r.layer = map[device.Weight]int{}, map[device.Weight]int{}
	for l, y := range m.Weights().Layers {
		if y.WQ != nil {
			r.layer[y.WQ], r.layers[y.WO] = l, l
		}
		if y.WGate != nil {
			r.layer[y.WGate], r.layers[y.WDown] = l, l
		}
	}
}

// Clear forgets the calls.
func (r *Recorder) Clear() { r.Calls = r.Calls[:0] }

func (r *Recorder) record(layer int, op Operation, rows int, run func()) {
	if r.sync {
		r.Device.Sync()
	}
	start := r.now()
	run()
	if r.sync {
		r.Device.Sync()
	}
	r.Calls = append(r.Calls, Call{layer, op, rows, r.now().Sub(start)})
}

// rowsOf counts the rows of spans.
func rowsOf(spans []device.Span) (n int) {
	for _, s := range spans {
		n += s.Len
	}
	return n
}

// QKV: see device.Device.
func (r *Recorder) QKV(phase device.Phase, q device.Buffer, kv device.KVCache, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.AttentionShape, rope device.RoPEFrequencies, spans []device.Span) {
	r.record(r.layer[wq], QKV, rowsOf(spans), func() {
		r.Device.QKV(phase, q, kv, x, norm, wq, wk, wv, eps, hs, rope, spans)
	})
}

// Attention: see device.Device. It belongs to the layer of the QKV before it.
func (r *Recorder) Attention(phase device.Phase, a, q device.Buffer, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	layer := 0
	if n := len(r.Calls); n > 0 {
		layer = r.Calls[n-1].Layer
	}
	r.record(layer, Attend, rowsOf(spans), func() { r.Device.Attention(phase, a, q, kv, hs, spans) })
}

// AddLinear: see device.Device.
func (r *Recorder) AddLinear(phase device.Phase, x, a device.Buffer, n int, w device.Weight) {
	op := Output
	if k := len(r.Calls); k > 0 && r.Calls[k-1].Op == GateUp {
		op = Down
	}
	r.record(r.layers[w], op, n, func() { r.Device.AddLinear(phase, x, a, n, w) })
}

// GateUp: see device.Device.
func (r *Recorder) GateUp(phase device.Phase, m, x device.Buffer, n int, norm, wg, wu device.Weight, eps float64) {
	r.record(r.layer[wg], GateUp, n, func() { r.Device.GateUp(phase, m, x, n, norm, wg, wu, eps) })
}

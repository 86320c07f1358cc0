package cpu

import (
	"fmt"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// weight is a view of a stored tensor; exactly one of the fields below is set.
type weight struct {
	shape []int
	f32   []float32
	f16   []uint16
	bf16  []uint16
	i8    *int8s
	round bool      // what bf16 is multiplied with, to bfloat16
	gain  []float32 // of a vector: what is stored, as float32
}

func (w *weight) Shape() []int { return w.shape }

// Bytes is the size of all elements, with scales and what rows are padded by.
func (w *weight) Bytes() int64 {
	n := 4*len(w.f32) + 2*len(w.f16) + 2*len(w.bf16)
	if w.i8 != nil {
		n += len(w.i8.data) + 4*len(w.i8.scales)
	}
	return int64(n)
}

// Place: see device.Device. Without PlaceOptions.Int8 the weight is a view of the
// tensor's bytes.
func (d *Device) Place(t checkpoint.Tensor, o device.PlaceOptions) (device.Weight, error) {
	w, err := d.view(t)
	if err != nil {
		return nil, err
	}
	if o.Int8 && len(t.Shape) == 2 && len(t.Data) > 0 {
		return d.quantize(t.Name, w)
	}
	w.round = o.BF16Activations && w.bf16 != nil
	return w, nil
}

// PlaceRandom: see device.Device.
func (d *Device) PlaceRandom(r checkpoint.RandomSpec, o device.PlaceOptions) (device.Weight, error) {
	return d.Place(r.Tensor(), o)
}

// Free lets the collector have the memory.
func (w *weight) Free() { w.f32, w.f16, w.bf16, w.i8, w.gain = nil, nil, nil, nil, nil }

// view is the tensor's bytes as a weight.
func (d *Device) view(t checkpoint.Tensor) (*weight, error) {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	if len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, n*t.DType.Size(), t.Shape, t.DType, len(t.Data))
	}
	w := &weight{shape: t.Shape}
	if n == 0 {
		return w, nil
	}
	// A safetensors file need not align its tensors. amd64 and arm64 load elements from
	// any address, and no kernel of theirs asks for aligned weights.
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	switch t.DType {
	case checkpoint.F32:
		w.f32 = unsafe.Slice((*float32)(p), n)
	case checkpoint.F16:
		w.f16 = unsafe.Slice((*uint16)(p), n)
	case checkpoint.BF16:
		w.bf16 = unsafe.Slice((*uint16)(p), n)
	}
	if len(t.Shape) == 1 {
		w.gain = w.widen(d.set, make([]float32, n), 0, n)
	}
	return w, nil
}

func asWeight(w device.Weight) *weight { return w.(*weight) }

// rowsCols is a matrix's shape.
func (w *weight) rowsCols() (r, c int) { return w.shape[0], w.shape[1] }

// bytes is the weight's type and its first element, nil where there is none.
func (w *weight) bytes() (kernel.Type, unsafe.Pointer) {
	switch {
	case w.i8 != nil:
		return kernel.I8, unsafe.Pointer(&w.i8.data[0])
	case w.f16 != nil:
		return kernel.F16, unsafe.Pointer(&w.f16[0])
	case w.bf16 != nil:
		return kernel.BF16, unsafe.Pointer(&w.bf16[0])
	case len(w.f32) > 0:
		return kernel.F32, unsafe.Pointer(&w.f32[0])
	}
	return kernel.F32, nil
}

// kind is the weight's type.
func (w *weight) kind() kernel.Type {
	t, _ := w.bytes()
	return t
}

// widen puts row r of a matrix of c columns into dst as float32, or returns the
// row itself where it is float32 already.
func (w *weight) widen(set kernel.Set, dst []float32, r, c int) []float32 {
	o := w.view()
	return o.floats(set, dst[:c], r*o.row)
}

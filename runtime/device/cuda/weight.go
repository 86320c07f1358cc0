//go:build cuda || cudaemu

package cuda

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"

	"github.com/x448/float16"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// weight is a matrix [out, in] or a vector [n], stored as one row. Elements are 16-bit floats
// in rows that are padded to 128 bytes with zeros, or 8-bit integers that are followed by the
// scales, float32 [out].
type weight struct {
	*buffer
	shape []int
	int8  bool
	view  bool // of a trained parameter, which owns the memory
}

// Free: see device.Weight.
func (w *weight) Free() {
	if !w.view {
		w.buffer.Free()
	}
}

func (w *weight) Shape() []int { return w.shape }

// Bytes returns the size without padding.
func (w *weight) Bytes() int64 {
	if w.int8 {
		return int64(w.rows) * (int64(w.cols) + 4)
	}
	return int64(w.rows) * int64(w.cols) * 2
}

// String returns the shape and the type.
func (w *weight) String() string {
	if w.int8 {
		return fmt.Sprintf("%v of int8 beside %v", w.shape, w.dtype)
	}
	return fmt.Sprintf("%v of %v", w.shape, w.dtype)
}

// kernelSuffix returns the end of the names of kernels that multiply the weight.
func (w *weight) kernelSuffix() string {
	if w.int8 {
		return "i8_" + suffix(w.dtype)
	}
	return suffix(w.dtype)
}

// scales returns the address of the scales from row lo on, or 0 for 16-bit weights.
func (w *weight) scales(lo int) pointer {
	if w.int8 {
		return w.row(w.rows) + pointer(4*lo)
	}
	return 0
}

// SetComputeType: see device.Device.
func (d *Device) SetComputeType(t checkpoint.DType) { d.computeType = t }

// typeFor returns the type on the device of a weight that is stored as t: the type of
// SetComputeType if there is one, bfloat16 for float32, and otherwise t.
func (d *Device) typeFor(t checkpoint.DType) checkpoint.DType {
	switch {
	case d.computeType != checkpoint.F32:
		return d.computeType
	case t == checkpoint.F32:
		return checkpoint.BF16
	}
	return t
}

// logRounding logs, once for each pair of types, that weights are rounded.
func (d *Device) logRounding(from, to checkpoint.DType) {
	if k := [2]checkpoint.DType{from, to}; !d.loggedRoundings[k] {
		d.loggedRoundings[k] = true
		slog.Info(from.ConfigName()+" weights are rounded for the device", "to", to.ConfigName())
	}
}

// Place uploads a tensor in the type that typeFor returns.
func (d *Device) Place(t checkpoint.Tensor, o device.PlaceOptions) (device.Weight, error) {
	if o.BF16Activations {
		return nil, fmt.Errorf("cuda: %s: activations rounded to bfloat16 are not supported", t.Name)
	}
	if o.Int8 && len(t.Shape) == 2 && len(t.Data) > 0 {
		return d.placeInt8(t)
	}
	w, err := d.allocWeight(t.Name, t.Shape)
	if err != nil {
		return nil, err
	}
	placed := false // false also if reading the tensor panics: see files.Catch
	defer func() {
		if !placed {
			w.Free()
		}
	}()
	if want := w.rows * w.cols * t.DType.Size(); len(t.Data) != want {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, want, t.Shape, t.DType, len(t.Data))
	}
	w.dtype = d.typeFor(t.DType)
	if len(t.Data) == 0 {
		placed = true
		return w, nil
	}
	if t.DType == w.dtype {
		if err := d.driver.Upload(w.p, 2*w.pitch, t.Data, 2*w.cols); err != nil {
			return nil, d.failWith(fmt.Errorf("%s: upload of %v: %w", t.Name, t.Shape, err))
		}
		placed = true
		return w, nil
	}
	d.logRounding(t.DType, w.dtype)
	// Converting some rows at a time keeps the copy small.
	const part = 4 << 20
	rows, line := max(1, part/(2*w.cols)), w.cols*t.DType.Size()
	for r := 0; r < w.rows; r += rows {
		n := min(rows, w.rows-r)
		buf, at := convertTo16Bit(t.Data[r*line:(r+n)*line], t.DType, w.dtype)
		if at >= 0 {
			return nil, fmt.Errorf("%s: element %d: beyond the largest number of %v, which the device computes in here", t.Name, r*w.cols+at, w.dtype)
		}
		if err := d.driver.Upload(w.row(r), 2*w.pitch, buf, 2*w.cols); err != nil {
			return nil, d.failWith(fmt.Errorf("%s: upload of %v: %w", t.Name, t.Shape, err))
		}
	}
	placed = true
	return w, nil
}

// convertTo16Bit rounds little-endian numbers to a 16-bit type. It also returns the index of the
// first finite number that becomes infinite, or -1.
func convertTo16Bit(data []byte, from, to checkpoint.DType) (out []byte, over int) {
	n := len(data) / from.Size()
	if from != checkpoint.F32 {
		wide := make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(wide[4*i:], math.Float32bits(widen(binary.LittleEndian.Uint16(data[2*i:]), from)))
		}
		data = wide
	}
	out = make([]byte, 2*n)
	roundTo(out, data, to)
	for i := range n {
		y, x := widen(binary.LittleEndian.Uint16(out[2*i:]), to), math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		if y-y != 0 && x-x == 0 {
			return out, i
		}
	}
	return out, -1
}

// allocWeight allocates a weight of a shape. The contents are undefined.
func (d *Device) allocWeight(name string, shape []int) (*weight, error) {
	if len(shape) < 1 || len(shape) > 2 {
		return nil, fmt.Errorf("%s: want a vector or a matrix, got shape %v", name, shape)
	}
	rows, cols := 1, shape[len(shape)-1]
	if len(shape) == 2 {
		rows = shape[0]
	}
	d.begin("place " + name)
	allocate := d.alloc
	if rows*cols == 0 { // kernels multiply the padding, which must be zero
		allocate = d.zeroed
	}
	b, err := allocate(rows, cols, rowPitch(cols), 2)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &weight{buffer: b, shape: shape}, nil
}

// roundTo rounds len(dst)/2 little-endian float32 numbers of src to a 16-bit type, to nearest
// even.
func roundTo(dst, src []byte, t checkpoint.DType) {
	for i := range len(dst) / 2 {
		b := binary.LittleEndian.Uint32(src[4*i:])
		var h uint16
		switch {
		case t == checkpoint.F16:
			h = float16.Fromfloat32(math.Float32frombits(b)).Bits()
		case b&0x7fffffff > 0x7f800000:
			h = uint16(b>>16) | 0x40
		default:
			h = uint16((b + 0x7fff + b>>16&1) >> 16)
		}
		binary.LittleEndian.PutUint16(dst[2*i:], h)
	}
}

// PlaceRandom generates random weights on the device. They equal those that Place uploads for
// the same specification. 8-bit weights are generated on the host.
func (d *Device) PlaceRandom(r checkpoint.RandomSpec, o device.PlaceOptions) (device.Weight, error) {
	if o != (device.PlaceOptions{}) {
		return d.Place(r.Tensor(), o)
	}
	t := d.typeFor(r.DType)
	if r.DType != checkpoint.F32 && r.DType != t {
		return nil, fmt.Errorf("%s: want random weights of %v, which the device computes in here, got %v", r.Name, t, r.DType)
	}
	if r.DType != t {
		d.logRounding(r.DType, t)
	}
	w, err := d.allocWeight(r.Name, r.Shape)
	if err != nil {
		return nil, err
	}
	w.dtype = t
	d.begin("make "+r.Name, w.operand("w"))
	d.launch("fill_random_"+suffix(t), [3]int{w.rows, 1, 1}, 256, 0, w.p, w.pitch, w.cols, r.Key, r.Scale)
	// A product may read its weights before the kernel in front of it has ended.
	if err := d.Sync(); err != nil {
		w.Free()
		return nil, err
	}
	return w, nil
}

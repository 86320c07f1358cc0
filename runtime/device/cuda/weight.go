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

var (
	_ device.Maker   = (*Device)(nil)
	_ device.OneType = (*Device)(nil)
)

// weight is a matrix [out, in] of 16-bit elements, rows padded to 128 bytes with
// zeros, or a vector [n] as one row; or a matrix of 8-bit integers, its scales
// [out] float32 after its rows.
type weight struct {
	*buffer
	shape []int
	eight bool
}

func (w *weight) Shape() []int { return w.shape }

// Type is that of activations beside a weight: see device.OneType.
func (d *Device) Type(w device.Weight) checkpoint.DType { return w.(*weight).half }

// Bytes is the size without padding.
func (w *weight) Bytes() int64 {
	if w.eight {
		return int64(w.rows) * (int64(w.cols) + 4)
	}
	return int64(w.rows) * int64(w.cols) * 2
}

// String gives the shape and the type.
func (w *weight) String() string {
	if w.eight {
		return fmt.Sprintf("%v of int8 beside %v", w.shape, w.half)
	}
	return fmt.Sprintf("%v of %v", w.shape, w.half)
}

// kernels is what the names of kernels that multiply the weight end in.
func (w *weight) kernels() string {
	if w.eight {
		return "i8_" + suffix(w.half)
	}
	return suffix(w.half)
}

// scales is where those of rows lo.. lie, 0 of a weight without.
func (w *weight) scales(lo int) pointer {
	if w.eight {
		return w.row(w.rows) + pointer(4*lo)
	}
	return 0
}

// Place uploads the tensor. F32 is rounded, to nearest even, to the type of the
// 16-bit weight that was placed last, bfloat16 at first, and a note says so.
func (d *Device) Place(t checkpoint.Tensor) (device.Weight, error) {
	w, err := d.room(t.Name, t.Shape)
	if err != nil {
		return nil, err
	}
	if want := w.rows * w.cols * t.DType.Size(); len(t.Data) != want {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, want, t.Shape, t.DType, len(t.Data))
	}
	if t.DType != checkpoint.F32 {
		d.half = t.DType
	} else if !d.noted {
		d.noted = true
		slog.Info("float32 weights are rounded for the device", "to", d.half.ConfigName())
	}
	w.half = d.half
	if len(t.Data) == 0 {
		return w, nil
	}
	if t.DType != checkpoint.F32 {
		if err := d.driver.Upload(w.p, 2*w.pitch, t.Data, 2*w.cols); err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", t.Name, err)
		}
		return w, nil
	}
	// Some rows at a time: the rounded copy stays small.
	const part = 4 << 20
	rows := max(1, part/(2*w.cols))
	buf := make([]byte, min(rows, w.rows)*2*w.cols)
	for r := 0; r < w.rows; r += rows {
		n := min(rows, w.rows-r) * w.cols
		roundTo(buf[:2*n], t.Data[4*r*w.cols:], d.half)
		if err := d.driver.Upload(w.row(r), 2*w.pitch, buf[:2*n], 2*w.cols); err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", t.Name, err)
		}
	}
	return w, nil
}

// room makes a weight of a shape, contents undefined.
func (d *Device) room(name string, shape []int) (*weight, error) {
	if len(shape) < 1 || len(shape) > 2 {
		return nil, fmt.Errorf("%s: want a vector or a matrix, got shape %v", name, shape)
	}
	rows, cols := 1, shape[len(shape)-1]
	if len(shape) == 2 {
		rows = shape[0]
	}
	b, err := d.alloc(rows, cols, pitch(cols), 2)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &weight{buffer: b, shape: shape}, nil
}

// roundTo rounds len(dst)/2 little-endian float32 of src to a 16-bit type, to
// nearest even.
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

// Make makes random weights on the device: the host's bits, where they are stored in
// 16 bits; float32 ones are rounded as Place does.
func (d *Device) Make(r checkpoint.Recipe) (device.Weight, error) {
	t := r.DType
	if t == checkpoint.F32 {
		t = d.half
	}
	w, err := d.room(r.Name, r.Shape)
	if err != nil {
		return nil, err
	}
	d.half, w.half = t, t
	d.launch("fill_"+suffix(t), [3]int{w.rows, 1, 1}, 256, 0, w.p, w.pitch, w.cols, r.Key, r.Scale)
	if d.err != nil {
		return nil, d.err
	}
	return w, nil
}

package cpu

import (
	"unsafe"

	kernel "mop/kernels/cpu"
)

// matrixView views a matrix of stored or computed numbers: element (i, j) lies at
// i*row + j*col, one of the two strides being 1. Exactly one slice is set; scale
// multiplies float32 ones.
type matrixView struct {
	f32       []float32
	f16, bf16 []uint16
	i8        *int8s
	base      int // of i8: where element (0, 0) lies
	row, col  int
	scale     float32
	round     bool // the other factor to bfloat16; only where bf16 is set
}

// rowMajor views a row-major matrix of c columns.
func rowMajor(x []float32, c int) matrixView { return matrixView{f32: x, row: c, col: 1, scale: 1} }

func (w *weight) view() matrixView {
	c := w.shape[len(w.shape)-1]
	if w.i8 != nil {
		c = w.i8.stride
	}
	return matrixView{f32: w.f32, f16: w.f16, bf16: w.bf16, i8: w.i8, row: c, col: 1, scale: 1, round: w.round}
}

// transposed is the transpose.
func (o matrixView) transposed() matrixView {
	o.row, o.col = o.col, o.row
	return o
}

func (o matrixView) scaled(s float32) matrixView {
	o.scale *= s
	return o
}

// at starts at element (i, j).
func (o matrixView) at(i, j int) matrixView {
	at := i*o.row + j*o.col
	switch {
	case o.i8 != nil:
		o.base += at
	case o.f32 != nil:
		o.f32 = o.f32[at:]
	case o.f16 != nil:
		o.f16 = o.f16[at:]
	case o.bf16 != nil:
		o.bf16 = o.bf16[at:]
	}
	return o
}

// widen puts the stored numbers from at on into dst.
func (o *matrixView) widen(set kernel.Set, dst []float32, at int) {
	switch {
	case o.i8 != nil:
		at += o.base
		set.WidenI8(dst, o.i8.data[at:at+len(dst)], o.i8.scales[at/o.i8.stride])
	case o.f32 != nil:
		copy(dst, o.f32[at:at+len(dst)])
	case o.f16 != nil:
		set.WidenF16(dst, o.f16[at:at+len(dst)])
	default:
		set.WidenBF16(dst, o.bf16[at:at+len(dst)])
	}
}

// floats is the stored numbers from at on, in tmp unless they are float32.
func (o *matrixView) floats(set kernel.Set, tmp []float32, at int) []float32 {
	if o.f32 != nil {
		return o.f32[at : at+len(tmp)]
	}
	o.widen(set, tmp, at)
	return tmp
}

// memoryBlock is a part of a right factor as it lies in memory.
type memoryBlock struct {
	first               unsafe.Pointer
	rows, bytes, stride int // how many rows, of so many bytes, so far apart
}

// block is what a product takes at a time of a right factor [k, n]: group columns
// from j0 on, of depth rows from k0 on, or as many as there are.
func (o *matrixView) block(j0, k0, k int) memoryBlock {
	p, size, elements := o.storage()
	at := k0*o.row + j0*o.col
	if k0 >= k || at >= elements {
		return memoryBlock{}
	}
	b := memoryBlock{unsafe.Add(p, at*size), groupColumns, min(panelDepth, k-k0), o.col}
	if o.row != 1 {
		b = memoryBlock{b.first, b.bytes, groupColumns, o.row}
	}
	b.rows = min(b.rows, (elements-at+b.stride-1)/b.stride)
	b.bytes, b.stride = b.bytes*size, b.stride*size
	return b
}

// storage is where the numbers lie, their size and how many there are from there on.
func (o *matrixView) storage() (p unsafe.Pointer, size, n int) {
	switch {
	case o.i8 != nil:
		rest := o.i8.data[o.base:]
		return unsafe.Pointer(unsafe.SliceData(rest)), 1, len(rest)
	case o.f32 != nil:
		return unsafe.Pointer(unsafe.SliceData(o.f32)), 4, len(o.f32)
	case o.f16 != nil:
		return unsafe.Pointer(unsafe.SliceData(o.f16)), 2, len(o.f16)
	}
	return unsafe.Pointer(unsafe.SliceData(o.bf16)), 2, len(o.bf16)
}

// prefetch brings the block nearer, part by part of so many: while a product works on
// a block, the next one comes from memory.
func (b *memoryBlock) prefetch(part, parts int) {
	lo, hi := b.rows*part/parts, b.rows*(part+1)/parts
	kernel.Prefetch(unsafe.Add(b.first, lo*b.stride), b.bytes, b.stride, hi-lo)
}

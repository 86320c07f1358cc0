package cpu

import (
	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// scaleBytes is the size of a row's scale.
const scaleBytes = 4

// int8Rows are the keys or values of a page at 8 bits. Every row of a head has a scale: element
// j of row r is data[r*dh+j] * scales[r]. The rows of a head follow one another in memory.
type int8Rows struct {
	data   []int8    // [K, size, Dh]
	scales []float32 // [K, size]
	dh     int
}

func newInt8Rows(heads, size, dh int) *int8Rows {
	return &int8Rows{make([]int8, heads*size*dh), make([]float32, heads*size), dh}
}

// store rounds x to row r. Where x is not finite, neither is the scale, and attention gives NaNs
// as it does with a float32 cache.   x [Dh]
func (o *int8Rows) store(r int, x []float32) {
	o.scales[r] = device.QuantizeRow(o.data[r*o.dh:(r+1)*o.dh], x)
}

// widen puts the rows from r on into dst, as many as it has room for.   dst [n, Dh]
func (o *int8Rows) widen(set kernel.Set, dst []float32, r int) {
	for i := 0; i < len(dst); i += o.dh {
		set.WidenI8(dst[i:i+o.dh], o.data[r*o.dh:(r+1)*o.dh], o.scales[r])
		r++
	}
}

// storeInt8 writes a position's key and value in an 8-bit cache.   key, value [K*Dh]
func (c *kvCache) storeInt8(slot, position int, key, value []float32) {
	p, row := c.page(slot, position)
	for k := range c.heads {
		from, r := k*c.dh, k*c.size+row
		p.keys.i8.store(r, key[from:from+c.dh])
		p.values.i8.store(r, value[from:from+c.dh])
	}
}

// block is T rows of the keys and values of KV head k, from a page's row on, for a product. Those
// of 8 bits are widened into scratch memory of the worker.
func (c *kvCache) block(w *worker, page *kvPage, row, k, dh, T int) (keys, values matrixView) {
	if !c.int8 {
		first := k*c.size + row
		return page.keys.view(dh).at(first, 0), page.values.view(dh).at(first, 0)
	}
	wideKeys, wideValues := w.take(4, T*dh), w.take(5, T*dh)
	page.keys.i8.widen(c.set, wideKeys, k*c.size+row)
	page.values.i8.widen(c.set, wideValues, k*c.size+row)
	return rowMajor(wideKeys, dh), rowMajor(wideValues, dh)
}

//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/device"
)

var _ device.Vision = (*Device)(nil)

// LayerNorm: see device.Vision.
func (d *Device) LayerNorm(y, x device.Buffer, n int, w, b device.Weight, eps float64) {
	yb, xb, gain, bias := y.(*buffer), x.(*buffer), w.(*weight), b.(*weight)
	d.begin("layer norm", yb.operand("y"), xb.operand("x"))
	if !d.checkStored("layer norm", gain, bias) {
		return
	}
	if n < 0 || n > yb.rows || n > xb.rows || yb.cols != xb.cols || xb.size != 4 || !gain.isVector(xb.cols) || !bias.isVector(xb.cols) || bias.dtype != gain.dtype {
		d.fail(fmt.Errorf("layer norm: want y, x [%d %d], x float32, and w, b [%d] of one type, got y [%d %d], x [%d %d], w %v, b %v", n, xb.cols, xb.cols, yb.rows, yb.cols, xb.rows, xb.cols, gain, bias))
		return
	}
	form := "float_"
	if yb.size == 2 {
		form, yb.dtype = "half_", gain.dtype
	}
	d.expect(rowWork(2, n, xb.cols))
	d.launch("layernorm_"+form+suffix(gain.dtype), oneBlockPerRow(n), 256, 64, yb.p, yb.pitch, xb.p, xb.pitch, gain.p, bias.p, float32(eps), xb.cols)
}

// isVector says that a weight is a vector of n elements.
func (w *weight) isVector(n int) bool { return len(w.shape) == 1 && w.cols == n }

// LinearBias: see device.Vision.
func (d *Device) LinearBias(y, x device.Buffer, n int, w, b device.Weight, f device.Activation) {
	d.linearBias("linear with bias", y.(*buffer), x.(*buffer), n, w.(*weight), b.(*weight), f, 0)
}

// AddLinearBias: see device.Vision.
func (d *Device) AddLinearBias(x, a device.Buffer, n int, w, b device.Weight) {
	d.linearBias("add linear with bias", x.(*buffer), a.(*buffer), n, w.(*weight), b.(*weight), device.Identity, 1)
}

func (d *Device) linearBias(op string, y, x *buffer, n int, w, b *weight, f device.Activation, add int) {
	d.begin(op, y.operand("y"), x.operand("x"), w.operand("w"))
	if !d.checkStored(op, w, b) {
		return
	}
	if n < 0 || n > y.rows || n > x.rows || len(w.shape) != 2 || w.int8 || y.cols != w.rows || x.cols != w.cols || !b.isVector(w.rows) || b.dtype != w.dtype || x.size == 2 && x.dtype != w.dtype || add == 1 && y.size != 4 || f > device.GELUTanh {
		d.fail(fmt.Errorf("%s: want y [%d %d], x [%d %d] and b [%d] of %v, got y [%d %d], x [%d %d] of %v, w %v, b %v, activation %d", op, n, w.rows, n, w.cols, w.rows, w.dtype, y.rows, y.cols, x.rows, x.cols, x.dtype, w, b, f))
		return
	}
	kernel, last := "linear_bias_float", []any{add}
	if y.size == 2 {
		kernel, last = "linear_bias_half", nil
		y.dtype = w.dtype
	}
	in, outBytes := d.roundTo16Bit(x, n, w.dtype), float64(y.size*(1+add)*n*w.rows)
	if d.usesTMA(w) {
		maps := func(t gemmTile) []any {
			return []any{d.tensorMap(w.p, w.cols, w.rows, 1, w.pitch, w.rows*w.pitch, t.weightRows())}
		}
		d.launchTMA(kernel, w.dtype, in, n, w.cols, w.rows, outBytes, maps, append([]any{y.p, y.pitch, b.p, w.rows, w.cols, n, int(f)}, last...)...)
		return
	}
	t := chooseMMATile(n, w.rows, d.limits)
	d.expect(productWork(n, w.cols, w.rows, t.rows, t.cols, w.size, outBytes))
	d.launch(kernel+"_prefill_"+t.name+"_"+suffix(w.dtype), t.grid(n, w.rows), t.threads, t.sharedBytes(),
		append([]any{y.p, y.pitch, in.p, in.pitch, w.p, w.pitch, b.p, w.rows, w.cols, n, int(f)}, last...)...)
}

// BidirectionalAttention: see device.Vision.
func (d *Device) BidirectionalAttention(a, qkv device.Buffer, n, heads, dh int) {
	const op = "bidirectional attention"
	ab, in := a.(*buffer), qkv.(*buffer)
	d.begin(op, ab.operand("a"), in.operand("qkv"))
	width := attentionPrefillWidth(dh)
	if width == 0 || dh < 1 || heads < 1 {
		d.fail(fmt.Errorf("%s: want heads of at most 128 columns, got %d of %d", op, heads, dh))
		return
	}
	if n < 0 || n > ab.rows || n > in.rows || ab.cols != heads*dh || in.cols != 3*ab.cols || ab.size != 2 || in.size != 2 {
		d.fail(fmt.Errorf("%s: want a [%d %d] and qkv [%d %d] of 16 bits, got a [%d %d], qkv [%d %d]", op, n, heads*dh, n, 3*heads*dh, ab.rows, ab.cols, in.rows, in.cols))
		return
	}
	ab.dtype = in.dtype
	d.expect(work{flops: 4 * float64(n) * float64(n) * float64(ab.cols), bytes: 8 * float64(n) * float64(ab.cols)})
	d.launch(fmt.Sprintf("attention_bidirectional_%d_%s", width, suffix(in.dtype)), [3]int{ceilDiv(n, visionTileRows), heads, 1}, attentionPrefillThreads, attentionPrefillSharedBytes(width, false),
		ab.p, ab.pitch, in.p, in.pitch, n, heads, dh, float32(math.Log2E/math.Sqrt(float64(dh))))
}

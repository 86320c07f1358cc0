package vision

import "math"

// resample is one direction of a resize: output sample i is a weighted sum of input
// samples first[i], first[i]+1, ...
type resample struct {
	first   []int
	weights [][]int32 // in units of 1/2^weightBits
}

// weightBits is the precision of the weights, that of Pillow's resize of 8-bit channels:
// its results, also in between the two directions, are rounded to 8 bits.
const weightBits = 32 - 8 - 2

// bicubic is the cubic convolution kernel with a = -1/2.
func bicubic(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((-0.5*x+2.5)*x-4)*x + 2
	}
	return 0
}

// newResample resizes in samples to out samples, of which it computes count from sample
// start on. Where the picture shrinks, the kernel is widened by the same factor, which
// averages all samples.
func newResample(in, out, start, count int) resample {
	scale := float64(in) / float64(out)
	widen := max(scale, 1)
	support := 2 * widen
	r := resample{make([]int, count), make([][]int32, count)}
	for i := range count {
		center := (float64(start+i) + 0.5) * scale
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		w, sum := make([]float64, hi-lo), 0.0
		for j := range w {
			w[j] = bicubic((float64(j+lo) - center + 0.5) * (1 / widen))
			sum += w[j]
		}
		r.first[i], r.weights[i] = lo, make([]int32, hi-lo)
		for j := range w {
			if sum != 0 {
				w[j] /= sum
			}
			r.weights[i][j] = int32(math.Copysign(0.5, w[j]) + w[j]*(1<<weightBits))
		}
	}
	return r
}

// crop is a rectangle of a resized picture. It may stick out: what is outside is zero.
type crop struct{ x, y, width, height int }

// resized resizes a picture to width x height and returns a rectangle of the result. The
// rest is not computed, so that a picture that is very long takes no more memory than
// another.
func (p *Picture) resized(width, height int, c crop) *Picture {
	out := newPicture(c.width, c.height)
	x0, x1 := max(c.x, 0), min(c.x+c.width, width)
	y0, y1 := max(c.y, 0), min(c.y+c.height, height)
	if x0 >= x1 || y0 >= y1 {
		return out
	}
	part := p.resizedPart(width, height, crop{x0, y0, x1 - x0, y1 - y0})
	for y := range part.Height {
		copy(out.Pix[3*((y+y0-c.y)*c.width+x0-c.x):], part.Pix[3*y*part.Width:3*(y+1)*part.Width])
	}
	return out
}

// resizedPart is resized for a rectangle that does not stick out. A direction whose size
// stays is copied.
func (p *Picture) resizedPart(width, height int, c crop) *Picture {
	var first, last int // the rows that the second direction reads
	var down resample
	if height != p.Height {
		down = newResample(p.Height, height, c.y, c.height)
		first = p.Height
		for i, f := range down.first {
			first, last = min(first, f), max(last, f+len(down.weights[i]))
		}
	} else {
		first, last = c.y, c.y+c.height
	}
	q := newPicture(c.width, last-first)
	if width != p.Width {
		across := newResample(p.Width, width, c.x, c.width)
		for y := range q.Height {
			across.row(q.Pix[3*y*c.width:3*(y+1)*c.width], p.Pix[3*(first+y)*p.Width:])
		}
	} else {
		for y := range q.Height {
			copy(q.Pix[3*y*c.width:3*(y+1)*c.width], p.Pix[3*((first+y)*p.Width+c.x):])
		}
	}
	if height == p.Height {
		return q
	}
	out := newPicture(c.width, c.height)
	for y := range c.height {
		down.column(out.Pix[3*y*c.width:3*(y+1)*c.width], q.Pix[3*(down.first[y]-first)*c.width:], y)
	}
	return out
}

// row computes a row of pixels from a row of the input.
func (r resample) row(to, from []uint8) {
	for i, w := range r.weights {
		a, b, c := int32(1<<(weightBits-1)), int32(1<<(weightBits-1)), int32(1<<(weightBits-1))
		px := from[3*r.first[i]:]
		for j, f := range w {
			a += f * int32(px[3*j])
			b += f * int32(px[3*j+1])
			c += f * int32(px[3*j+2])
		}
		to[3*i], to[3*i+1], to[3*i+2] = clamp8(int(a>>weightBits)), clamp8(int(b>>weightBits)), clamp8(int(c>>weightBits))
	}
}

// column computes output row y from the rows of the input that begin at from.
func (r resample) column(to, from []uint8, y int) {
	n := len(to)
	for i := range to {
		sum := int32(1 << (weightBits - 1))
		for j, f := range r.weights[y] {
			sum += f * int32(from[j*n+i])
		}
		to[i] = clamp8(int(sum >> weightBits))
	}
}

func clamp8(v int) uint8 { return uint8(min(max(v, 0), 255)) }

package jpeg

// rows interpolates a component's samples to the size of the picture. A triangle filter
// does it where there are half as many samples in a direction, as in libjpeg; elsewhere
// samples are repeated.
type rows struct {
	c      *component
	sx, sy int // how many samples of the picture lie beside and above each of the component's
	smooth bool
	sums   []int
	out    []uint8
}

func newRows(c *component, maxH, maxV int) *rows {
	r := &rows{c: c, sx: maxH / c.h, sy: maxV / c.v}
	r.smooth = r.sx == 1 && r.sy == 2 || r.sx == 2 && r.sy <= 2 && c.width > 2
	r.sums, r.out = make([]int, c.width), make([]uint8, c.width*r.sx)
	return r
}

// row is row y of the picture, valid until the next call.
func (r *rows) row(y int) []uint8 {
	stored := func(i int) []uint8 { return r.c.samples[i*r.c.blocksX*8:][:r.c.width] }
	cur := stored(y / r.sy)
	switch {
	case r.sx == 1 && r.sy == 1:
		return cur
	case r.smooth:
		near := y / r.sy
		if r.sy == 2 {
			near = min(max(near+2*(y%2)-1, 0), r.c.height-1)
		}
		r.interpolate(cur, stored(near), y%r.sy)
	default:
		for x, v := range cur {
			for i := range r.sx {
				r.out[x*r.sx+i] = v
			}
		}
	}
	return r.out
}

// interpolate makes each output sample 3/4 of the nearest stored sample and 1/4 of the
// next nearest one, in both directions. Neighbouring outputs round in different
// directions; lower is 1 for the second of two output rows.
func (r *rows) interpolate(cur, near []uint8, lower int) {
	left, right, shift := 1, 2, 2 // roundings
	for i, v := range cur {
		r.sums[i] = int(v)
	}
	if r.sy == 2 {
		left, right, shift = 8, 7, 4
		for i, v := range near {
			r.sums[i] = 3*r.sums[i] + int(v)
		}
	}
	if r.sx == 1 {
		for i, s := range r.sums {
			r.out[i] = uint8((s + 1 + lower) >> 2)
		}
		return
	}
	last := len(r.sums) - 1
	for i, s := range r.sums {
		before, after := r.sums[max(i-1, 0)], r.sums[min(i+1, last)]
		r.out[2*i] = uint8((3*s + before + left) >> shift)
		r.out[2*i+1] = uint8((3*s + after + right) >> shift)
	}
}

// toRGB converts a pixel by the JFIF equations in 16-bit fixed point.
func toRGB(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	l, u, v := int(y), int(cb)-128, int(cr)-128
	return clamp8(l + (91881*v+half)>>16), clamp8(l + (-22554*u-46802*v+half)>>16), clamp8(l + (116130*u+half)>>16)
}

// ink is what an ink and black leave of white: (255-k)(255-c)/255, rounded as Pillow does.
func ink(c, k uint8) uint8 {
	white := 255 - int(k)
	n := int(c)*white + 128
	return uint8(max(0, white-(n+n>>8)>>8))
}

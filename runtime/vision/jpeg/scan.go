package jpeg

import (
	"errors"
	"fmt"
)

// natural is the position in a block, row by row, of coefficient k in zigzag order.
var natural = func() (order [64]uint8) {
	x, y := 0, 0
	for k := range order {
		order[k] = uint8(8*y + x)
		switch {
		case (x+y)%2 == 0 && x == 7:
			y++
		case (x+y)%2 == 0 && y == 0:
			x++
		case (x+y)%2 == 0:
			x, y = x+1, y-1
		case y == 7:
			x++
		case x == 0:
			y++
		default:
			x, y = x-1, y+1
		}
	}
	return order
}()

// scan is one pass over the coefficients of some components.
type scan struct {
	components  []*component
	first, last int // coefficients, in zigzag order
	high, low   int // bits: high 0 = the first pass over these coefficients
	progressive bool
	bits        bits
	endOfBand   int // blocks of zeros that are still to come
}

// scan reads the data of a scan, whose header is given, and returns how much it read.
func (d *decoder) scan(header, data []byte) (int, error) {
	s, err := d.scanHeader(header)
	if err != nil {
		return 0, err
	}
	s.bits.data = data
	single := len(s.components) == 1
	across, down := d.unitsX, d.unitsY
	if single { // without the blocks that only fill up a unit
		c := s.components[0]
		across, down = (c.width+7)/8, (c.height+7)/8
	}
	for i := range across * down {
		if d.restartInterval > 0 && i > 0 && i%d.restartInterval == 0 {
			if err := s.bits.restart(); err != nil {
				return 0, err
			}
			s.endOfBand = 0
			for _, c := range s.components {
				c.dc = 0
			}
		}
		if single {
			s.block(s.components[0], i%across, i/across)
		} else {
			for _, c := range s.components {
				for j := range c.h * c.v {
					s.block(c, i%across*c.h+j%c.h, i/across*c.v+j/c.h)
				}
			}
		}
		if s.bits.err != nil {
			return 0, s.bits.err
		}
	}
	return s.bits.at, nil
}

// scanHeader reads a scan's components, tables and coefficients.
func (d *decoder) scanHeader(h []byte) (*scan, error) {
	if d.components == nil {
		return nil, errors.New("a scan comes before the frame's header")
	}
	if len(h) < 1 || h[0] < 1 || h[0] > 4 || len(h) != 4+2*int(h[0]) {
		return nil, errors.New("a scan's header has a wrong length")
	}
	n := int(h[0])
	s := &scan{progressive: d.progressive, first: int(h[1+2*n]), last: int(h[2+2*n]), high: int(h[3+2*n] >> 4), low: int(h[3+2*n] & 15)}
	if !s.progressive {
		s.first, s.last, s.high, s.low = 0, 63, 0, 0
	}
	if s.first > s.last || s.last > 63 || s.first == 0 && s.last > 0 && s.progressive || s.first > 0 && n > 1 || s.low > 13 || s.high > 13 {
		return nil, fmt.Errorf("a scan of coefficients %d to %d, bits %d to %d: not valid", s.first, s.last, s.high, s.low)
	}
	blocks := 0
	for i := range n {
		var c *component
		for j := range d.components {
			if d.components[j].id == h[1+2*i] {
				c = &d.components[j]
			}
		}
		if c == nil {
			return nil, fmt.Errorf("a scan of component %d: the frame has none", h[1+2*i])
		}
		for _, other := range s.components {
			if other == c {
				return nil, fmt.Errorf("a scan has component %d twice", c.id)
			}
		}
		dc, ac := h[2+2*i]>>4, h[2+2*i]&15
		if dc > 3 || ac > 3 {
			return nil, errors.New("a scan's Huffman tables: want 0 to 3")
		}
		if !c.seen {
			if c.quantization = d.quantization[c.table]; c.quantization == nil {
				return nil, fmt.Errorf("component %d: its quantization table is missing", c.id)
			}
			c.coefficients = make([]int16, 64*c.blocksX*c.blocksY)
		}
		c.dc, c.dcTable, c.acTable, c.seen = 0, d.huffman[0][dc], d.huffman[1][ac], true
		if s.first == 0 && s.high == 0 && c.dcTable == nil || s.last > 0 && c.acTable == nil {
			return nil, errors.New("a scan's Huffman table is missing")
		}
		s.components = append(s.components, c)
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return nil, errors.New("a scan has more than 10 blocks in a unit")
	}
	return s, nil
}

// block reads what the scan holds of one block.
func (s *scan) block(c *component, x, y int) {
	at := (y*c.blocksX + x) * 64
	b := (*[64]int16)(c.coefficients[at : at+64])
	switch {
	case !s.progressive:
		s.sequential(c, b)
	case s.first == 0 && s.high == 0:
		c.dc += s.bits.signed(s.bits.symbol(c.dcTable) & 15)
		b[0] = int16(c.dc << s.low)
	case s.first == 0:
		b[0] |= int16(s.bits.take(1) << s.low)
	case s.high == 0:
		s.firstPass(c, b)
	default:
		s.refine(c, b)
	}
}

// sequential reads all coefficients of a block.
func (s *scan) sequential(c *component, b *[64]int16) {
	c.dc += s.bits.signed(s.bits.symbol(c.dcTable) & 15)
	b[0] = int16(c.dc)
	for k := 1; k < 64; k++ {
		run, size := s.runSize(c)
		if size == 0 {
			if run < 15 {
				return
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			s.tooLong()
			return
		}
		b[natural[k]] = int16(s.bits.signed(size))
	}
}

// runSize reads how many zeros come before the next coefficient, and its bits.
func (s *scan) runSize(c *component) (run, size int) {
	v := s.bits.symbol(c.acTable)
	return v >> 4, v & 15
}

func (s *scan) tooLong() {
	if s.bits.err == nil {
		s.bits.err = errors.New("a block has more than 64 coefficients")
	}
}

// firstPass reads the upper bits of a band of coefficients.
func (s *scan) firstPass(c *component, b *[64]int16) {
	if s.endOfBand > 0 {
		s.endOfBand--
		return
	}
	for k := s.first; k <= s.last; k++ {
		run, size := s.runSize(c)
		if size == 0 {
			if run < 15 {
				s.endOfBand = 1<<run + s.bits.take(run) - 1
				return
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			s.tooLong()
			return
		}
		b[natural[k]] = int16(s.bits.signed(size) << s.low)
	}
}

// refine reads one more bit of a band: a correction for each coefficient that is not zero
// yet, and coefficients that begin to differ from zero.
func (s *scan) refine(c *component, b *[64]int16) {
	k := s.first
	if s.endOfBand == 0 {
		for ; k <= s.last; k++ {
			run, size := s.runSize(c)
			var fresh int16
			if size > 0 {
				if fresh = int16(-1) << s.low; s.bits.take(1) == 1 {
					fresh = 1 << s.low
				}
			} else if run < 15 {
				s.endOfBand = 1<<run + s.bits.take(run)
				break
			}
			if k = s.correct(b, k, run); s.bits.err != nil {
				return
			}
			if fresh != 0 {
				if k > 63 {
					s.tooLong()
					return
				}
				b[natural[k]] = fresh
			}
		}
	}
	if s.endOfBand > 0 {
		s.correct(b, k, 64)
		s.endOfBand--
	}
}

// correct refines coefficients from k on until it has passed so many zeros, and returns
// where it stopped: at the zero after them.
func (s *scan) correct(b *[64]int16, k, zeros int) int {
	for ; k <= s.last; k++ {
		v := &b[natural[k]]
		if *v == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if s.bits.take(1) == 1 && *v&(1<<s.low) == 0 {
			if *v > 0 {
				*v += 1 << s.low
			} else {
				*v -= 1 << s.low
			}
		}
	}
	return k
}
